//! External data: what loads, and what a hostile model file cannot reach.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use alula_onnx::external::{ExternalError, ExternalFiles};
use alula_onnx::proto::{
    GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, ValueInfoProto,
};
use alula_onnx::{ImportOptions, import_file};
use prost::Message;
use tempfile::TempDir;

const DATA: &[u8] = b"0123456789abcdef";
/// SHA-1 of `DATA`, by sha1sum.
const DATA_SHA1: &str = "fe5567e8d769550852182cdf69d74bb16dff8e29";

fn entries(pairs: &[(&str, &str)]) -> Vec<StringStringEntryProto> {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    pairs.iter().map(entry).collect()
}

/// A folder with `model/w.bin`, and `secret.bin` outside the model's folder.
fn layout() -> TempDir {
    let dir = TempDir::new().expect("temporary folder");
    fs::create_dir_all(dir.path().join("model/sub")).expect("create");
    fs::write(dir.path().join("model/w.bin"), DATA).expect("write");
    fs::write(dir.path().join("model/sub/v.bin"), DATA).expect("write");
    fs::write(dir.path().join("secret.bin"), DATA).expect("write");
    dir
}

fn files(dir: &TempDir) -> ExternalFiles {
    ExternalFiles::beside(&dir.path().join("model/model.onnx")).expect("folder")
}

fn read(dir: &TempDir, pairs: &[(&str, &str)]) -> Result<Vec<u8>, ExternalError> {
    files(dir).read(&entries(pairs)).map(|bytes| bytes.to_vec())
}

#[test]
fn ranges_of_a_file() {
    let dir = layout();
    let cases: &[(&[(&str, &str)], &[u8])] = &[
        (&[("location", "w.bin")], DATA),
        (&[("location", "./w.bin"), ("offset", "10")], b"abcdef"),
        (
            &[("location", "w.bin"), ("offset", "4"), ("length", "3")],
            b"456",
        ),
        (
            &[("location", "w.bin"), ("offset", "16"), ("length", "0")],
            b"",
        ),
        (&[("location", "sub/v.bin"), ("length", "1")], b"0"),
        (&[("location", "w.bin"), ("checksum", DATA_SHA1)], DATA),
        (
            &[
                ("location", "w.bin"),
                ("checksum", &DATA_SHA1.to_uppercase()),
            ],
            DATA,
        ),
        (
            &[("location", "w.bin"), ("prepacked_0", "a writer's own key")],
            DATA,
        ),
    ];
    for (pairs, want) in cases {
        assert_eq!(read(&dir, pairs).expect("in range"), *want, "{pairs:?}");
    }
}

#[test]
fn an_empty_file_is_empty() {
    let dir = layout();
    fs::write(dir.path().join("model/none.bin"), b"").expect("write");
    assert_eq!(read(&dir, &[("location", "none.bin")]).expect("empty"), b"");
}

#[test]
fn a_file_is_mapped_once() {
    let dir = layout();
    let files = files(&dir);
    let whole = files
        .read(&entries(&[("location", "w.bin")]))
        .expect("read");
    let part = files
        .read(&entries(&[("location", "./w.bin"), ("offset", "4")]))
        .expect("read");
    assert_eq!(part.as_ptr() as usize - whole.as_ptr() as usize, 4);
}

#[test]
fn bytes_outlive_the_files() {
    let dir = layout();
    let bytes = files(&dir)
        .read(&entries(&[("location", "w.bin")]))
        .expect("read");
    fs::remove_file(dir.path().join("model/w.bin")).expect("remove");
    assert_eq!(bytes, DATA);
}

#[test]
fn ranges_outside_the_file_are_refused() {
    let dir = layout();
    let max = u64::MAX.to_string();
    for (offset, length) in [
        ("0", "17"),
        ("17", "0"),
        ("16", "1"),
        (&*max, "1"),
        ("1", &*max),
    ] {
        let result = read(
            &dir,
            &[
                ("location", "w.bin"),
                ("offset", offset),
                ("length", length),
            ],
        );
        assert!(
            matches!(result, Err(ExternalError::OutOfRange { size: 16, .. })),
            "{offset}+{length}: {result:?}"
        );
    }
    let past = read(&dir, &[("location", "w.bin"), ("offset", "17")]);
    assert!(
        matches!(past, Err(ExternalError::OutOfRange { .. })),
        "{past:?}"
    );
}

