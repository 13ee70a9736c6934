//! The greatest or least elements along an axis.

use alula_tensor::{DType, Tensor};

use super::{Room, axis as along, keys::keys};
use crate::StepError;

/// Values and indices (`i64`), best first; of equal elements the first in the tensor. NaN counts
/// as greater than every number.
pub(super) fn topk(
    tensor: &Tensor,
    k: i64,
    axis: usize,
    largest: bool,
    room: &Room,
) -> Result<(Tensor, Tensor), StepError> {
    let (before, extent, after) = along::split_at(tensor.shape(), axis)?;
    let k = usize::try_from(k)
        .ok()
        .filter(|&k| k <= extent)
        .ok_or_else(|| StepError::Value(format!("k is {k}, the axis has {extent} elements")))?;
    let keys = keys(tensor, room)?;
    let mut shape = tensor.shape().to_vec();
    shape[axis] = k;
    let size = tensor.dtype().size_bytes();
    let mut values = room.zeros(tensor.dtype(), &shape)?;
    let mut places = room.zeros(DType::I64, &shape)?;
    let into = values.bytes_mut();
    let indices = places.as_mut_slice::<i64>().expect("places are i64");
    let mut order: Vec<(u64, usize)> = room.vec(extent)?;
    for outer in 0..before {
        for inner in 0..after {
            let at = |index: usize| (outer * extent + index) * after + inner;
            order.clear();
            order.extend((0..extent).map(|index| {
                let key = keys[at(index)];
                (if largest { !key } else { key }, index)
            }));
            if k < extent && k > 0 {
                order.select_nth_unstable(k - 1);
            }
            let best = &mut order[..k];
            best.sort_unstable();
            for (rank, (_, index)) in best.iter().enumerate() {
                let (to, from) = ((outer * k + rank) * after + inner, at(*index));
                indices[to] = *index as i64;
                into[to * size..(to + 1) * size]
                    .copy_from_slice(&tensor.bytes()[from * size..(from + 1) * size]);
            }
        }
    }
    Ok((values, places))
}
