//! What is written is read back, shared, aligned, and the same each time.

use std::fs;
use std::io;

use alula_artifact::{Artifact, Builder, Kind, Metadata, ReadError, Verify, WriteError};

fn metadata() -> Metadata {
    Metadata {
        producer: "alula 0.1.0".into(),
        contents: 7,
        targets: vec!["cpu".into(), "wgpu".into()],
        cpu_features: vec!["avx2".into(), "fma".into()],
    }
}

fn sample<'a>() -> Builder<'a> {
    Builder::new(metadata())
        .bytes("plan", Kind::Plan, b"step 0; step 1".to_vec())
        .bytes("code", Kind::Code, vec![0xc3; 5])
        .bytes("empty", Kind::Plan, Vec::new())
        .stream("weights", Kind::Weights, |out| {
            for chunk in 0..4_u8 {
                out.write_all(&[chunk; 100])?;
            }
            Ok(())
        })
}

#[test]
fn gives_back_each_section_and_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.alula");
    let root = sample().save(&path).unwrap();
    for verify in [Verify::All, Verify::HeaderAndCode] {
        let artifact = Artifact::open(&path, verify).unwrap();
        assert_eq!(artifact.metadata(), &metadata());
        assert_eq!(artifact.root(), root);
        let names: Vec<_> = artifact
            .sections()
            .map(|section| section.name.to_owned())
            .collect();
        assert_eq!(names, ["plan", "code", "empty", "weights"]);
        assert_eq!(&artifact.section("plan").unwrap()[..], b"step 0; step 1");
        assert_eq!(&artifact.section("code").unwrap()[..], [0xc3; 5]);
        assert!(artifact.section("empty").unwrap().is_empty());
        let weights = artifact.section("weights").unwrap();
        assert_eq!((weights.len(), weights[0], weights[399]), (400, 0, 3));
        artifact.verify("weights").unwrap();
    }
}

#[test]
fn sections_are_aligned_wherever_the_bytes_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.alula");
    sample().save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    // One byte off any alignment, as `include_bytes!` may place it.
    let shifted: &'static [u8] = Vec::leak([&[0], &bytes[..]].concat());
    for artifact in [
        Artifact::open(&path, Verify::All).unwrap(),
        Artifact::from_bytes(&bytes, Verify::All).unwrap(),
        Artifact::from_static(&shifted[1..], Verify::All).unwrap(),
    ] {
        for info in artifact.sections() {
            let address = artifact.section(info.name).unwrap().as_ptr().addr();
            assert_eq!(address % info.kind.alignment(), 0, "{}", info.name);
        }
    }
}

#[test]
fn aligned_static_bytes_are_used_in_place() {
    #[repr(align(4096))]
    struct Aligned([u8; 8192]);
    let bytes = Builder::new(metadata())
        .bytes("code", Kind::Code, vec![1; 4096])
        .to_bytes()
        .unwrap();
    assert_eq!(bytes.len(), 8192);
    let aligned = Box::leak(Box::new(Aligned(bytes.try_into().unwrap())));
    let start = aligned.0.as_ptr();
    let artifact = Artifact::from_static(&aligned.0, Verify::All).unwrap();
    assert_eq!(
        artifact.section("code").unwrap().as_ptr(),
        start.wrapping_add(4096)
    );
}

#[test]
fn sections_outlive_the_artifact_and_share_its_bytes() {
    let artifact = Artifact::from_bytes(&sample().to_bytes().unwrap(), Verify::All).unwrap();
    let weights = artifact.section("weights").unwrap();
    assert_eq!(
        weights.as_ptr(),
        artifact.clone().section("weights").unwrap().as_ptr()
    );
    drop(artifact);
    let part = weights.slice(100..200).unwrap();
    assert_eq!(part.as_ptr(), weights[100..].as_ptr());
    assert_eq!(&part[..], [1; 100]);
    assert!(part.slice(90..101).is_none());
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "the wrong way round is the case"
    )]
    let reversed = part.slice(5..4);
    assert!(reversed.is_none());
}

#[test]
fn same_input_gives_same_bytes() {
    assert_eq!(sample().to_bytes().unwrap(), sample().to_bytes().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.alula");
    sample().save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), sample().to_bytes().unwrap());
}

#[test]
fn failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.alula");
    fs::write(&path, "before").unwrap();
    let failing = Builder::new(metadata()).stream("weights", Kind::Weights, |out| {
        out.write_all(&[0; 1 << 21])?;
        Err(io::Error::other("disk on fire"))
    });
    let error = failing.save(&path).unwrap_err();
    assert!(matches!(error, WriteError::Io { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn replacing_a_file_leaves_open_artifacts_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.alula");
    sample().save(&path).unwrap();
    let before = Artifact::open(&path, Verify::HeaderAndCode).unwrap();
    Builder::new(Metadata::default()).save(&path).unwrap();
    before.verify("weights").unwrap();
    assert_eq!(
        Artifact::open(&path, Verify::All).unwrap().sections().len(),
        0
    );
}

#[test]
fn refuses_names_that_the_table_cannot_hold() {
    let with = |names: &[&str]| {
        let builder = Builder::new(metadata());
        let empty =
            |builder: Builder<'static>, name: &&str| builder.bytes(*name, Kind::Plan, Vec::new());
        names.iter().fold(builder, empty).to_bytes()
    };
    let longest = "x".repeat(40);
    with(&[&longest, "é"]).unwrap();
    for names in [&[""][..], &["a", "a"], &["a\0b"], &[&format!("{longest}x")]] {
        assert!(
            matches!(with(names), Err(WriteError::Name { .. })),
            "{names:?}"
        );
    }
}

#[test]
fn names_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| Artifact::open(path, Verify::All).unwrap_err();
    assert!(matches!(
        open(&folder.path().join("none")),
        ReadError::Io { .. }
    ));
    assert!(matches!(open(folder.path()), ReadError::NotAFile { .. }));
    let artifact = Artifact::from_bytes(&sample().to_bytes().unwrap(), Verify::All).unwrap();
    let error = artifact.section("ptx").unwrap_err();
    assert_eq!(error.to_string(), "artifact has no section \"ptx\"");
}
