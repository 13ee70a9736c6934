//! Broadcasting: shapes, and values for references.

use alula_ir::{EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred};
use alula_tensor::{DType, Dim, Scalar, Shape, Tensor, strides};

/// The shape that all of `shapes` broadcast to: trailing axes align, extents of 1 repeat.
///
/// Extents of which one at least is symbolic are taken to be equal; the simpler one is the
/// result's. A lowering notes what it took to be equal (`Compute::equal`), and each run checks it.
///
/// # Errors
/// [`InferError::Mismatch`] naming the extents that disagree.
pub fn broadcast_shapes(shapes: &[&Shape]) -> Result<Shape, InferError> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut result: Shape = vec![Dim::new(1); rank];
    for shape in shapes {
        let skipped = rank - shape.len();
        for (axis, dim) in shape.iter().enumerate() {
            let target = &mut result[skipped + axis];
            if target == dim || dim.is(1) {
                continue;
            }
            if target.is(1) {
                *target = dim.clone();
                continue;
            }
            match (target.as_const(), dim.as_const()) {
                (Some(_), None) => {}
                (None, Some(_)) => *target = dim.clone(),
                (Some(_), Some(_)) => {
                    return Err(InferError::Mismatch(format!(
                        "extents {target} and {dim} of axis {} do not broadcast",
                        skipped + axis
                    )));
                }
                (None, None) if dim.size() < target.size() => *target = dim.clone(),
                (None, None) => {}
            }
        }
    }
    Ok(result)
}

/// Infers one result: all operands broadcast, and have the dtype of the result.
///
/// # Errors
/// [`InferError::BadDType`] or [`InferError::Mismatch`].
pub fn infer_broadcast(
    ctx: &InferCtx<'_>,
    dtype: impl Fn(DType) -> DType,
) -> Result<Inferred, InferError> {
    let first = ctx.tensor(0)?;
    let mut shapes = Vec::with_capacity(ctx.len());
    for position in 0..ctx.len() {
        ctx.expect_same_dtype(0, position)?;
        shapes.push(&ctx.tensor(position)?.shape);
    }
    Ok(Inferred::tensor(
        dtype(first.dtype),
        broadcast_shapes(&shapes)?,
    ))
}

/// The elements of a tensor broadcast to `shape`, in row-major order.
pub fn broadcast_values(tensor: &Tensor, shape: &[usize]) -> Vec<Scalar> {
    let values = tensor.to_scalars();
    if tensor.shape() == shape {
        return values;
    }
    let skipped = shape.len() - tensor.rank();
    let own = strides(tensor.shape());
    let step: Vec<usize> = (0..shape.len())
        .map(|axis| match axis.checked_sub(skipped) {
            Some(axis) if tensor.shape()[axis] != 1 => own[axis],
            _ => 0,
        })
        .collect();
    let count: usize = shape.iter().product();
    let mut index = vec![0_usize; shape.len()];
    let mut result = Vec::with_capacity(count);
    for _ in 0..count {
        result.push(values[index.iter().zip(&step).map(|(i, s)| i * s).sum::<usize>()]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    result
}

/// The shape that concrete tensors broadcast to.
fn concrete_shape(tensors: &[&Tensor]) -> Result<Vec<usize>, EvalError> {
    let rank = tensors.iter().map(|t| t.rank()).max().unwrap_or(0);
    let mut shape = vec![1_usize; rank];
    for tensor in tensors {
        let skipped = rank - tensor.rank();
        for (axis, &extent) in tensor.shape().iter().enumerate() {
            let target = &mut shape[skipped + axis];
            match (*target, extent) {
                (a, b) if a == b || b == 1 => {}
                (1, b) => *target = b,
                (a, b) => {
                    return Err(EvalError::Value(format!(
                        "extents {a} and {b} do not broadcast"
                    )));
                }
            }
        }
    }
    Ok(shape)
}

/// Reference of an elementwise operator: `f` on each group of broadcast elements, the result cast
/// to `dtype`.
///
/// # Errors
/// [`EvalError::Value`] when an operand is absent or shapes do not broadcast.
pub fn map_elements(
    ctx: &EvalCtx<'_>,
    dtype: DType,
    f: impl Fn(&[Scalar]) -> Scalar,
) -> Result<Vec<HostValue>, EvalError> {
    let tensors = (0..ctx.operands.len())
        .map(|k| ctx.tensor(k))
        .collect::<Result<Vec<_>, EvalError>>()?;
    let shape = concrete_shape(&tensors)?;
    let columns: Vec<Vec<Scalar>> = tensors
        .iter()
        .map(|t| broadcast_values(t, &shape))
        .collect();
    let count = shape.iter().product();
    let mut group = Vec::with_capacity(columns.len());
    let mut values = Vec::with_capacity(count);
    for position in 0..count {
        group.clear();
        group.extend(columns.iter().map(|column| column[position]));
        values.push(f(&group));
    }
    Ok(vec![ctx.result(dtype, &shape, &values)?])
}
