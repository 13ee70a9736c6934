//! Slices where a condition is true.

use alula_tensor::{DType, Tensor};

use super::{Room, axis as along};
use crate::StepError;

/// Slices along an axis (or elements of the flattened tensor) at which the condition, which may
/// be shorter than the axis, is true.
pub(super) fn compress(
    tensor: &Tensor,
    condition: &Tensor,
    axis: Option<usize>,
    room: &Room,
) -> Result<Tensor, StepError> {
    let flat;
    let (tensor, axis) = match axis {
        Some(axis) => (tensor, axis),
        None => {
            flat = tensor.reshape(&[tensor.len()])?;
            (&flat, 0)
        }
    };
    if condition.dtype() != DType::Bool {
        return Err(StepError::value("the condition is not bool"));
    }
    let (_, extent, _) = along::split_at(tensor.shape(), axis)?;
    let marks = condition.bytes().iter().enumerate();
    let indices = marks.filter(|(_, mark)| **mark != 0).map(|(k, _)| k);
    if let Some(index) = indices.clone().find(|index| *index >= extent) {
        return Err(StepError::Value(format!(
            "the condition takes slice {index} of {extent}"
        )));
    }
    along::take(tensor, axis, indices, room)
}
