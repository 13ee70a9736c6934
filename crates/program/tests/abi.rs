//! The serialised form of programs and its version number.

use std::path::Path;

use alula_program::{PROGRAM_ABI, Program};
use alula_testkit::schema;

#[test]
fn programs_keep_their_form_or_raise_their_version() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/abi.txt");
    schema::hold(&file, PROGRAM_ABI, &schema::of::<Program>());
}
