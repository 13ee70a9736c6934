//! Slices of a tensor along an axis: picked, joined, whatever the element type.

use alula_tensor::{DType, Tensor};

use super::Room;
use crate::StepError;

/// Extents before, of and after an axis.
pub(super) fn split_at(shape: &[usize], axis: usize) -> Result<(usize, usize, usize), StepError> {
    let extent = *shape.get(axis).ok_or_else(|| {
        StepError::Value(format!("axis {axis} is out of range for shape {shape:?}"))
    })?;
    let before = shape[..axis].iter().product();
    let after = shape[axis + 1..].iter().product();
    Ok((before, extent, after))
}

/// An axis that may count from the end.
pub(super) fn normal(axis: i64, rank: usize) -> Result<usize, StepError> {
    let count = rank as i64;
    let index = if axis < 0 {
        axis.saturating_add(count)
    } else {
        axis
    };
    if (0..count).contains(&index) {
        return Ok(index as usize);
    }
    Err(StepError::Value(format!(
        "axis {axis} is out of range for rank {rank}"
    )))
}

/// The slices at `indices`, which are in range, along an axis.
pub(super) fn take(
    tensor: &Tensor,
    axis: usize,
    indices: impl Iterator<Item = usize> + Clone,
    room: &Room,
) -> Result<Tensor, StepError> {
    let (before, extent, after) = split_at(tensor.shape(), axis)?;
    let mut shape = tensor.shape().to_vec();
    shape[axis] = indices.clone().count();
    let begins = (0..before).flat_map(|outer| {
        let indices = indices.clone();
        indices.map(move |index| (outer * extent + index) * after)
    });
    if let Some(strings) = tensor.strings() {
        let mut taken = room.vec(before * shape[axis] * after)?;
        for begin in begins {
            copy_strings(&strings[begin..begin + after], &mut taken, room)?;
        }
        return Ok(Tensor::from_strings(&shape, taken)?);
    }
    let size = tensor.dtype().size_bytes();
    let mut taken = room.zeros(tensor.dtype(), &shape)?;
    let run = after * size;
    if run > 0 {
        let into = taken.bytes_mut().chunks_exact_mut(run);
        for (into, begin) in into.zip(begins) {
            into.copy_from_slice(&tensor.bytes()[begin * size..][..run]);
        }
    }
    Ok(taken)
}

/// Appends copies to a vector that has room for them.
fn copy_strings(from: &[String], into: &mut Vec<String>, room: &Room) -> Result<(), StepError> {
    for text in from {
        room.take(text.len())?;
        into.push(text.clone());
    }
    Ok(())
}

/// Tensors joined along an axis that they have.
pub(super) fn concat(parts: &[Tensor], axis: usize, room: &Room) -> Result<Tensor, StepError> {
    let first = parts
        .first()
        .ok_or_else(|| StepError::value("an empty sequence cannot be joined"))?;
    let (before, _, after) = split_at(first.shape(), axis)?;
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for part in parts {
        let mut like = part.shape().to_vec();
        if like.len() != shape.len() || part.dtype() != first.dtype() {
            return Err(StepError::Value(format!(
                "{} and {} cannot be joined",
                first.ty(),
                part.ty()
            )));
        }
        let extent = std::mem::replace(&mut like[axis], shape[axis]);
        if like != shape {
            return Err(StepError::Value(format!(
                "{} and {} cannot be joined along axis {axis}",
                first.ty(),
                part.ty()
            )));
        }
        shape[axis] += extent;
    }
    if first.dtype() == DType::String {
        let mut joined = room.vec(before * shape[axis] * after)?;
        for outer in 0..before {
            for part in parts {
                let (run, strings) = (part.shape()[axis] * after, part.strings());
                let strings = strings.unwrap_or_default();
                copy_strings(&strings[outer * run..(outer + 1) * run], &mut joined, room)?;
            }
        }
        return Ok(Tensor::from_strings(&shape, joined)?);
    }
    let size = first.dtype().size_bytes();
    let mut joined = room.zeros(first.dtype(), &shape)?;
    let mut into = joined.bytes_mut();
    for outer in 0..before {
        for part in parts {
            let run = part.shape()[axis] * after * size;
            let (head, tail) = into.split_at_mut(run);
            head.copy_from_slice(&part.bytes()[outer * run..(outer + 1) * run]);
            into = tail;
        }
    }
    Ok(joined)
}
