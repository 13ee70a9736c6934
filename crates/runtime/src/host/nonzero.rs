//! Indices of elements that are not zero.

use alula_tensor::{DType, DTypeClass, Scalar, Tensor};

use crate::StepError;

/// `i64[rank, count]` in row-major order of the elements; a scalar gives `i64[0, count]`.
pub(super) fn nonzero(tensor: &Tensor) -> Result<Tensor, StepError> {
    let positions = positions(tensor)?;
    let (rank, count) = (tensor.rank(), positions.len());
    let mut indices = vec![0_i64; rank * count];
    let mut stride = 1;
    for axis in (0..rank).rev() {
        let extent = tensor.shape()[axis];
        let row = &mut indices[axis * count..(axis + 1) * count];
        for (index, &position) in row.iter_mut().zip(&positions) {
            *index = (position / stride % extent) as i64;
        }
        stride *= extent;
    }
    Ok(Tensor::from_slice(&[rank, count], &indices)?)
}

fn positions(tensor: &Tensor) -> Result<Vec<usize>, StepError> {
    fn find<const N: usize>(bytes: &[u8], holds: impl Fn(&[u8; N]) -> bool) -> Vec<usize> {
        let chunks = bytes.as_chunks::<N>().0.iter().enumerate();
        let kept = chunks.filter(|(_, chunk)| holds(chunk));
        kept.map(|(position, _)| position).collect()
    }
    let (dtype, bytes) = (tensor.dtype(), tensor.bytes());
    Ok(match (dtype.class(), dtype.size_bytes()) {
        (DTypeClass::String, _) => {
            let strings = tensor.strings().unwrap_or_default().iter().enumerate();
            strings
                .filter(|(_, s)| !s.is_empty())
                .map(|(k, _)| k)
                .collect()
        }
        _ if dtype == DType::F32 => find(bytes, |b| f32::from_le_bytes(*b) != 0.0),
        _ if dtype == DType::F64 => find(bytes, |b| f64::from_le_bytes(*b) != 0.0),
        (DTypeClass::Float, 2) => find::<2>(bytes, |b| u16::from_le_bytes(*b) << 1 != 0),
        (DTypeClass::Float, _) => find::<1>(bytes, |b| Scalar::load(dtype, b).is_true()),
        (_, 1) => find::<1>(bytes, |b| b[0] != 0),
        (_, 2) => find::<2>(bytes, |b| *b != [0; 2]),
        (_, 4) => find::<4>(bytes, |b| *b != [0; 4]),
        _ => find::<8>(bytes, |b| *b != [0; 8]),
    })
}
