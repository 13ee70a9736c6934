//! Index tuples of concrete shapes, for references: plain and slow.

use alula_tensor::strides;

/// Every index tuple of `shape`, in row-major order; one empty tuple for no axes.
pub(crate) fn points(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    let count: usize = shape.iter().product();
    (0..count).map(move |position| unravel(position, &shape))
}

/// The index tuple of the element at a row-major position.
pub(crate) fn unravel(position: usize, shape: &[usize]) -> Vec<usize> {
    strides(shape)
        .iter()
        .zip(shape)
        .map(|(stride, extent)| position / (*stride).max(1) % (*extent).max(1))
        .collect()
}

/// The row-major position of an index tuple.
pub(crate) fn ravel(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(strides(shape)).map(|(i, s)| i * s).sum()
}

/// The row-major position of an index tuple that may lie outside: `None` if it does.
pub(crate) fn ravel_inside(index: &[i64], shape: &[usize]) -> Option<usize> {
    let mut position = 0;
    for ((&i, &extent), stride) in index.iter().zip(shape).zip(strides(shape)) {
        let i = usize::try_from(i).ok().filter(|i| *i < extent)?;
        position += i * stride;
    }
    Some(position)
}
