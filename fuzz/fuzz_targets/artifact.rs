//! Any bytes as an artifact: an error, or sections that can be read and programs that a session
//! accepts or refuses; never a panic, and no code is run.
//!
//! Checksums keep a fuzzer out of what they guard, so the input is also taken as the contents of
//! sections of an artifact that is sound otherwise.
#![no_main]

use alula_artifact::{Artifact, Builder, Kind, Metadata, Verify};
use libfuzzer_sys::fuzz_target;

fn read(artifact: &Artifact) {
    for target in artifact.metadata().targets.iter().take(4) {
        let _ = alula_runtime::artifact::program(artifact, target);
    }
}

fuzz_target!(|data: &[u8]| {
    for verify in [Verify::All, Verify::HeaderAndCode] {
        if let Ok(artifact) = Artifact::from_bytes(data, verify) {
            read(&artifact);
        }
    }
    let (plan, places) = data.split_at(data.len() / 8 * 7);
    let metadata = Metadata {
        producer: "fuzz".to_owned(),
        contents: alula_program::PROGRAM_ABI,
        targets: vec!["cpu".to_owned()],
        cpu_features: Vec::new(),
    };
    let built = Builder::new(metadata)
        .bytes("cpu/plan", Kind::Plan, plan)
        .bytes("cpu/where", Kind::Plan, places)
        .bytes("cpu/code", Kind::Code, &[0xc3][..])
        .bytes("weights", Kind::Weights, &[0; 256][..])
        .to_bytes();
    let artifact = Artifact::from_bytes(&built.expect("it is sound"), Verify::All);
    read(&artifact.expect("it is sound"));
});
