//! Ranges whose length is known only as they run.

use alula_onnx::proto::tensor_proto::DataType::{self, Float, Int64};
use alula_tensor::{Tensor, Value};

use crate::build::{floats, node, nodes, run, tensor};

/// The length of a range of scalars.
fn length(dtype: DataType, scalars: [Value; 3]) -> Result<usize, String> {
    let scalar = || tensor(dtype, Some(&[]));
    let graph = nodes(
        &[
            ("start", scalar()),
            ("limit", scalar()),
            ("delta", scalar()),
        ],
        vec![node("Range", "start limit delta", "y", vec![])],
        "y",
    );
    let outputs = run(13, graph, scalars.to_vec())?;
    let shape = outputs[0].as_tensor().map(Tensor::shape);
    Ok(shape.expect("a range is a tensor")[0])
}

#[test]
fn floats_are_divided_exactly() {
    const TINY: f32 = f32::from_bits(3);
    let cases = [
        ([0.0, 1.0, 0.1], 10),
        // The quotient of the floats is 6.00000015, which f32 rounds to 6.
        ([0.0, 0.6, 0.1], 7),
        ([0.0, 0.7, 0.1], 7),
        ([1.0, -2.0, -0.75], 4),
        ([1.0, 5.0, -1.0], 0),
        ([5.0, 1.0, 1.0], 0),
        ([2.0, 2.0, 1.0], 0),
        ([0.0, 1.0, 1e30], 1),
        ([0.0, 1e-40, 1.0], 1),
        ([0.0, TINY, f32::from_bits(2)], 2),
        ([0.0, 1000.5, 1.0], 1001),
        ([-3.0, 16384.0, 16.0], 1025),
        ([f32::NAN, 1.0, 1.0], 0),
        ([0.0, 1.0, f32::INFINITY], 0),
    ];
    for (given, expected) in cases {
        let scalars = given.map(|value| floats(&[], &[value]));
        assert_eq!(length(Float, scalars), Ok(expected), "{given:?}");
    }
}

#[test]
fn integers_may_be_as_far_apart_as_there_are() {
    const MIN: i64 = i64::MIN;
    const MAX: i64 = i64::MAX;
    let cases = [
        ([0, 10, 3], 4),
        ([10, 0, -3], 4),
        ([0, 9, 3], 3),
        ([0, 9, -3], 0),
        ([MIN, MAX, MAX], 3),
        ([MAX, MIN, MIN], 2),
        ([MAX - 5, MAX, 2], 3),
        ([(1 << 53) + 1, (1 << 53) + 2, 1], 1),
    ];
    for (given, expected) in cases {
        let scalars = given.map(|value| Tensor::scalar(value).into());
        assert_eq!(length(Int64, scalars), Ok(expected), "{given:?}");
    }
}
