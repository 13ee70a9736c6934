//! Distinct elements or slices.

use std::cmp::Ordering;

use alula_tensor::Tensor;

use super::{Room, axis as along, keys::keys};
use crate::StepError;

/// Distinct slices along an axis (or elements of the flattened tensor), the position of the first
/// of each, for every slice its position among the distinct ones, and how often each occurs.
/// Sorted in ascending order, else in order of first occurrence. NaNs are equal to one another.
pub(super) fn unique(
    tensor: &Tensor,
    axis: Option<usize>,
    sorted: bool,
    room: &Room,
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
            let keys = keys(tensor, room)?;
            if before == 1 && after == 1 {
                Box::new(move |a, b| keys[a].cmp(&keys[b]))
            } else {
                Box::new(move |a, b| slice(a).map(|at| keys[at]).cmp(slice(b).map(|at| keys[at])))
            }
        }
    };
    let mut order: Vec<usize> = room.collect(0..extent)?;
    // Sorting takes half as much for a while.
    room.take(extent / 2 * size_of::<usize>())?;
    order.sort_by(|&a, &b| compare(a, b));
    // Groups of equal slices; the sort is stable, so each begins with its first occurrence.
    let chunks = || order.chunk_by(|&a, &b| compare(a, b) == Ordering::Equal);
    let mut groups: Vec<&[usize]> = room.vec(chunks().count())?;
    groups.extend(chunks());
    if !sorted {
        groups.sort_by_key(|group| group[0]);
    }
    let inverse = room.ints(&[extent], |inverse| {
        for (position, group) in groups.iter().enumerate() {
            for &index in *group {
                inverse[index] = position as i64;
            }
        }
    })?;
    let of_groups = |number: fn(&[usize]) -> usize| {
        room.ints(&[groups.len()], |out| {
            for (out, group) in out.iter_mut().zip(&groups) {
                *out = number(group) as i64;
            }
        })
    };
    Ok([
        along::take(tensor, axis, groups.iter().map(|group| group[0]), room)?,
        of_groups(|group| group[0])?,
        inverse,
        of_groups(<[usize]>::len)?,
    ])
}
