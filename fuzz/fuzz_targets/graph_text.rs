//! Any text as a graph: an error, or a graph whose text parses to the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let registry = alula_ops::registry();
    let Ok(graph) = alula_ir::parse(text, registry, &|_| None) else {
        return;
    };
    let _ = graph.verify();
    let printed = graph.to_string();
    // Data of large constants lie beside the text; without them there is no way back.
    if printed.contains("blob \"") {
        return;
    }
    let again = alula_ir::parse(&printed, registry, &|_| None)
        .unwrap_or_else(|error| panic!("a graph's own text does not parse: {error}\n{printed}"));
    assert_eq!(again.to_string(), printed);
});
