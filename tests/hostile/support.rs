//! Models with their fates: each runs in a process of its own.

use alula::{Tensor, Value};
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{ModelProto, NodeProto, TensorProto};
use alula_tests::child::{alone, folder_of};
use alula_tests::model::{ints, model, tensor};
use prost::Message;

pub(super) const HUGE: i64 = 1 << 62;

/// What must become of a model.
pub(super) enum Fate {
    /// An error that says one of these.
    Refused(&'static [&'static str]),
    /// Results, the first of this shape and these elements as f64.
    Right(&'static [usize], &'static [f64]),
}
pub(super) use Fate::{Refused, Right};

/// Runs a model and compares its fate with the one that it must have.
pub(super) fn expect(name: &str, model: &ModelProto, inputs: &[(&str, Value)], fate: &Fate) {
    expect_bytes(name, &model.encode_to_vec(), inputs, fate);
}

/// [`expect`] of a model's bytes.
pub(super) fn expect_bytes(name: &str, model: &[u8], inputs: &[(&str, Value)], fate: &Fate) {
    let result = alone("one_case", name, &folder_of(model), inputs);
    compare(name, result, fate);
}

/// Compares what became of a model with its fate.
pub(super) fn compare(name: &str, result: Result<(Vec<usize>, Vec<f64>), String>, fate: &Fate) {
    match (result, fate) {
        (Err(text), Refused(words)) => {
            let found = words.iter().any(|word| text.contains(word));
            assert!(found, "{name}: none of {words:?} in: {text}");
        }
        (Ok((shape, values)), Right(wanted, elements)) => {
            assert_eq!((&shape[..], &values[..]), (*wanted, *elements), "{name}");
        }
        (Ok(outputs), Refused(_)) => panic!("{name} was not refused: {outputs:?}"),
        (Err(error), Right(..)) => panic!("{name}: {error}"),
    }
}

/// `x = [[1, 2, 3], [4, 5, 6]]`.
pub(super) fn x() -> (&'static str, Value) {
    let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let tensor = Tensor::from_slice(&[2, 3], &values).expect("six values");
    ("x", tensor.into())
}

/// Both variants of nodes over `x: f32[2, 3]` and vectors of integers: as initializers, and as
/// inputs whose values only the run knows.
pub(super) fn both(name: &str, nodes: &[NodeProto], vectors: &[(&str, &[i64])], fate: &Fate) {
    both_with(name, nodes, vectors, &[], fate, fate);
}

pub(super) fn both_with(
    name: &str,
    nodes: &[NodeProto],
    vectors: &[(&str, &[i64])],
    constants: &[TensorProto],
    fixed: &Fate,
    open: &Fate,
) {
    let x_type = tensor("x", DataType::Float, "2 3");
    let mut initializers: Vec<TensorProto> = constants.to_vec();
    initializers.extend(vectors.iter().map(|(name, values)| ints(name, values)));
    let constant = model(vec![x_type.clone()], initializers, nodes.to_vec());
    expect(&format!("{name}, constant"), &constant, &[x()], fixed);
    let (mut types, mut inputs) = (vec![x_type], vec![x()]);
    for (name, values) in vectors {
        types.push(tensor(name, DataType::Int64, &values.len().to_string()));
        let value = Tensor::from_slice(&[values.len()], values).expect("the count fits");
        inputs.push((name, value.into()));
    }
    let dynamic = model(types, constants.to_vec(), nodes.to_vec());
    expect(&format!("{name}, input"), &dynamic, &inputs, open);
}

pub(super) const TOO_LARGE: &Fate = &Refused(&[
    "evaluations",
    "memory",
    "too large",
    "overflow",
    "beyond",
    "64 bits",
    "out of range",
]);
