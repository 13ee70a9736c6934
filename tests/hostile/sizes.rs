//! Sizes that a model asks for: as constants of the model, which the importer sees, and as inputs,
//! which only a run does.

use alula::{Tensor, Value};
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{NodeProto, TensorProto};
use alula_tests::child::{alone, folder_of};
use alula_tests::model::{floats, int, ints, model, node, tensor, with_int, with_ints};
use prost::Message;

use super::support::{Fate, HUGE, Refused, Right, TOO_LARGE, both, both_with, expect, x};

#[test]
fn constant_of_shape() {
    let nodes = [node("ConstantOfShape", &["s"], &["y"])];
    both(
        "2^40 elements",
        &nodes,
        &[("s", &[1 << 20, 1 << 20])],
        TOO_LARGE,
    );
    both("2^124 elements", &nodes, &[("s", &[HUGE, HUGE])], TOO_LARGE);
    both(
        "a negative extent",
        &nodes,
        &[("s", &[-5])],
        &Refused(&["negative", "no size"]),
    );
    both(
        "no elements",
        &nodes,
        &[("s", &[0, 5])],
        &Right(&[0, 5], &[]),
    );
    // Known at import, an absurd extent is refused; a run finds nothing to make.
    let nothing = Right(&[0, HUGE as usize], &[]);
    both_with(
        "none of 2^62",
        &nodes,
        &[("s", &[0, HUGE])],
        &[],
        TOO_LARGE,
        &nothing,
    );
}

