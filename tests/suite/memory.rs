//! Runs on a machine without the memory for them: an error that says so, never a panic or an abort.

use std::process::Command;

use alula::{ErrorKind, Limits, Model, SessionOptions, Tensor, Value};
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{ModelProto, NodeProto};
use alula_tensor::DType;
use alula_tests::model::{model, node, tensor};
use alula_tests::pipeline::Folder;
use prost::Message;

/// Address space of the child, in units of 1024 bytes.
const CHILD_KIB: u64 = 3 << 19;
const CHILD: &str = "ALULA_TEST_WITHOUT_MEMORY";

/// Runs a model with no other limit than the machine's; returns the error that ends the run.
fn refused(name: &str, model: &ModelProto, inputs: &[(&str, Value)]) -> String {
    let folder = Folder::new();
    let path = folder.path("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).expect("the folder can be written");
    let limits = Limits {
        bytes_max: u64::MAX,
        ..Limits::default()
    };
    let model = Model::builder(&path).threads(1).compile();
    let model = model.expect("it compiles");
    let session = model.with_options(SessionOptions { limits }).session();
    match session.expect("it loads").run(inputs) {
        Ok(_) => panic!("{name} found memory"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::User, "{name}: {error}");
            error.to_string()
        }
    }
}

fn ints(values: &[i64]) -> Value {
    Tensor::from_i64s(values).into()
}

/// A shape of 8 GB of floats for an operator that takes one.
fn huge(name: &str, nodes: &[NodeProto]) -> String {
    let types = vec![
        tensor("x", DataType::Float, "1"),
        tensor("s", DataType::Int64, "2"),
    ];
    let x = Tensor::from_slice(&[1], &[1.0_f32]).expect("one value");
    let inputs = [("x", x.into()), ("s", ints(&[1 << 21, 1000]))];
    refused(name, &model(types, Vec::new(), nodes.to_vec()), &inputs)
}

/// What the child process does: each of these needs more than it can have.
fn starve() {
    let wanted = "could not be allocated";
    let of_shape = node("ConstantOfShape", &["s"], &["y"]);
    let expand = node("Expand", &["x", "s"], &["y"]);
    let then_exp = [
        node("Expand", &["x", "s"], &["e"]),
        node("Exp", &["e"], &["y"]),
    ];
    for (name, nodes) in [
        ("ConstantOfShape", &[of_shape][..]),
        ("Expand", &[expand][..]),
        ("Expand and Exp", &then_exp[..]),
    ] {
        let text = huge(name, nodes);
        assert!(text.contains(wanted), "{name}: {text}");
    }
    // Results of 16 times the argument.
    let mut marks = Tensor::zeros(DType::U8, &[100 << 20, 1]).expect("there is memory");
    marks.bytes_mut().fill(1);
    let types = || vec![tensor("x", DataType::Uint8, "N M")];
    for (name, nodes) in [
        ("NonZero", vec![node("NonZero", &["x"], &["y"])]),
        ("Unique", vec![node("Unique", &["x"], &["u", "first", "y"])]),
    ] {
        let model = model(types(), Vec::new(), nodes);
        let text = refused(name, &model, &[("x", marks.clone().into())]);
        assert!(text.contains(wanted), "{name}: {text}");
    }
}

#[test]
fn without_memory_it_is_an_error() {
    let name = "memory::without_memory_it_is_an_error";
    if std::env::var_os(CHILD).is_some() {
        starve();
        return;
    }
    if !cfg!(target_os = "linux") {
        alula_testkit::skip(name, "only Linux bounds what a process can address");
        return;
    }
    let script = format!("ulimit -v {CHILD_KIB} && exec \"$0\" \"$@\"");
    let own = std::env::current_exe().expect("a test has a file");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(own)
        .args([name, "--exact", "--nocapture", "--test-threads", "1"])
        .env(CHILD, "1")
        .output()
        .expect("there is a shell");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{text}");
}
