//! Runs whose operands hold what their node does not allow are refused, and tell why.

use alula_onnx::proto::tensor_proto::DataType::{Float, Int32, Int64};
use alula_tensor::{Tensor, Value};

use crate::build::{floats, int, node, nodes, tensor};
use crate::cases::{Inputs, run};
use crate::made::model;

fn ints32(dims: &[usize], values: &[i32]) -> Value {
    Tensor::from_slice(dims, values).expect("a tensor").into()
}

/// One token behind two, of which `seqlens_k` says that it is the last of `tokens`.
fn group_query(tokens: i32) -> Result<Vec<Value>, String> {
    let inputs = [
        ("q", tensor(Float, Some(&[1, 1, 2]))),
        ("p", tensor(Float, Some(&[1, 1, 2, 2]))),
        ("s", tensor(Int32, Some(&[1]))),
        ("t", tensor(Int32, Some(&[]))),
    ];
    let attributes = vec![int("num_heads", 1), int("kv_num_heads", 1)];
    let heads = node(
        "com.microsoft::GroupQueryAttention",
        "q q q p p s t",
        "y",
        attributes,
    );
    let given = vec![
        floats(&[1, 1, 2], &[0.5, 1.0]),
        floats(&[1, 1, 2, 2], &[1.0, -0.25, 0.5, 2.0]),
        ints32(&[1], &[tokens - 1]),
        ints32(&[], &[3]),
    ];
    run(
        &model(nodes(&inputs, vec![heads], "y")),
        &Inputs::Values(given),
    )
}

#[test]
fn sequences_longer_than_their_buffer_are_refused() {
    group_query(3).expect("three tokens fit");
    let error = group_query(4).expect_err("four do not");
    assert!(error.contains("seqlens_k tells of more tokens"), "{error}");
}

#[test]
fn tokens_without_a_score_are_refused() {
    let inputs = [
        ("i", tensor(Int64, Some(&[1, 3]))),
        ("s", tensor(Float, Some(&[1, 2]))),
    ];
    let blocks = |tokens: &[i64]| {
        let attributes = vec![int("ngram_size", 2)];
        let block = node("com.microsoft::NGramRepeatBlock", "i s", "y", attributes);
        let tokens = Tensor::from_slice(&[1, 3], tokens).expect("a tensor");
        let given = vec![tokens.into(), floats(&[1, 2], &[0.5, 1.0])];
        run(
            &model(nodes(&inputs, vec![block], "y")),
            &Inputs::Values(given),
        )
    };
    let y = blocks(&[0, 1, 0]).expect("there are both tokens");
    assert_eq!(y, [floats(&[1, 2], &[0.5, f32::NEG_INFINITY])]);
    let error = blocks(&[0, 2, 0]).expect_err("there is no third one");
    assert!(error.contains("index 2 is out of range"), "{error}");
}
