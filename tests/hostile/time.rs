//! Computation that would take for ever in no memory: refused by a limit before it starts, or ended
//! by the deadline.

use std::time::{Duration, Instant};

use alula::{Limits, Model, RunOptions, SessionOptions, Tensor, Value};
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{ModelProto, TensorProto};
use alula_tests::child::folder_of;
use alula_tests::model::{body, floats, int, ints, model, node, tensor, with_graph, with_int};
use prost::Message;

use super::support::{Right, TOO_LARGE, both, expect, x};

/// The sum of a range of `n` numbers, which needs no memory.
fn sum_of_range(n: Option<i64>) -> ModelProto {
    let mut constants = vec![int("zero", 0), int("one", 1)];
    constants.extend(n.map(|n| int("n", n)));
    let inputs = match n {
        Some(_) => vec![],
        None => vec![tensor("n", DataType::Int64, "")],
    };
    let nodes = vec![
        node("Range", &["zero", "n", "one"], &["r"]),
        with_int(node("ReduceSum", &["r"], &["y"]), "keepdims", 0),
    ];
    model(inputs, constants, nodes)
}

#[test]
fn folds_of_what_is_not_there() {
    for (name, n) in [("2^41 numbers", 1_i64 << 41), ("2^62 numbers", 1 << 62)] {
        expect(
            &format!("{name}, constant"),
            &sum_of_range(Some(n)),
            &[],
            TOO_LARGE,
        );
        let given = [("n", Value::from(Tensor::scalar(n)))];
        expect(
            &format!("{name}, input"),
            &sum_of_range(None),
            &given,
            TOO_LARGE,
        );
    }
    let given = [("n", Value::from(Tensor::scalar(1000_i64)))];
    let sum = Right(&[], &[499_500.0]);
    expect("1000 numbers", &sum_of_range(None), &given, &sum);
    let nodes = [
        node("Expand", &["x", "s"], &["wide"]),
        with_int(node("ReduceSum", &["wide"], &["y"]), "keepdims", 0),
    ];
    both(
        "a sum of 2^40",
        &nodes,
        &[("s", &[1 << 40, 2, 3])],
        TOO_LARGE,
    );
    both(
        "a sum of 2",
        &nodes,
        &[("s", &[2, 2, 3])],
        &Right(&[], &[42.0]),
    );
}

/// Runs a model under no limit but a deadline; returns how much later it ended.
fn late(model: &ModelProto, inputs: &[(&str, Value)], threads: usize) -> Duration {
    const DEADLINE: Duration = Duration::from_millis(200);
    let folder = folder_of(&model.encode_to_vec());
    let model = Model::builder(folder.path("model.onnx"))
        .threads(threads)
        .compile();
    let limits = Limits {
        work_max: u64::MAX,
        trips_max: u64::MAX,
        ..Limits::default()
    };
    let model = model
        .expect("it compiles")
        .with_options(SessionOptions { limits });
    let session = model.session().expect("a session");
    let options = RunOptions {
        deadline: Some(DEADLINE),
        ..RunOptions::default()
    };
    let start = Instant::now();
    let error = session
        .run_with(inputs, &options)
        .expect_err("it never ends");
    let took = start.elapsed();
    let text = error.to_string();
    assert!(text.contains("the deadline has passed"), "{text}");
    took.saturating_sub(DEADLINE)
}

/// Kernels end some milliseconds after the deadline; a busy machine may look late at the clock.
const LATE_MAX: Duration = Duration::from_secs(5);

#[test]
fn deadlines_end_a_loop_in_a_kernel() {
    let given = [("n", Value::from(Tensor::scalar(1_i64 << 45)))];
    for threads in [1, 2] {
        let late = late(&sum_of_range(None), &given, threads);
        assert!(late < LATE_MAX, "{late:?} late on {threads} threads");
        println!("one loop: {late:?} late on {threads} threads");
    }
}

#[test]
fn deadlines_end_a_launch_of_many_points() {
    // A row for each of 2^10 numbers, each a fold over 2^35 others.
    let nodes = vec![
        node("Expand", &["x", "s"], &["wide"]),
        node("Exp", &["wide"], &["e"]),
        with_int(node("ReduceSum", &["e", "one"], &["y"]), "keepdims", 0),
    ];
    let rows = TensorProto {
        dims: vec![1024, 1],
        ..floats("x", &[0.5; 1024])
    };
    let constants = vec![rows, ints("one", &[1])];
    let many = model(vec![tensor("s", DataType::Int64, "2")], constants, nodes);
    let given = Tensor::from_slice(&[2], &[1024_i64, 1 << 35]).expect("two values");
    for threads in [1, 2] {
        let late = late(&many, &[("s", given.clone().into())], threads);
        assert!(late < LATE_MAX, "{late:?} late on {threads} threads");
        println!("many points: {late:?} late on {threads} threads");
    }
}

#[test]
fn deadlines_end_a_product() {
    // 2^13 cubed: some seconds of micro-kernels at the least.
    let nodes = vec![
        node("Expand", &["v", "s"], &["a"]),
        node("MatMul", &["a", "a"], &["b"]),
        node("MatMul", &["b", "b"], &["c"]),
        node("MatMul", &["c", "c"], &["y"]),
    ];
    let one = TensorProto {
        dims: vec![1, 1],
        ..floats("v", &[0.5])
    };
    let square = model(vec![tensor("s", DataType::Int64, "2")], vec![one], nodes);
    let given = Tensor::from_slice(&[2], &[1_i64 << 12, 1 << 12]).expect("two values");
    for threads in [1, 2] {
        let late = late(&square, &[("s", given.clone().into())], threads);
        assert!(late < LATE_MAX, "{late:?} late on {threads} threads");
        println!("a product: {late:?} late on {threads} threads");
    }
}

fn endless() -> ModelProto {
    let mut graph = body(vec![node("Neg", &["v"], &["w"])], &["c", "w"]);
    graph.input = vec![
        tensor("i", DataType::Int64, ""),
        tensor("c", DataType::Bool, ""),
        tensor("v", DataType::Float, "2 3"),
    ];
    graph.name = Some("body".to_owned());
    let step = with_graph(node("Loop", &["n", "", "x"], &["y"]), "body", graph);
    let x = tensor("x", DataType::Float, "2 3");
    model(vec![x], vec![int("n", 1 << 62)], vec![step])
}

#[test]
fn loops_without_end() {
    let late = late(&endless(), &[x()], 1);
    assert!(late < LATE_MAX, "{late:?} late");
    let folder = folder_of(&endless().encode_to_vec());
    let model = Model::builder(folder.path("model.onnx")).compile();
    let limits = Limits {
        trips_max: 1000,
        ..Limits::default()
    };
    let model = model
        .expect("it compiles")
        .with_options(SessionOptions { limits });
    let session = model.session().expect("a session");
    let text = session.run(&[x()]).expect_err("it never ends").to_string();
    assert!(text.contains("a loop's number of iterations"), "{text}");
}
