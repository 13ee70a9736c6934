//! Distinct elements or slices.

use std::cmp::Ordering;

use alula_tensor::Tensor;

use super::{axis as along, keys::keys};
use crate::StepError;

/// Distinct slices along an axis (or elements of the flattened tensor), the position of the first
/// of each, for every slice its position among the distinct ones, and how often each occurs.
/// Sorted in ascending order, else in order of first occurrence. NaNs are equal to one another.
pub(super) fn unique(
    tensor: &Tensor,
    axis: Option<usize>,
    sorted: bool,
) -> Result<[Tensor; 4], StepError> {
    let flat;
    let (tensor, axis) = match axis {
        Some(axis) => (tensor, axis),
        None => {
            flat = tensor.reshape(&[tensor.len()])?;
            (&flat, 0)
        }
    };
    let (before, extent, after) = along::split_at(tensor.shape(), axis)?;
    let slice = |index: usize| {
        let at = move |outer: usize| (outer * extent + index) * after;
        (0..before).flat_map(move |outer| at(outer)..at(outer) + after)
    };
    let compare: Box<dyn Fn(usize, usize) -> Ordering> = match tensor.strings() {
        Some(strings) => Box::new(move |a, b| {
            let text = |index| slice(index).map(|at| strings[at].as_str());
            text(a).cmp(text(b))
        }),
        None => {
            let keys = keys(tensor)?;
            if before == 1 && after == 1 {
                Box::new(move |a, b| keys[a].cmp(&keys[b]))
            } else {
                Box::new(move |a, b| slice(a).map(|at| keys[at]).cmp(slice(b).map(|at| keys[at])))
            }
        }
    };
    let mut order: Vec<usize> = (0..extent).collect();
    order.sort_by(|&a, &b| compare(a, b));
    // Groups of equal slices; the sort is stable, so each begins with its first occurrence.
    let mut groups: Vec<&[usize]> = order
        .chunk_by(|&a, &b| compare(a, b) == Ordering::Equal)
        .collect();
    if !sorted {
        groups.sort_by_key(|group| group[0]);
    }
    let mut inverse = vec![0_i64; extent];
    for (position, group) in groups.iter().enumerate() {
        for &index in *group {
            inverse[index] = position as i64;
        }
    }
    let firsts: Vec<usize> = groups.iter().map(|group| group[0]).collect();
    let first_ints: Vec<i64> = firsts.iter().map(|&index| index as i64).collect();
    let counts: Vec<i64> = groups.iter().map(|group| group.len() as i64).collect();
    Ok([
        along::take(tensor, axis, &firsts)?,
        Tensor::from_i64s(&first_ints),
        Tensor::from_i64s(&inverse),
        Tensor::from_i64s(&counts),
    ])
}
