//! Any text as kernels: an error, or kernels whose text parses to the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(kernels) = alula_kernel::text::parse_kernels(text) else {
        return;
    };
    for kernel in kernels {
        let _ = alula_kernel::verify(&kernel);
        let printed = kernel.to_string();
        let again = alula_kernel::text::parse_kernel(&printed).unwrap_or_else(|error| {
            panic!("a kernel's own text does not parse: {error}\n{printed}")
        });
        assert_eq!(again.to_string(), printed);
    }
});
