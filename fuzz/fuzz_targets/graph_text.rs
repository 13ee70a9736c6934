//! Any text as a graph: an error, or a graph whose text parses to the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let registry = alula_ops::registry();
    if let Ok(graph) = alula_ir::parse(text, registry, &|_| None) {
        let _ = graph.verify();
        let _ = graph.to_string();
    }
});
