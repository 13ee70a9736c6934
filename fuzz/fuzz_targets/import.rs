//! Any bytes as a model: an error or a graph that verifies, prints, and never a panic.
#![no_main]

use alula_onnx::{ImportLimits, ImportOptions, import_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let options = ImportOptions {
        limits: ImportLimits {
            nodes: 1 << 12,
            ..ImportLimits::default()
        },
        ..ImportOptions::default()
    };
    if let Ok(import) = import_bytes(data.to_vec(), &options) {
        if let Err(errors) = import.graph.verify() {
            panic!("an imported graph does not verify: {errors:?}");
        }
        let _ = import.graph.to_string();
    }
});
