//! Indices of elements that are not zero.

use alula_tensor::{DType, DTypeClass, Scalar, Tensor};

use super::Room;
use crate::StepError;

/// `i64[rank, count]` in row-major order of the elements; a scalar gives `i64[0, count]`.
pub(super) fn nonzero(tensor: &Tensor, room: &Room) -> Result<Tensor, StepError> {
    // Twice over the elements rather than a list of positions, which is larger than most tensors.
    let mut count = 0;
    visit(tensor, |_| count += 1);
    let (shape, rank) = (tensor.shape(), tensor.rank());
    room.ints(&[rank, count], |indices| {
        let mut column = 0;
        visit(tensor, |position| {
            let mut rest = position;
            for axis in (0..rank).rev() {
                indices[axis * count + column] = (rest % shape[axis]) as i64;
                rest /= shape[axis];
            }
            column += 1;
        });
    })
}

/// Calls `found` with the position of each element that is not zero.
fn visit(tensor: &Tensor, mut found: impl FnMut(usize)) {
    fn find<const N: usize>(
        bytes: &[u8],
        found: &mut dyn FnMut(usize),
        holds: impl Fn(&[u8; N]) -> bool,
    ) {
        let chunks = bytes.as_chunks::<N>().0.iter().enumerate();
        let kept = chunks.filter(|(_, chunk)| holds(chunk));
        kept.for_each(|(position, _)| found(position));
    }
    let (dtype, bytes, found) = (tensor.dtype(), tensor.bytes(), &mut found);
    match (dtype.class(), dtype.size_bytes()) {
        (DTypeClass::String, _) => {
            let strings = tensor.strings().unwrap_or_default().iter().enumerate();
            let kept = strings.filter(|(_, text)| !text.is_empty());
            kept.for_each(|(position, _)| found(position));
        }
        _ if dtype == DType::F32 => find(bytes, found, |b| f32::from_le_bytes(*b) != 0.0),
        _ if dtype == DType::F64 => find(bytes, found, |b| f64::from_le_bytes(*b) != 0.0),
        (DTypeClass::Float, 2) => find::<2>(bytes, found, |b| u16::from_le_bytes(*b) << 1 != 0),
        (DTypeClass::Float, _) => find::<1>(bytes, found, |b| Scalar::load(dtype, b).is_true()),
        (_, 1) => find::<1>(bytes, found, |b| b[0] != 0),
        (_, 2) => find::<2>(bytes, found, |b| *b != [0; 2]),
        (_, 4) => find::<4>(bytes, found, |b| *b != [0; 4]),
        _ => find::<8>(bytes, found, |b| *b != [0; 8]),
    }
}