#[test]
fn expand() {
    let nodes = [node("Expand", &["x", "s"], &["y"])];
    both("to 2^62", &nodes, &[("s", &[HUGE, 2, 3])], TOO_LARGE);
    both("to 2^40", &nodes, &[("s", &[1 << 40, 2, 3])], TOO_LARGE);
    both(
        "no broadcast",
        &nodes,
        &[("s", &[5, 3])],
        &Refused(&["broadcast", "equal"]),
    );
    both(
        "negative",
        &nodes,
        &[("s", &[-2, 3])],
        &Refused(&["negative", "no size", "broadcast", "equal"]),
    );
    both(
        "as it is",
        &nodes,
        &[("s", &[1, 1])],
        &Right(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    );
}

#[test]
fn many_constants_that_grow() {
    // Each of them is one that folds; all of them are 84 MB.
    let (mut nodes, mut constants) = (Vec::new(), vec![ints("s", &[3, 349_525])]);
    for k in 0..20 {
        let [c, e, m, a] = ["c", "e", "m", "a"].map(|name| format!("{name}{k}"));
        constants.push(floats(&c, &[k as f32]));
        nodes.push(node("Expand", &[&c, "s"], &[&e]));
        nodes.push(node("MatMul", &["x", &e], &[&m]));
        let before = if k == 0 {
            m.clone()
        } else {
            format!("a{}", k - 1)
        };
        nodes.push(node("Max", &[&before, &m], &[&a]));
    }
    nodes.push(with_int(node("ReduceMax", &["a19"], &["y"]), "keepdims", 0));
    let x_type = tensor("x", DataType::Float, "2 3");
    let all = model(vec![x_type], constants, nodes);
    expect("20 constants", &all, &[x()], &Right(&[], &[19.0 * 15.0]));
}

#[test]
fn tile_and_reshape() {
    let tile = [node("Tile", &["x", "s"], &["y"])];
    both("tile 2^62", &tile, &[("s", &[HUGE, HUGE])], TOO_LARGE);
    both("tile 2^40", &tile, &[("s", &[1 << 40, 1])], TOO_LARGE);
    both(
        "tile -1",
        &tile,
        &[("s", &[-1, 1])],
        &Refused(&["negative", "no size"]),
    );
    let reshape = [node("Reshape", &["x", "s"], &["y"])];
    let elements = &Refused(&[
        "elements",
        "equal",
        "too large",
        "beyond",
        "no size",
        "overflow",
        "memory",
    ]);
    both("reshape 2^62", &reshape, &[("s", &[HUGE, -1])], elements);
    both("reshape to 7", &reshape, &[("s", &[7])], elements);
    both(
        "reshape -1 -1",
        &reshape,
        &[("s", &[-1, -1])],
        &Refused(&["-1", "no size", "equal"]),
    );
    both(
        "reshape -7",
        &reshape,
        &[("s", &[-7])],
        &Refused(&["negative", "elements", "no size", "-7", "equal"]),
    );
}

#[test]
fn one_hot() {
    let nodes = [
        node("OneHot", &["i", "depth", "values"], &["hot"]),
        node("Cast", &["hot"], &["y"]),
    ];
    let nodes = [nodes[0].clone(), with_int(nodes[1].clone(), "to", 1)];
    let constants = [ints("i", &[0, 2]), floats("values", &[0.0, 1.0])];
    for (name, depth, fate) in [
        ("depth 2^40", 1_i64 << 40, TOO_LARGE),
        ("depth 2^62", HUGE, TOO_LARGE),
        ("depth -3", -3, &Refused(&["negative", "no size"])),
        (
            "depth 3",
            3,
            &Right(&[2, 3], &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        ),
    ] {
        both_with(name, &nodes, &[("depth", &[depth])], &constants, fate, fate);
    }
}

#[test]
fn pads() {
    let nodes = [node("Pad", &["x", "p"], &["y"])];
    both(
        "2^62",
        &nodes,
        &[("p", &[HUGE, HUGE, HUGE, HUGE])],
        TOO_LARGE,
    );
    both("2^40", &nodes, &[("p", &[1 << 40, 0, 0, 0])], TOO_LARGE);
    both(
        "more than there is",
        &nodes,
        &[("p", &[0, -2, 0, -2])],
        &Refused(&["negative", "no size"]),
    );
    both(
        "cropped",
        &nodes,
        &[("p", &[-1, 0, 0, -2])],
        &Right(&[1, 1], &[4.0]),
    );
    both(
        "a count that does not fit",
        &nodes,
        &[("p", &[1, 1])],
        &Refused(&["pads"]),
    );
}

#[test]
fn ranges() {
    let nodes = [node("Range", &["s", "e", "d"], &["y"])];
    let range = |name: &str, s: i64, e: i64, d: i64, fate: &Fate| {
        let constant = model(
            vec![],
            vec![int("s", s), int("e", e), int("d", d)],
            nodes.to_vec(),
        );
        expect(&format!("{name}, constant"), &constant, &[], fate);
        let scalar = |name| tensor(name, DataType::Int64, "");
        let open = model(
            vec![scalar("s"), scalar("e"), scalar("d")],
            vec![],
            nodes.to_vec(),
        );
        let value = |v: i64| Value::from(Tensor::scalar(v));
        let inputs = [("s", value(s)), ("e", value(e)), ("d", value(d))];
        expect(&format!("{name}, input"), &open, &inputs, fate);
    };
    range("up", 1, 4, 1, &Right(&[3], &[1.0, 2.0, 3.0]));
    range("down", 1, 4, -1, &Right(&[0], &[]));
    range("2^62", 0, HUGE, 1, TOO_LARGE);
    range("2^40", 0, 1 << 40, 1, TOO_LARGE);
}

#[test]
fn windows() {
    let image = tensor("x", DataType::Float, "1 1 4 4");
    let values: Vec<f32> = (0..16).map(|k| k as f32).collect();
    let input = (
        "x",
        Value::from(Tensor::from_slice(&[1, 1, 4, 4], &values).expect("16 values")),
    );
    let kernel = TensorProto {
        dims: vec![1, 1, 2, 2],
        ..floats("w", &[1.0, 1.0, 1.0, 1.0])
    };
    let window = |name: &str, node: NodeProto, words: &'static [&'static str]| {
        let odd = model(vec![image.clone()], vec![kernel.clone()], vec![node]);
        expect(name, &odd, std::slice::from_ref(&input), &Refused(words));
    };
    let conv = || node("Conv", &["x", "w"], &["y"]);
    let pool = || with_ints(node("MaxPool", &["x"], &["y"]), "kernel_shape", &[2, 2]);
    window(
        "conv of stride 0",
        with_ints(conv(), "strides", &[0, 0]),
        &["stride"],
    );
    window(
        "pool of stride 0",
        with_ints(pool(), "strides", &[0, 1]),
        &["stride"],
    );
    window(
        "conv of dilation 0",
        with_ints(conv(), "dilations", &[0, 0]),
        &["dilation"],
    );
    window(
        "conv of pads 2^62",
        with_ints(conv(), "pads", &[HUGE, HUGE, HUGE, HUGE]),
        &["pad", "too large", "overflow"],
    );
    window(
        "pool of pads -2^62",
        with_ints(pool(), "pads", &[-HUGE, 0, 0, 0]),
        &["pad", "negative", "overflow"],
    );
    window(
        "conv of 2^62 groups",
        with_int(conv(), "group", HUGE),
        &["group"],
    );
    window("conv of 0 groups", with_int(conv(), "group", 0), &["group"]);
    window(
        "pool of kernel 0",
        with_ints(node("MaxPool", &["x"], &["y"]), "kernel_shape", &[0, 0]),
        &["kernel", "window"],
    );
    window(
        "pool of kernel 2^62",
        with_ints(
            node("AveragePool", &["x"], &["y"]),
            "kernel_shape",
            &[HUGE, HUGE],
        ),
        &["kernel", "window", "negative", "too large"],
    );
    // The window reaches beyond the image everywhere.
    let far = with_ints(conv(), "strides", &[i64::MAX, i64::MAX]);
    let far = with_ints(far, "dilations", &[i64::MAX, i64::MAX]);
    let far = model(vec![image], vec![kernel], vec![far]);
    let nothing = Right(&[1, 1, 0, 0], &[]);
    expect("far strides and dilations", &far, &[input], &nothing);
}

#[test]
fn counts() {
    let nodes = [node("TopK", &["x", "k"], &["y", "i"])];
    let count = &Refused(&["elements", "k ", "TopK", "topk", "top_k", "no size"]);
    both("top 2^40", &nodes, &[("k", &[1 << 40])], count);
    both("top -1", &nodes, &[("k", &[-1])], count);
    let split = [node("Split", &["x", "s"], &["y", "z"])];
    let parts = &Refused(&[
        "parts",
        "split",
        "equal",
        "no size",
        "sizes",
        "overflow",
        "evaluations",
    ]);
    both("parts of 2^62", &split, &[("s", &[HUGE, HUGE])], parts);
    both(
        "parts of -1 and 3",
        &split,
        &[("s", &[-1, 3])],
        &Refused(&["parts", "negative", "no size", "sizes"]),
    );
    let cases = [("eye 2^40", 1_i64 << 40), ("eye 2^62", HUGE)];
    for (name, n) in cases {
        let eye = [
            node("ConstantOfShape", &["s"], &["z"]),
            node("EyeLike", &["z"], &["y"]),
        ];
        both(name, &eye, &[("s", &[n, n])], TOO_LARGE);
    }
}

#[test]
fn many_parts() {
    let names: Vec<String> = (0..2000).map(|k| format!("x{k}")).collect();
    let parts: Vec<&str> = names.iter().map(String::as_str).collect();
    let part = Tensor::from_slice(&[1, 1], &[1.0_f32]).expect("one value");
    let types = parts
        .iter()
        .map(|name| tensor(name, DataType::Float, "N M"));
    let join = with_int(node("Concat", &parts, &["all"]), "axis", 0);
    let sum = with_int(node("ReduceSum", &["all"], &["y"]), "keepdims", 0);
    let many = model(types.collect(), vec![], vec![join, sum]);
    let inputs: Vec<(&str, Value)> = parts
        .iter()
        .map(|name| (*name, part.clone().into()))
        .collect();
    expect("2000 parts", &many, &inputs, &Right(&[], &[2000.0]));
}

#[test]
fn many_nodes() {
    let names: Vec<String> = (0..=2000).map(|k| format!("x{k}")).collect();
    let step = |pair: &[String]| node("Neg", &[&pair[0]], &[&pair[1]]);
    let mut nodes: Vec<NodeProto> = names.windows(2).map(step).collect();
    // An operator that no rule cancels.
    nodes
        .iter_mut()
        .step_by(2)
        .for_each(|node| node.op_type = Some("Sigmoid".to_owned()));
    let x = tensor("x0", DataType::Float, "1");
    let chain = model(vec![x], vec![], nodes);
    let zero = Tensor::from_slice(&[1], &[0.0_f32]).expect("one value");
    let folder = folder_of(&chain.encode_to_vec());
    let result = alone("one_case", "2000 nodes", &folder, &[("x0", zero.into())]);
    let (shape, values) = result.expect("it runs");
    assert_eq!(shape, [1]);
    assert!((-1.0..0.0).contains(&values[0]), "{values:?}");
}
