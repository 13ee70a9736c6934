//! What `alula check` says of a model: everything that compiling would refuse.

use alula_onnx::proto::NodeProto;
use alula_onnx::proto::tensor_proto::DataType;
use alula_tests::model::{model, node, tensor};
use alula_tests::pipeline::Folder;
use prost::Message;

/// The lines for nodes over `s` and `t`, vectors of strings, `c` of bools and `x` of floats.
fn check(nodes: Vec<NodeProto>, lines: &[&str]) {
    let inputs = vec![
        tensor("s", DataType::String, "N"),
        tensor("t", DataType::String, "N"),
        tensor("c", DataType::Bool, "N"),
        tensor("x", DataType::Float, "N"),
    ];
    let folder = Folder::new();
    let path = folder.path("model.onnx");
    let bytes = model(inputs, Vec::new(), nodes).encode_to_vec();
    std::fs::write(&path, bytes).expect("the folder can be written");
    let found = alula::check(&path).expect("the model is valid");
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, lines);
    let compiled = alula::Model::builder(&path).compile();
    assert_eq!(
        compiled.is_ok(),
        lines.is_empty(),
        "checking and compiling disagree"
    );
}

#[test]
fn nodes_without_a_kernel_are_found_as_compiling_finds_them() {
    let nodes = vec![
        node("Where", &["c", "s", "t"], &["a"]),
        node("Relu", &["x"], &["r"]),
        node("Where", &["c", "t", "s"], &["b"]),
        node("SequenceConstruct", &["a", "b"], &["y"]),
    ];
    let lines = [
        "select \"a\": not supported: select of strings in a kernel",
        "select \"b\": not supported: select of strings in a kernel",
    ];
    check(nodes, &lines);
}

#[test]
fn what_falls_away_needs_no_kernel() {
    let nodes = vec![
        node("Where", &["c", "s", "t"], &["a"]),
        node("Relu", &["x"], &["y"]),
    ];
    check(nodes, &[]);
}