#[test]
fn entries_that_make_no_sense_are_refused() {
    let dir = layout();
    assert!(matches!(read(&dir, &[]), Err(ExternalError::NoLocation)));
    let twice = read(&dir, &[("location", "w.bin"), ("location", "w.bin")]);
    assert!(
        matches!(twice, Err(ExternalError::DuplicateKey { .. })),
        "{twice:?}"
    );
    for (key, value) in [
        ("offset", "-1"),
        ("offset", ""),
        ("offset", "0x10"),
        ("length", "1e3"),
        ("length", "18446744073709551616"),
        ("checksum", "abc"),
        ("checksum", "zz5567e8d769550852182cdf69d74bb16dff8e29"),
    ] {
        let result = read(&dir, &[("location", "w.bin"), (key, value)]);
        assert!(
            matches!(result, Err(ExternalError::BadValue { .. })),
            "{key}: {result:?}"
        );
    }
}

#[test]
fn a_wrong_checksum_is_refused() {
    let dir = layout();
    let wrong = "0".repeat(40);
    let result = read(&dir, &[("location", "w.bin"), ("checksum", &wrong)]);
    let Err(ExternalError::Checksum { actual, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(actual, DATA_SHA1);
}

#[test]
fn a_model_from_memory_has_no_external_data() {
    let result = ExternalFiles::none().read(&entries(&[("location", "w.bin")]));
    assert!(matches!(result, Err(ExternalError::NoFolder)));
}

#[test]
fn locations_outside_the_folder_are_refused() {
    let dir = layout();
    let absolute = dir.path().join("model/w.bin").display().to_string();
    for location in [
        "",
        "../secret.bin",
        "sub/../../secret.bin",
        "sub/../w.bin",
        "w.bin\0",
        "/etc/passwd",
        &absolute,
    ] {
        let result = read(&dir, &[("location", location)]);
        assert!(
            matches!(result, Err(ExternalError::NotBelow { .. })),
            "{location:?}: {result:?}"
        );
    }
}

#[test]
fn links_may_not_leave_the_folder() {
    let dir = layout();
    let model = dir.path().join("model");
    symlink("../secret.bin", model.join("relative")).expect("link");
    symlink(dir.path().join("secret.bin"), model.join("absolute")).expect("link");
    symlink("relative", model.join("chain")).expect("link");
    symlink("..", model.join("up")).expect("link");
    symlink("/dev/zero", model.join("zero")).expect("link");
    for location in ["relative", "absolute", "chain", "up/secret.bin", "zero"] {
        let result = read(&dir, &[("location", location)]);
        assert!(
            matches!(result, Err(ExternalError::Escapes { .. })),
            "{location}: {result:?}"
        );
    }
    symlink("sub/v.bin", model.join("within")).expect("link");
    assert_eq!(read(&dir, &[("location", "within")]).expect("inside"), DATA);
    symlink("loop", model.join("loop")).expect("link");
    assert!(matches!(
        read(&dir, &[("location", "loop")]),
        Err(ExternalError::Io { .. })
    ));
}

#[test]
fn a_sibling_folder_with_the_same_prefix_is_outside() {
    let dir = layout();
    fs::create_dir(dir.path().join("model-other")).expect("create");
    fs::write(dir.path().join("model-other/w.bin"), DATA).expect("write");
    symlink("../model-other/w.bin", dir.path().join("model/other")).expect("link");
    let result = read(&dir, &[("location", "other")]);
    assert!(
        matches!(result, Err(ExternalError::Escapes { .. })),
        "{result:?}"
    );
}

#[test]
fn hard_links_are_refused() {
    let dir = layout();
    fs::hard_link(dir.path().join("secret.bin"), dir.path().join("model/hard")).expect("link");
    let result = read(&dir, &[("location", "hard")]);
    assert!(
        matches!(result, Err(ExternalError::HardLinked { links: 2, .. })),
        "{result:?}"
    );
}

#[test]
fn only_regular_files_are_opened() {
    let dir = layout();
    let model = dir.path().join("model");
    let made = std::process::Command::new("mkfifo")
        .arg(model.join("fifo"))
        .status();
    assert!(made.expect("mkfifo runs").success());
    let _socket = std::os::unix::net::UnixListener::bind(model.join("socket")).expect("socket");
    for location in ["fifo", "socket", "sub", "."] {
        let result = read(&dir, &[("location", location)]);
        assert!(
            matches!(result, Err(ExternalError::NotRegular { .. })),
            "{location}: {result:?}"
        );
    }
}

#[test]
fn a_missing_file_is_named() {
    let dir = layout();
    let error = read(&dir, &[("location", "gone.bin")]).expect_err("missing");
    assert!(error.to_string().contains("gone.bin"), "{error}");
}

/// `models--a--b/{blobs/HASH, snapshots/REV/{model.onnx, w.bin} -> blobs}`.
fn hub_cache(hub: &Path) {
    let model = hub.join("models--a--b");
    fs::create_dir_all(model.join("blobs")).expect("create");
    fs::create_dir_all(model.join("snapshots/rev/onnx")).expect("create");
    fs::write(model.join("blobs/hash"), DATA).expect("write");
    symlink("../../blobs/hash", model.join("snapshots/rev/w.bin")).expect("link");
    symlink(
        "../../../blobs/hash",
        model.join("snapshots/rev/onnx/w.bin"),
    )
    .expect("link");
}

#[test]
fn a_hugging_face_cache_loads() {
    let dir = TempDir::new().expect("temporary folder");
    hub_cache(dir.path());
    for model in [
        "models--a--b/snapshots/rev/m.onnx",
        "models--a--b/snapshots/rev/onnx/m.onnx",
    ] {
        let files = ExternalFiles::beside(&dir.path().join(model)).expect("folder");
        let bytes = files
            .read(&entries(&[("location", "w.bin")]))
            .expect("in the cache");
        assert_eq!(bytes, DATA);
    }
}

#[test]
fn a_hugging_face_cache_opens_no_other_models_files() {
    let dir = TempDir::new().expect("temporary folder");
    hub_cache(dir.path());
    let other = dir.path().join("models--c--d/blobs");
    fs::create_dir_all(&other).expect("create");
    fs::write(other.join("hash"), DATA).expect("write");
    fs::write(dir.path().join("token"), DATA).expect("write");
    let snapshot = dir.path().join("models--a--b/snapshots/rev");
    symlink("../../../models--c--d/blobs/hash", snapshot.join("foreign")).expect("link");
    symlink("../../../token", snapshot.join("token")).expect("link");
    let files = ExternalFiles::beside(&snapshot.join("m.onnx")).expect("folder");
    for location in ["foreign", "token"] {
        let result = files.read(&entries(&[("location", location)]));
        assert!(
            matches!(result, Err(ExternalError::Escapes { .. })),
            "{location}: {result:?}"
        );
    }
}

#[test]
fn blobs_that_are_a_link_are_not_trusted() {
    let dir = TempDir::new().expect("temporary folder");
    let (model, elsewhere) = (
        dir.path().join("models--a--b"),
        dir.path().join("elsewhere"),
    );
    fs::create_dir_all(model.join("snapshots/rev")).expect("create");
    fs::create_dir_all(&elsewhere).expect("create");
    fs::write(elsewhere.join("hash"), DATA).expect("write");
    symlink(&elsewhere, model.join("blobs")).expect("link");
    symlink("../../blobs/hash", model.join("snapshots/rev/w.bin")).expect("link");
    let files = ExternalFiles::beside(&model.join("snapshots/rev/m.onnx")).expect("folder");
    let result = files.read(&entries(&[("location", "w.bin")]));
    assert!(
        matches!(result, Err(ExternalError::Escapes { .. })),
        "{result:?}"
    );
}

/// A tensor in `w.bin`.
fn initializer(name: &str, data_type: i32, dims: &[i64], offset: u64) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type),
        dims: dims.to_vec(),
        data_location: Some(1),
        external_data: entries(&[("location", "w.bin"), ("offset", &offset.to_string())]),
        ..TensorProto::default()
    }
}

