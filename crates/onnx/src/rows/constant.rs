//! `Constant` and operators that are nothing: `Identity`, `Dropout` at inference.

use alula_tensor::{DType, Tensor};

use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "Constant",
        &[1, 9, 11, 12, 13, 19, 21, 23, 24, 25],
        &[
            "value",
            "value_float",
            "value_floats",
            "value_int",
            "value_ints",
            "value_string",
            "value_strings",
        ],
        constant,
    ),
    row(
        "Identity",
        &[1, 13, 14, 16, 19, 21, 23, 24, 25],
        &[],
        |ctx| Ok(vec![ctx.input(0)?]),
    ),
];

fn constant(ctx: &mut RowCtx<'_, '_>) -> Built {
    let made = |tensor: Result<Tensor, alula_tensor::TensorError>| {
        tensor.map_err(|error| RowError::Invalid(error.to_string()))
    };
    let tensor = if let Some(tensor) = ctx.tensor("value")? {
        tensor
    } else if let Some(value) = ctx.float("value_float") {
        Tensor::scalar(value as f32)
    } else if let Some(value) = ctx.int("value_int") {
        Tensor::scalar(value)
    } else if let Some(value) = ctx.str("value_string") {
        made(Tensor::from_strings(&[], vec![value]))?
    } else if let Some(values) = ctx.floats("value_floats") {
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        made(Tensor::from_slice(&[values.len()], &values))?
    } else if let Some(values) = ctx.ints("value_ints") {
        Tensor::from_i64s(&values)
    } else if let Some(values) = ctx.strs("value_strings") {
        made(Tensor::from_strings(&[values.len()], values))?
    } else {
        return Err(RowError::Invalid("no value is given".to_owned()));
    };
    debug_assert!(tensor.dtype() != DType::String || tensor.strings().is_some());
    Ok(vec![ctx.constant(tensor)])
}
