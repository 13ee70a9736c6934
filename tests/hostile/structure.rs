//! The structure of a model: branches, loops, functions, payloads, names.

use alula::Tensor;
use alula_onnx::proto::attribute_proto::AttributeType;
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{ModelProto, TensorProto};
use alula_tests::child::{alone, folder_of};
use alula_tests::model::{
    body, branch, call, function, model, node, tensor, untyped, with_graph, with_int,
};
use prost::Message;
use prost::encoding::encode_varint;

use super::support::{HUGE, Refused, Right, both, expect, x};

#[test]
fn loops() {
    let step = |name: &str| {
        let mut graph = body(vec![node("Neg", &["v"], &["w"])], &["c", "w"]);
        graph.input = vec![
            tensor("i", DataType::Int64, ""),
            tensor("c", DataType::Bool, ""),
            tensor("v", DataType::Float, "2 3"),
        ];
        graph.name = Some(name.to_owned());
        graph
    };
    let node = with_graph(node("Loop", &["n", "", "x"], &["y"]), "body", step("b"));
    let fate = Right(&[2, 3], &[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
    both(
        "3 trips",
        std::slice::from_ref(&node),
        &[("n", &[3])],
        &fate,
    );
    both(
        "-3 trips",
        &[node],
        &[("n", &[-3])],
        &Right(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    );
}

/// A field of a message: text, or a message.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 16);
    encode_varint(number << 3 | 2, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// A model of branches in branches, written from the inside out: messages so deep would take a
/// frame of the stack for each level.
fn nested(depth: usize) -> Vec<u8> {
    let leaf = |op: &str| body(vec![node(op, &["x"], &["t"])], &["t"]).encode_to_vec();
    let attribute = |name: &str, graph: &[u8]| {
        let kind = {
            let mut kind = Vec::new();
            encode_varint(20 << 3, &mut kind);
            encode_varint(AttributeType::Graph as u64, &mut kind);
            kind
        };
        field(
            5,
            &[field(1, name.as_bytes()), field(6, graph), kind].concat(),
        )
    };
    let branch = |result: &str, then: &[u8], otherwise: &[u8]| {
        let names = [field(1, b"c"), field(2, result.as_bytes()), field(4, b"If")].concat();
        let graphs = [
            attribute("then_branch", then),
            attribute("else_branch", otherwise),
        ];
        field(1, &[names, graphs.concat()].concat())
    };
    let output = |name: &str| field(12, &untyped(name).encode_to_vec());
    let mut graph = leaf("Neg");
    for _ in 0..depth {
        graph = [branch("t", &graph, &leaf("Abs")), output("t")].concat();
    }
    let inputs = vec![
        tensor("x", DataType::Float, "2 3"),
        tensor("c", DataType::Bool, ""),
    ];
    let rest = [branch("y", &graph, &leaf("Exp")), output("y")].concat();
    // A message that is given twice is both together.
    let model = model(inputs, vec![], vec![]).encode_to_vec();
    [model, field(7, &rest)].concat()
}

#[test]
fn deep_nesting() {
    for depth in [10, 60, 200, 1000, 5000] {
        let folder = folder_of(&nested(depth));
        let cond = Tensor::from_bools(&[], &[true]).expect("one value");
        let inputs = [x(), ("c", cond.into())];
        match alone("one_case", &format!("{depth} branches"), &folder, &inputs) {
            Ok((_, values)) => {
                assert_eq!(values, [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
                assert!(depth < 100, "{depth} levels");
            }
            Err(text) => {
                let words = ["deep", "levels", "nested", "recursion"];
                assert!(words.iter().any(|word| text.contains(word)), "{text}");
                assert!(depth > 10, "{depth} levels: {text}");
            }
        }
    }
}

#[test]
fn functions() {
    let x_type = || vec![tensor("x", DataType::Float, "2 3")];
    let with = |nodes, functions| ModelProto {
        functions,
        ..model(x_type(), vec![], nodes)
    };
    let itself = with(
        vec![call("f", "x", "y")],
        vec![function("f", vec![call("f", "a", "b")])],
    );
    expect("recursive", &itself, &[x()], &Refused(&["calls itself"]));
    let there = function("f", vec![call("g", "a", "b")]);
    let back = function("g", vec![call("f", "a", "b")]);
    let cyclic = with(vec![call("f", "x", "y")], vec![there, back]);
    expect("cyclic", &cyclic, &[x()], &Refused(&["calls itself"]));
    // A call of itself that hides in a branch.
    let hidden = function(
        "f",
        vec![
            node("ReduceMax", &["a"], &["m"]),
            with_int(node("Cast", &["m"], &["c"]), "to", 9),
            branch(
                "c",
                &["b"],
                body(vec![call("f", "a", "t")], &["t"]),
                body(vec![call("f", "a", "e")], &["e"]),
            ),
        ],
    );
    let hidden = with(vec![call("f", "x", "y")], vec![hidden]);
    expect(
        "hidden recursion",
        &hidden,
        &[x()],
        &Refused(&["calls itself", "levels"]),
    );
    let mut doubling = vec![function("f0", vec![node("Neg", &["a"], &["b"])])];
    for level in 1..=28 {
        let inner = format!("f{}", level - 1);
        let nodes = vec![call(&inner, "a", "t"), call(&inner, "t", "b")];
        doubling.push(function(&format!("f{level}"), nodes));
    }
    let doubling = with(vec![call("f28", "x", "y")], doubling);
    expect("2^28 calls", &doubling, &[x()], &Refused(&["nodes"]));
}

#[test]
fn payloads() {
    let weights = |dims: &[i64], bytes: usize| TensorProto {
        name: Some("w".to_owned()),
        data_type: Some(DataType::Float.into()),
        dims: dims.to_vec(),
        raw_data: Some(vec![0; bytes].into()),
        ..TensorProto::default()
    };
    let nodes = vec![node("Add", &["x", "w"], &["y"])];
    for (name, tensor_) in [
        ("short", weights(&[2, 3], 20)),
        ("long", weights(&[2, 3], 28)),
        ("no multiple", weights(&[2, 3], 23)),
        ("none for many", weights(&[1 << 20, 1 << 20], 0)),
        ("2^126 elements", weights(&[HUGE, HUGE], 24)),
        ("a negative extent", weights(&[-2, -3], 24)),
    ] {
        let odd = model(
            vec![tensor("x", DataType::Float, "2 3")],
            vec![tensor_],
            nodes.clone(),
        );
        expect(name, &odd, &[x()], &Refused(&["\"w\""]));
    }
}

#[test]
fn names() {
    let x_type = || vec![tensor("x", DataType::Float, "2 3")];
    let twice = vec![node("Neg", &["x"], &["y"]), node("Abs", &["x"], &["y"])];
    expect(
        "twice",
        &model(x_type(), vec![], twice),
        &[x()],
        &Refused(&["defined twice"]),
    );
    let shadow = vec![node("Neg", &["x"], &["x"])];
    expect(
        "an input again",
        &model(x_type(), vec![], shadow),
        &[x()],
        &Refused(&["defined twice"]),
    );
    let cycle = vec![
        node("Add", &["x", "b"], &["a"]),
        node("Neg", &["a"], &["b"]),
    ];
    expect(
        "a cycle",
        &model(x_type(), vec![], cycle),
        &[x()],
        &Refused(&["not defined"]),
    );
    let inputs = || [x_type(), x_type()].concat();
    let neg = || vec![node("Neg", &["x"], &["y"])];
    expect(
        "an input declared twice",
        &model(inputs(), vec![], neg()),
        &[x()],
        &Refused(&["input \"x\" is declared twice"]),
    );
    let mut outputs = model(x_type(), vec![], neg());
    if let Some(graph) = &mut outputs.graph {
        graph.output.push(untyped("y"));
    }
    let fate = &Refused(&["output \"y\" is declared twice"]);
    expect("an output declared twice", &outputs, &[x()], fate);
    // With a value, an input is a constant: before IR version 4 it had to be declared as both.
    let constant = TensorProto {
        name: Some("w".to_owned()),
        data_type: Some(DataType::Float.into()),
        float_data: vec![1.0],
        ..TensorProto::default()
    };
    let weighted = model(
        [x_type(), vec![tensor("w", DataType::Float, "")]].concat(),
        vec![constant],
        vec![node("Add", &["x", "w"], &["y"])],
    );
    let fate = &Right(&[2, 3], &[2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    expect("an initializer that is an input", &weighted, &[x()], fate);
}