#[test]
fn a_model_of_three_gigabytes_loads() {
    const BYTES: u64 = 3_000_000_000;
    let dir = TempDir::new().expect("temporary folder");
    // Nothing but its end is on the disk.
    let mut file = fs::File::create(dir.path().join("w.bin")).expect("create");
    file.set_len(BYTES - 8).expect("make long");
    file.seek(SeekFrom::End(0)).expect("seek");
    file.write_all(&[1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat())
        .expect("write");
    let (float, byte) = (1, 2);
    let output = |name: &str| ValueInfoProto {
        name: Some(name.to_owned()),
        ..ValueInfoProto::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            version: Some(17),
            ..OperatorSetIdProto::default()
        }],
        graph: Some(GraphProto {
            initializer: vec![
                initializer("whole", byte, &[3, 1_000_000_000], 0),
                initializer("end", float, &[2], BYTES - 8),
            ],
            output: vec![output("whole"), output("end")],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let path = dir.path().join("model.onnx");
    fs::write(&path, model.encode_to_vec()).expect("write");
    let graph = import_file(&path, &ImportOptions::default())
        .expect("the data are where the model says")
        .graph;
    let [(_, whole), (_, end)] = graph.outputs() else {
        panic!("two outputs were asked for");
    };
    let constant = |id| graph.as_constant(id).expect("initializers are constants");
    let whole = constant(*whole).bytes();
    assert_eq!(whole.len() as u64, BYTES);
    assert_eq!((whole[0], whole[whole.len() - 1]), (0, 0xC0));
    assert_eq!(constant(*end).to_f64s(), [1.5, -2.0]);
}
