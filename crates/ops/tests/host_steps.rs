//! `docs/host-steps.md` lists what runs on the host, and all of it.

use std::fmt::Write;
use std::path::Path;

use alula_ir::Lowering;

const HEAD: &str = "\
# Host steps

<!-- Written by the test `the_page_of_host_steps_lists_them_all`: BLESS=1 renews it. -->

Every operator runs as compiled code but these, which the runtime runs on host tensors: the extents
of their results depend on the values of their operands, or they sort, or their values are strings,
sequences, optionals or maps, which no kernel holds, or they need 64-bit floats, which not every GPU
has. A step of a plan names its function (`alula compile --emit plan`), `alula run --profile`
measures it as any other, and on a GPU its operands and results are copied. Control flow (`if`,
`loop`) runs as plans in plans, on no device at all.

| operator | what it computes |
|---|---|
";

#[test]
fn the_page_of_host_steps_lists_them_all() {
    let mut page = HEAD.to_owned();
    for op in alula_ops::registry().iter() {
        if matches!(op.lowering, Lowering::Host(_)) {
            let summary = op.summary.replace('|', "\\|");
            let _ = writeln!(page, "| `{}` | {summary} |", op.name);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/host-steps.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/host-steps.md lists other operators: run this test with BLESS=1, read the change"
    );
}
