//! Conditions that decide ranks: whole models whose graph depends on the path taken.

use alula::{Tensor, Value};
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{GraphProto, ModelProto, NodeProto};
use alula_tests::child::{alone, folder_of, serve};
use alula_tests::model::{body, branch, int, ints, model, node, tensor, with_int};
use alula_tests::pipeline::{reference, run};
use prost::Message;

/// The process of a case.
#[test]
fn one_case() {
    serve();
}

/// Squeezes axis 1 of `x: f32[2, N]` if it has one element, as `s`, and goes on with `rest`.
fn squeezing(rest: Vec<NodeProto>) -> ModelProto {
    let squeeze = body(vec![node("Squeeze", &["x", "one"], &["t"])], &["t"]);
    let keep = body(vec![node("Identity", &["x"], &["e"])], &["e"]);
    let mut nodes = vec![
        node("Shape", &["x"], &["shape"]),
        node("Gather", &["shape", "one"], &["extent"]),
        node("Equal", &["extent", "one"], &["is_one"]),
        branch("is_one", &["s"], squeeze, keep),
    ];
    nodes.extend(rest);
    model(
        vec![tensor("x", DataType::Float, "2 N")],
        vec![ints("one", &[1]), ints("zero", &[0]), int("two", 2)],
        nodes,
    )
}

fn input(columns: usize) -> Vec<(&'static str, Value)> {
    let values: Vec<f32> = (0..2 * columns).map(|k| k as f32 + 1.0).collect();
    let x = Tensor::from_slice(&[2, columns], &values).expect("the count fits");
    vec![("x", x.into())]
}

fn floats(outputs: &[(String, Value)]) -> (Vec<usize>, Vec<f32>) {
    let tensor = outputs[0].1.as_tensor().expect("a tensor");
    (tensor.shape().to_vec(), tensor.to_vec().expect("floats"))
}

#[test]
fn rest_of_graph_follows_either_path() {
    // The sum over axis 0 of f32[2] is a scalar, of f32[2, N] a vector; the last sum is a scalar.
    let rest = vec![
        with_int(node("ReduceSum", &["s", "zero"], &["r"]), "keepdims", 0),
        with_int(node("ReduceSum", &["r"], &["y"]), "keepdims", 0),
    ];
    let both = squeezing(rest);
    for columns in [1, 3] {
        let want = floats(&reference(&both, &input(columns)).expect("the reference runs"));
        let count = 2 * columns as i32;
        assert_eq!(want, (vec![], vec![(count * (count + 1) / 2) as f32]));
        assert_eq!(floats(&run(&both, &input(columns)).expect("it runs")), want);
    }
}

#[test]
fn path_that_does_not_type_is_never_taken() {
    let rest = vec![with_int(
        node("ReduceSum", &["s", "one"], &["y"]),
        "keepdims",
        0,
    )];
    // Only f32[2, N] has an axis 1.
    let wide = squeezing(rest);
    let (shape, values) = floats(&run(&wide, &input(3)).expect("it runs"));
    assert_eq!((shape, values), (vec![2], vec![6.0, 15.0]));
    for result in [run(&wide, &input(1)), reference(&wide, &input(1))] {
        let error = result.expect_err("f32[2] has no axis 1").to_string();
        assert!(error.contains("could not run otherwise"), "{error}");
        assert!(error.contains("axis"), "{error}");
    }
}

#[test]
fn output_of_two_ranks_is_refused_by_name() {
    let open = squeezing(vec![node("Neg", &["s"], &["y"])]);
    let error = run(&open, &input(3))
        .expect_err("y has two ranks")
        .to_string();
    assert!(error.contains("rank"), "{error}");
    assert!(error.contains("If"), "{error}");
}

#[test]
fn rank_known_on_a_path_decides_what_follows() {
    // `If(rank(s) == 2)` is decided by the first condition.
    let sum = with_int(node("ReduceSum", &["s", "one"], &["t"]), "keepdims", 0);
    let rest = vec![
        node("Shape", &["s"], &["s_shape"]),
        node("Size", &["s_shape"], &["rank"]),
        node("Equal", &["rank", "two"], &["is_two"]),
        branch(
            "is_two",
            &["y"],
            body(vec![sum], &["t"]),
            body(vec![node("Neg", &["s"], &["e"])], &["e"]),
        ),
    ];
    let nested = squeezing(rest);
    let (shape, values) = floats(&run(&nested, &input(1)).expect("it runs"));
    assert_eq!((shape, values), (vec![2], vec![-1.0, -2.0]));
    let (shape, values) = floats(&run(&nested, &input(3)).expect("it runs"));
    assert_eq!((shape, values), (vec![2], vec![6.0, 15.0]));
}

#[test]
fn condition_of_data_forks_too() {
    let squeeze = body(vec![node("Squeeze", &["x", "zero"], &["t"])], &["t"]);
    let keep = body(vec![node("Neg", &["x"], &["e"])], &["e"]);
    let data = model(
        vec![
            tensor("x", DataType::Float, "1 3"),
            tensor("c", DataType::Bool, ""),
        ],
        vec![ints("zero", &[0])],
        vec![
            branch("c", &["s"], squeeze, keep),
            with_int(node("ReduceSum", &["s"], &["y"]), "keepdims", 0),
        ],
    );
    let x = Tensor::from_slice(&[1, 3], &[1.0_f32, 2.0, 3.0]).expect("the count fits");
    for (cond, sum) in [(true, 6.0), (false, -6.0)] {
        let cond = Tensor::from_bools(&[], &[cond]).expect("one value");
        let inputs = [("x", x.clone().into()), ("c", cond.into())];
        assert_eq!(
            floats(&run(&data, &inputs).expect("it runs")),
            (vec![], vec![sum])
        );
    }
}

#[test]
fn paths_without_end_are_refused_soon() {
    // Each condition doubles the paths.
    let mut nodes = Vec::new();
    for level in 0..40 {
        let (from, to) = (format!("x{level}"), format!("x{}", level + 1));
        let one = node("Unsqueeze", &[&from, "zero"], &["t"]);
        let two = node("Identity", &[&from], &["e"]);
        let (then, otherwise) = (body(vec![one], &["t"]), body(vec![two], &["e"]));
        nodes.push(branch(&format!("c{level}"), &[&to], then, otherwise));
    }
    nodes.push(with_int(node("ReduceSum", &["x40"], &["y"]), "keepdims", 0));
    let mut inputs = vec![tensor("x0", DataType::Float, "3")];
    inputs.extend((0..40).map(|level| tensor(&format!("c{level}"), DataType::Bool, "")));
    let many = model(inputs, vec![ints("zero", &[0])], nodes);
    let folder = folder_of(&many.encode_to_vec());
    let result = alone("one_case", "2^40 paths", &folder, &[]);
    let error = result.expect_err("2^40 paths");
    assert!(error.contains("paths"), "{error}");
}

#[test]
fn branches_that_both_fail_name_both_reasons() {
    let bad =
        |axis: &str| -> GraphProto { body(vec![node("Squeeze", &["x", axis], &["t"])], &["t"]) };
    let neither = model(
        vec![
            tensor("x", DataType::Float, "2 3"),
            tensor("c", DataType::Bool, ""),
        ],
        vec![ints("zero", &[0]), ints("one", &[1])],
        vec![branch("c", &["y"], bad("zero"), bad("one"))],
    );
    let error = run(&neither, &[]).expect_err("no branch types").to_string();
    assert!(error.contains("no branch can be taken"), "{error}");
}
