//! Sparse initializers, made dense.

use alula_tensor::{DType, Tensor, strides};

use crate::ImportError;
use crate::external::ExternalFiles;
use crate::proto::SparseTensorProto;
use crate::tensor::import_tensor;

/// The name of a sparse tensor: its values'.
pub(crate) fn name(proto: &SparseTensorProto) -> &str {
    proto.values.as_ref().map_or("", |values| values.name())
}

/// A sparse tensor with all its zeros; they may take `bytes_left`, which shrinks by as much.
///
/// The values stand at ascending positions, given as one number each or as one for each axis.
///
/// # Errors
/// [`ImportError::Limit`], and what breaks the rules of ONNX.
pub(crate) fn dense(
    proto: &SparseTensorProto,
    external: &ExternalFiles,
    bytes_left: &mut usize,
) -> Result<Tensor, ImportError> {
    let fail = |reason: String| {
        let name = name(proto);
        ImportError::Model(format!("sparse tensor {name:?}: {reason}"))
    };
    let part = |part: &Option<_>, what: &str| match part {
        Some(part) => import_tensor(part, external),
        None => Err(fail(format!("it has no {what}"))),
    };
    let values = part(&proto.values, "values")?;
    let indices = part(&proto.indices, "indices")?;
    let shape = proto.dims.iter().map(|dim| usize::try_from(*dim).ok());
    let shape: Vec<usize> = shape
        .collect::<Option<_>>()
        .ok_or_else(|| fail(format!("extents {:?}", proto.dims)))?;
    let size = values.dtype().size_bytes();
    let bytes = shape
        .iter()
        .try_fold(size, |bytes, extent| bytes.checked_mul(*extent));
    let limit = *bytes_left;
    *bytes_left = bytes
        .and_then(|bytes| limit.checked_sub(bytes))
        .ok_or(ImportError::Limit {
            what: "bytes left for sparse tensors made dense",
            limit,
        })?;
    if values.dtype() == DType::String {
        return Err(fail("strings are not sparse".to_owned()));
    }
    let positions = positions(&indices, values.shape(), &shape).map_err(fail)?;
    let zeros = Tensor::zeros(values.dtype(), &shape);
    let mut made = zeros.map_err(|error| fail(error.to_string()))?;
    let target = made.bytes_mut();
    for (value, position) in values.bytes().chunks_exact(size.max(1)).zip(positions) {
        target[position * size..][..size].copy_from_slice(value);
    }
    Ok(made)
}

/// Where each value goes, in the dense tensor.
fn positions(indices: &Tensor, values: &[usize], shape: &[usize]) -> Result<Vec<usize>, String> {
    let &[count] = values else {
        return Err(format!("values of shape {values:?}, not of one axis"));
    };
    let numbers = indices.to_vec::<i64>().map_err(|error| error.to_string())?;
    let elements: usize = shape.iter().product();
    let positions: Vec<usize> = match indices.shape() {
        [n] if *n == count => {
            let numbers = numbers.into_iter();
            let place = |at: i64| usize::try_from(at).ok().filter(|at| *at < elements);
            numbers
                .map(|at| place(at).ok_or_else(|| format!("index {at} of {elements} elements")))
                .collect::<Result<_, _>>()?
        }
        [n, rank] if *n == count && *rank == shape.len() && *rank > 0 => {
            let steps = strides(shape);
            let place = |at: &[i64]| {
                let axes = at.iter().zip(shape).zip(&steps);
                axes.map(|((at, extent), step)| {
                    let at = usize::try_from(*at).ok().filter(|at| at < extent);
                    at.map(|at| at * step)
                })
                .sum::<Option<usize>>()
            };
            numbers
                .chunks_exact(*rank)
                .map(|at| place(at).ok_or_else(|| format!("index {at:?} of {shape:?}")))
                .collect::<Result<_, _>>()?
        }
        other => return Err(format!("indices of shape {other:?} for {count} values")),
    };
    match positions.is_sorted_by(|a, b| a < b) {
        true => Ok(positions),
        false => Err("its indices do not ascend".to_owned()),
    }
}
