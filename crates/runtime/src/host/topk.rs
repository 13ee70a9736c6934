//! The greatest or least elements along an axis.

use alula_tensor::Tensor;

use super::{axis as along, keys::keys};
use crate::StepError;

/// Values and indices (`i64`), best first; of equal elements the first in the tensor. NaN counts
/// as greater than every number.
pub(super) fn topk(
    tensor: &Tensor,
    k: i64,
    axis: usize,
    largest: bool,
) -> Result<(Tensor, Tensor), StepError> {
    let (before, extent, after) = along::split_at(tensor.shape(), axis)?;
    let k = usize::try_from(k)
        .ok()
        .filter(|&k| k <= extent)
        .ok_or_else(|| StepError::Value(format!("k is {k}, the axis has {extent} elements")))?;
    let keys = keys(tensor)?;
    let mut shape = tensor.shape().to_vec();
    shape[axis] = k;
    let size = tensor.dtype().size_bytes();
    let mut values = vec![0_u8; before * k * after * size];
    let mut indices = vec![0_i64; before * k * after];
    let mut order: Vec<(u64, usize)> = Vec::with_capacity(extent);
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
                values[to * size..(to + 1) * size]
                    .copy_from_slice(&tensor.bytes()[from * size..(from + 1) * size]);
            }
        }
    }
    let values = along::from_bytes(tensor.dtype(), &shape, &values)?;
    Ok((values, Tensor::from_slice(&shape, &indices)?))
}
