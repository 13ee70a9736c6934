//! External data that a model may not have: outside of its folder, under another name, or no file.

use std::path::Path;

use alula_onnx::proto::tensor_proto::{DataLocation, DataType};
use alula_onnx::proto::{ModelProto, StringStringEntryProto, TensorProto};
use alula_tests::child::alone;
use alula_tests::model::{model, node, tensor};
use alula_tests::pipeline::Folder;
use prost::Message;

use super::support::{Fate, Refused, Right, compare, x};

const DATA: [f32; 3] = [1.0, 1.0, 1.0];

/// `y = x + w`, the three floats of `w` in a file.
fn with_data(location: &str) -> ModelProto {
    let entry = StringStringEntryProto {
        key: Some("location".to_owned()),
        value: Some(location.to_owned()),
    };
    let weights = TensorProto {
        name: Some("w".to_owned()),
        data_type: Some(DataType::Float.into()),
        dims: vec![3],
        data_location: Some(DataLocation::External.into()),
        external_data: vec![entry],
        ..TensorProto::default()
    };
    let x = tensor("x", DataType::Float, "2 3");
    model(
        vec![x],
        vec![weights],
        vec![node("Add", &["x", "w"], &["y"])],
    )
}

/// Runs the model in a folder beside `elsewhere`, after `place` put something there.
fn check(name: &str, location: &str, fate: &Fate, place: impl FnOnce(&Path, &Path)) {
    let elsewhere = Folder::new();
    let folder = Folder::new();
    let bytes: Vec<u8> = DATA.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(elsewhere.path("data"), &bytes).expect("the folder can be written");
    place(&folder.path(""), &elsewhere.path("data"));
    let elsewhere = elsewhere.path("data").display().to_string();
    let location = location.replace("ELSEWHERE", &elsewhere);
    let model = with_data(&location).encode_to_vec();
    std::fs::write(folder.path("model.onnx"), model).expect("the folder can be written");
    compare(name, alone("one_case", name, &folder, &[x()]), fate);
}

#[test]
fn external_data() {
    let below = &Refused(&["is not a plain path below the model's folder"]);
    let nothing = |_: &Path, _: &Path| {};
    check("an absolute path", "ELSEWHERE", below, nothing);
    check("a path upwards", "../data", below, nothing);
    check("a path down and up", "sub/../../data", below, nothing);
    check("no path", "", below, nothing);
    check("no file", "data", &Refused(&["\"data\""]), nothing);
    let sum = &Right(&[2, 3], &[2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    check("a file beside the model", "data", sum, |folder, data| {
        std::fs::copy(data, folder.join("data")).expect("a copy");
    });
    check(
        "a folder",
        "data",
        &Refused(&["not a regular file"]),
        |folder, _| {
            std::fs::create_dir(folder.join("data")).expect("a folder");
        },
    );
}

#[cfg(unix)]
#[test]
fn external_data_by_links() {
    let linked = &Refused(&["hard links"]);
    check("a hard link", "data", linked, |folder, data| {
        std::fs::hard_link(data, folder.join("data")).expect("a link");
    });
    let escapes = &Refused(&["leads out of the model's folder"]);
    check("a symbolic link", "data", escapes, |folder, data| {
        std::os::unix::fs::symlink(data, folder.join("data")).expect("a link");
    });
    let pipe = &Refused(&["not a regular file"]);
    check("a pipe", "data", pipe, |folder, _| {
        let made = std::process::Command::new("mkfifo")
            .arg(folder.join("data"))
            .status();
        assert!(made.expect("mkfifo can be run").success());
    });
}
