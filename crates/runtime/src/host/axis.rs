//! Slices of a tensor along an axis: picked, joined, whatever the element type.

use alula_tensor::{DType, Storage, Tensor};

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
pub(super) fn take(tensor: &Tensor, axis: usize, indices: &[usize]) -> Result<Tensor, StepError> {
    let (before, extent, after) = split_at(tensor.shape(), axis)?;
    let mut shape = tensor.shape().to_vec();
    shape[axis] = indices.len();
    if let Some(strings) = tensor.strings() {
        let taken = pick(strings, before, extent, after, indices);
        return Ok(Tensor::from_strings(&shape, taken)?);
    }
    let run = after * tensor.dtype().size_bytes();
    let taken = pick(tensor.bytes(), before, extent, run, indices);
    from_bytes(tensor.dtype(), &shape, &taken)
}

fn pick<T: Clone>(
    from: &[T],
    before: usize,
    extent: usize,
    run: usize,
    indices: &[usize],
) -> Vec<T> {
    let mut taken = Vec::with_capacity(before * indices.len() * run);
    for outer in 0..before {
        for index in indices {
            let begin = (outer * extent + index) * run;
            taken.extend_from_slice(&from[begin..begin + run]);
        }
    }
    taken
}

/// Tensors joined along an axis that they have.
pub(super) fn concat(parts: &[Tensor], axis: usize) -> Result<Tensor, StepError> {
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
        let parts: Vec<(&[String], usize)> = parts
            .iter()
            .map(|part| {
                (
                    part.strings().unwrap_or_default(),
                    part.shape()[axis] * after,
                )
            })
            .collect();
        return Ok(Tensor::from_strings(&shape, join(&parts, before))?);
    }
    let size = first.dtype().size_bytes();
    let parts: Vec<(&[u8], usize)> = parts
        .iter()
        .map(|part| (part.bytes(), part.shape()[axis] * after * size))
        .collect();
    from_bytes(first.dtype(), &shape, &join(&parts, before))
}

fn join<T: Clone>(parts: &[(&[T], usize)], before: usize) -> Vec<T> {
    let mut joined = Vec::with_capacity(parts.iter().map(|(_, run)| run * before).sum());
    for outer in 0..before {
        for (part, run) in parts {
            joined.extend_from_slice(&part[outer * run..(outer + 1) * run]);
        }
    }
    joined
}

pub(super) fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, StepError> {
    Ok(Tensor::from_storage(
        dtype,
        shape,
        Storage::copy_from(bytes),
    )?)
}
