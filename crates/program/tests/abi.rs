//! The serialised form of programs and its version number.

use std::path::Path;

use alula_program::{
    HostFn, LetterCase, PROGRAM_ABI, ParamAccess, PixelFormat, Place, Program, Step, SymbolOrigin,
};
use alula_tensor::{Atom, DType, Dim, Granularity, SparsityKind, ValueType};
use alula_testkit::schema::{self, Form};

#[test]
fn programs_keep_their_form_or_raise_their_version() {
    let form = Form::default()
        .with::<Dim>("Repr")
        .with::<Atom>("Atom")
        .with::<DType>("DType")
        .with::<Granularity>("Granularity")
        .with::<SparsityKind>("SparsityKind")
        .with::<ValueType>("ValueType")
        .with::<ParamAccess>("ParamAccess")
        .with::<Place>("Place")
        .with::<SymbolOrigin>("SymbolOrigin")
        .with::<LetterCase>("LetterCase")
        .with::<PixelFormat>("PixelFormat")
        .with::<HostFn>("HostFn")
        .with::<Step>("Step")
        .with::<Program>("");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/abi.txt");
    schema::hold(&file, PROGRAM_ABI, &form.text());
}
