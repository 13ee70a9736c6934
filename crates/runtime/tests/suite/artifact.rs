//! Programs through files.

use alula_runtime::{Session, SessionError, SessionOptions, artifact};

use crate::device::Fake;
use crate::plans::{floats, negated_sum, session};

#[test]
fn a_stored_program_gives_the_same_bits() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("model.alula");
    let program = negated_sum();
    artifact::save(&path, &[&program]).expect("save");
    let stored =
        Session::from_artifact(&path, &Fake::default(), SessionOptions::default()).expect("load");
    let inputs = [("x", floats(&[1.0, 2.5]))];
    let direct = session(program).run(&inputs).expect("run");
    assert_eq!(stored.run(&inputs).expect("run"), direct);
}

#[test]
fn programs_of_other_versions_are_refused_before_they_are_read() {
    use alula_artifact::{Artifact, Builder, Kind, Metadata, Verify};
    use alula_program::PROGRAM_ABI;
    // No plan could be read out of this.
    let metadata = Metadata {
        producer: "alula 9.9.9".to_owned(),
        contents: PROGRAM_ABI + 1,
        targets: vec!["fake".to_owned()],
        cpu_features: Vec::new(),
    };
    let builder = Builder::new(metadata).bytes("fake/plan", Kind::Plan, b"\xff\xff");
    let bytes = builder.to_bytes().expect("bytes");
    let opened = Artifact::from_bytes(&bytes, Verify::All).expect("sound");
    let error = artifact::program(&opened, "fake").expect_err("it is newer");
    assert!(matches!(error, SessionError::Version { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("alula 9.9.9") && text.contains("compile again"),
        "{text}"
    );
}

#[test]
fn code_for_another_version_of_the_device_is_refused() {
    let mut program = negated_sum();
    program.abi = "functions 0".to_owned();
    let (device, options) = (Fake::default(), SessionOptions::default());
    let error = Session::new(program.into(), &device, options).expect_err("it is older");
    assert!(matches!(error, SessionError::Abi { .. }), "{error}");
}

#[test]
fn equal_constants_of_targets_are_stored_once() {
    let first = negated_sum();
    let mut second = first.clone();
    second.target = "other".to_owned();
    let both = artifact::to_bytes(&[&first, &second]).expect("bytes");
    assert_eq!(both, artifact::to_bytes(&[&first, &second]).expect("bytes"));
    let opened = alula_artifact::Artifact::from_bytes(&both, alula_artifact::Verify::All);
    let opened = opened.expect("sound");
    assert_eq!(opened.section("weights").expect("weights").len(), 64);
    for target in ["fake", "other"] {
        let program = artifact::program(&opened, target).expect("program");
        assert_eq!(program.data, first.data);
        assert_eq!(program.code, first.code);
    }
    let error = artifact::program(&opened, "gone").expect_err("not there");
    assert!(matches!(error, SessionError::NoTarget { .. }), "{error}");
}

#[test]
fn strings_are_stored_and_damage_is_noticed() {
    let strings = ["".to_owned(), "ä b".to_owned()];
    let mut bytes = artifact::encode_strings(&strings);
    assert_eq!(artifact::decode_strings(&bytes).expect("sound"), strings);
    bytes.pop();
    assert_eq!(artifact::decode_strings(&bytes), None);
}
