//! What operators that only move elements share: axes, extents, and references that copy each
//! element from somewhere. References work on every dtype, strings included.

use alula_ir::{EvalCtx, EvalError, HostValue, InferError, LowerCtx, LowerError};
use alula_kernel::{Compute, ExprId, Operand};
use alula_tensor::{DType, Dim, Tensor, strides};

/// An axis attribute as a position, for references and lowerings: inference has checked it.
pub(crate) fn axis_of(axis: i64, rank: usize) -> usize {
    let normal = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(normal).expect("inference has checked the axis")
}

/// Dims as integers; every symbol must have been replaced by its value.
///
/// # Errors
/// [`EvalError::Value`] naming the dim that is not known.
pub(crate) fn known(dims: &[Dim]) -> Result<Vec<i64>, EvalError> {
    let known = |dim: &Dim| {
        dim.as_const()
            .ok_or_else(|| EvalError::Value(format!("dim {dim} is not known")))
    };
    dims.iter().map(known).collect()
}

/// Dims as extents.
///
/// # Errors
/// [`EvalError::Value`] naming the dim that is not known or negative.
pub(crate) fn known_extents(dims: &[Dim]) -> Result<Vec<usize>, EvalError> {
    let extent = |value: i64| {
        usize::try_from(value).map_err(|_| EvalError::Value(format!("extent {value} is negative")))
    };
    known(dims)?.into_iter().map(extent).collect()
}

/// Calls `visit` with each index of a shape in row-major order.
///
/// # Errors
/// The first error of `visit`.
pub(crate) fn for_each_index<E>(
    shape: &[usize],
    mut visit: impl FnMut(&[usize]) -> Result<(), E>,
) -> Result<(), E> {
    if shape.contains(&0) {
        return Ok(());
    }
    let mut index = vec![0_usize; shape.len()];
    loop {
        visit(&index)?;
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return Ok(());
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// The row-major position of an index.
pub(crate) fn linear(shape: &[usize], index: &[usize]) -> usize {
    let pairs = strides(shape).into_iter().zip(index);
    pairs.map(|(stride, position)| stride * position).sum()
}

/// A tensor of `shape` whose element at each index is the one that `pick` names: the position of
/// a source and a row-major position in it.
///
/// # Errors
/// Errors of `pick`, a position outside its source, or a result beyond the limit.
pub(crate) fn assemble(
    ctx: &EvalCtx<'_>,
    sources: &[&Tensor],
    shape: &[usize],
    mut pick: impl FnMut(&[usize]) -> Result<(usize, usize), EvalError>,
) -> Result<HostValue, EvalError> {
    let dtype = sources[0].dtype();
    let outside = |at: usize| EvalError::Value(format!("element {at} is outside the operand"));
    if dtype == DType::String {
        let mut strings = Vec::new();
        for_each_index(shape, |index| {
            let (source, at) = pick(index)?;
            let found = sources[source].strings().and_then(|all| all.get(at));
            strings.push(found.ok_or_else(|| outside(at))?.clone());
            Ok::<_, EvalError>(())
        })?;
        return Ok(Tensor::from_strings(shape, strings)?.into());
    }
    let mut result = ctx.zeros(dtype, shape)?;
    let size = dtype.size_bytes();
    let mut targets = result.bytes_mut().chunks_exact_mut(size);
    for_each_index(shape, |index| {
        let (source, at) = pick(index)?;
        let bytes = sources[source].bytes().get(at * size..(at + 1) * size);
        if let Some(target) = targets.next() {
            target.copy_from_slice(bytes.ok_or_else(|| outside(at))?);
        }
        Ok::<_, EvalError>(())
    })?;
    Ok(result.into())
}

/// The known elements of a tensor whose element at each index is one of another's: `own` writes
/// the other's index. `None` where an extent is not known or an index is outside.
pub(crate) fn moved_content(
    content: &[Dim],
    from: &[Dim],
    to: &[Dim],
    mut own: impl FnMut(&[usize], &mut [usize]),
) -> Option<Vec<Dim>> {
    const ELEMENTS_MAX: usize = 1024;
    let extents = |dims: &[Dim]| -> Option<Vec<usize>> {
        dims.iter()
            .map(|dim| usize::try_from(dim.as_const()?).ok())
            .collect()
    };
    let (from, to) = (extents(from)?, extents(to)?);
    let count = to.iter().try_fold(1_usize, |n, &e| n.checked_mul(e))?;
    if count > ELEMENTS_MAX {
        return None;
    }
    let mut index = vec![0; from.len()];
    let mut moved = Vec::with_capacity(count);
    for_each_index(&to, |position| {
        own(position, &mut index);
        let inside = index.iter().zip(&from).all(|(at, extent)| at < extent);
        let element = content.get(linear(&from, &index)).filter(|_| inside);
        moved.push(element.ok_or(())?.clone());
        Ok::<_, ()>(())
    })
    .ok()?;
    Some(moved)
}

/// Starts a definition of result `position` whose operands are those of the node.
///
/// # Errors
/// [`LowerError::Unsupported`] for strings, which no kernel can hold.
pub(crate) fn begin(ctx: &LowerCtx<'_>, position: usize) -> Result<Compute, LowerError> {
    let operands = ctx.compute_operands();
    refuse_strings(ctx.op, &operands)?;
    let result = ctx.result(position);
    Ok(Compute::begin(operands, result.dtype, &result.shape))
}

pub(crate) fn refuse_strings(op: &str, operands: &[Operand]) -> Result<(), LowerError> {
    match operands.iter().any(|o| o.dtype == DType::String) {
        true => Err(LowerError::Unsupported(format!(
            "{op} of strings in a kernel"
        ))),
        false => Ok(()),
    }
}

/// An element of an operand as it is stored: for results that are nothing but moved elements.
pub(crate) fn load_stored(compute: &mut Compute, operand: usize, index: Vec<ExprId>) -> ExprId {
    let dtype = compute.operands[operand].dtype;
    compute.pool.load(operand as u32, dtype, index)
}

/// Checks that two shapes agree but for the extents at `axis`, where extents are known.
///
/// # Errors
/// [`InferError::Mismatch`].
pub(crate) fn agree_except(a: &[Dim], b: &[Dim], axis: Option<usize>) -> Result<(), InferError> {
    let same_rank = a.len() == b.len();
    let differ = |k: usize| {
        Some(k) != axis && a[k] != b[k] && a[k].as_const().is_some() && b[k].as_const().is_some()
    };
    if same_rank && !(0..a.len()).any(differ) {
        return Ok(());
    }
    let text = |dims: &[Dim]| {
        let words: Vec<String> = dims.iter().map(Dim::to_string).collect();
        format!("[{}]", words.join(", "))
    };
    let except = axis.map_or(String::new(), |axis| format!(" outside axis {axis}"));
    Err(InferError::Mismatch(format!(
        "shapes {} and {} differ{except}",
        text(a),
        text(b)
    )))
}
