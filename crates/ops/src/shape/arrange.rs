//! `transpose`, `trilu` and `reverse_sequence`: elements in another order, or zeroed by position.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_kernel::Compute;
use alula_tensor::{DTypeClass, Dim, Scalar, ScalarOp, Tensor};

use super::PLAIN;
use crate::movement::{assemble, axis_of, begin, linear, load_stored, moved_content};

/// Axes in another order.
pub static TRANSPOSE: OpDef = OpDef {
    name: "transpose",
    summary: "axis k of the result is axis `perm[k]` of x",
    operands: &["x"],
    attrs: &[AttrSpec::ints("perm", "a permutation of the axes")],
    traits: PLAIN,
    infer: infer_transpose,
    eval: eval_transpose,
    lowering: Lowering::Compute(lower_transpose),
    examples: &[
        "graph @e(%x: f32[2, 3, 4]) { %y = transpose %x {perm = [2, 0, 1]} return y: %y }",
        "graph @e(%x: u8[N, 1, 0]) { %y = transpose %x {perm = [1, 2, 0]} return y: %y }",
        "graph @e(%x: bf16[]) { %y = transpose %x {perm = []} return y: %y }",
    ],
};

fn infer_transpose(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    let perm = ctx.attrs.ints("perm");
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if sorted != (0..x.rank() as i64).collect::<Vec<i64>>() {
        return Err(InferError::Mismatch(format!(
            "{perm:?} is no permutation of the axes of {x}"
        )));
    }
    let shape = perm
        .iter()
        .map(|&axis| x.shape[axis as usize].clone())
        .collect::<Vec<_>>();
    let content = ctx.content(0).and_then(|all| {
        moved_content(all, &x.shape, &shape, |index, own| {
            for (&axis, &position) in perm.iter().zip(index) {
                own[axis as usize] = position;
            }
        })
    });
    Ok(vec![Inferred::tensor(x.dtype, shape).with_content(content)])
}

fn eval_transpose(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let perm: Vec<usize> = ctx
        .attrs
        .ints("perm")
        .iter()
        .map(|&axis| axis_of(axis, x.rank()))
        .collect();
    let shape: Vec<usize> = perm.iter().map(|&axis| x.shape()[axis]).collect();
    let value = assemble(ctx, &[x], &shape, |index| {
        let mut own = vec![0; index.len()];
        for (&axis, &position) in perm.iter().zip(index) {
            own[axis] = position;
        }
        Ok((0, linear(x.shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower_transpose(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let positions = compute.indices();
    let mut index = positions.clone();
    for (&axis, position) in ctx.attrs.ints("perm").iter().zip(positions) {
        index[axis as usize] = position;
    }
    let value = load_stored(&mut compute, 0, index);
    Ok(vec![compute.finish(value)])
}

/// One triangle of each matrix; the rest is zero.
pub static TRILU: OpDef = OpDef {
    name: "trilu",
    summary: "x[.., i, j] where j - i >= k (`upper`) or j - i <= k, else 0",
    operands: &["x", "k?"],
    attrs: &[AttrSpec::bool(
        "upper",
        true,
        "the upper triangle, else the lower one",
    )],
    traits: PLAIN,
    infer: infer_trilu,
    eval: eval_trilu,
    lowering: Lowering::Compute(lower_trilu),
    examples: &[
        "graph @e(%x: f32[2, 3, 4]) { %y = trilu %x return y: %y }",
        "graph @e(%x: i64[N, N], %k: i64[]) {
           %y = trilu %x, %k {upper = false} return y: %y }",
        "graph @e(%x: bool[3, 0]) { %y = trilu %x return y: %y }",
    ],
};

fn infer_trilu(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    if x.rank() < 2 || x.dtype.class() == DTypeClass::String {
        return Err(InferError::Mismatch(format!(
            "{x} is no stack of matrices of numbers"
        )));
    }
    if ctx.has(1) {
        ctx.expect_class(1, &[DTypeClass::Signed])?;
        let k = ctx.tensor(1)?;
        if !k.num_elements().is(1) {
            return Err(InferError::Mismatch(format!(
                "the diagonal is {k}, not one integer"
            )));
        }
    }
    Ok(vec![Inferred::tensor(x.dtype, x.shape.clone())])
}

fn eval_trilu(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let k = if ctx.optional(1).is_some() {
        ctx.ints(1)?[0]
    } else {
        0
    };
    let (upper, rank) = (ctx.attrs.bool("upper"), x.rank());
    let zero = Tensor::zeros(x.dtype(), &[])?;
    let value = assemble(ctx, &[x, &zero], x.shape(), |index| {
        let above = index[rank - 1] as i64 - index[rank - 2] as i64;
        let kept = if upper { above >= k } else { above <= k };
        Ok(if kept {
            (0, linear(x.shape(), index))
        } else {
            (1, 0)
        })
    })?;
    Ok(vec![value])
}

fn lower_trilu(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let index = compute.indices();
    let (row, column) = (index[index.len() - 2], index[index.len() - 1]);
    let k = if ctx.has(1) {
        let at = vec![compute.pool.int(0); ctx.tensor(1).rank()];
        compute.load(1, at)
    } else {
        compute.pool.int(0)
    };
    let k = compute.pool.cast(k, alula_tensor::DType::I64);
    let above = compute.pool.sub(column, row);
    let comparison = if ctx.attrs.bool("upper") {
        ScalarOp::Ge
    } else {
        ScalarOp::Le
    };
    let kept = compute.pool.apply(comparison, &[above, k]);
    let value = compute.load(0, index);
    let zero = compute
        .pool
        .constant(ctx.tensor(0).dtype.compute(), Scalar::Int(0));
    let value = compute.pool.select(kept, value, zero);
    Ok(vec![compute.finish(value)])
}

/// The first elements along one axis in reverse; how many is given for each position of another.
pub static REVERSE_SEQUENCE: OpDef = OpDef {
    name: "reverse_sequence",
    summary: "y[b, t] = x[b, lens[b] - 1 - t] where t < lens[b], else x[b, t]",
    operands: &["x", "lens"],
    attrs: &[
        AttrSpec::required("batch_axis", AttrKind::Int, "the axis of b"),
        AttrSpec::required("time_axis", AttrKind::Int, "the axis of t"),
    ],
    traits: PLAIN,
    infer: infer_reverse,
    eval: eval_reverse,
    lowering: Lowering::Compute(lower_reverse),
    examples: &[
        "graph @e(%x: f32[2, 4]) {
           %l = const i64[2] [4, 1]
           %y = reverse_sequence %x, %l {batch_axis = 0, time_axis = 1} return y: %y }",
        "graph @e(%x: i32[4, 3, 2]) {
           %l = const i32[3] [0, 2, 4]
           %y = reverse_sequence %x, %l {batch_axis = 1, time_axis = 0} return y: %y }",
    ],
};

fn infer_reverse(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    ctx.expect_class(1, &[DTypeClass::Signed])?;
    let batch = ctx.axis(ctx.attrs.int("batch_axis"), x.rank())?;
    let time = ctx.axis(ctx.attrs.int("time_axis"), x.rank())?;
    let lens = ctx.tensor(1)?;
    if batch == time || lens.rank() != 1 {
        return Err(InferError::Mismatch(format!(
            "lengths {lens} for axis {batch} of {x}, reversed along axis {time}"
        )));
    }
    crate::movement::agree_except(&lens.shape, &x.shape[batch..=batch], None)?;
    Ok(vec![Inferred::tensor(x.dtype, x.shape.clone())])
}

fn eval_reverse(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, lens) = (ctx.tensor(0)?, ctx.ints(1)?);
    let batch = axis_of(ctx.attrs.int("batch_axis"), x.rank());
    let time = axis_of(ctx.attrs.int("time_axis"), x.rank());
    let extent = x.shape()[time];
    if lens.len() != x.shape()[batch] {
        return Err(EvalError::Value(format!(
            "{} lengths for {} rows",
            lens.len(),
            x.shape()[batch]
        )));
    }
    if let Some(bad) = lens.iter().find(|&&len| len < 0 || len > extent as i64) {
        return Err(EvalError::Value(format!(
            "length {bad} of a sequence of {extent}"
        )));
    }
    let value = assemble(ctx, &[x], x.shape(), |index| {
        let (mut own, length) = (index.to_vec(), lens[index[batch]] as usize);
        if own[time] < length {
            own[time] = length - 1 - own[time];
        }
        Ok((0, linear(x.shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower_reverse(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let x = ctx.tensor(0);
    let batch = axis_of(ctx.attrs.int("batch_axis"), x.rank());
    let time = axis_of(ctx.attrs.int("time_axis"), x.rank());
    let mut index = compute.indices();
    let length = compute.load(1, vec![index[batch]]);
    let length = compute.pool.cast(length, alula_tensor::DType::I64);
    let pool = &mut compute.pool;
    let (one, last) = (pool.int(1), pool.dim(x.shape[time].clone() - Dim::new(1)));
    let reversed = pool.apply(ScalarOp::Lt, &[index[time], length]);
    let end = pool.sub(length, one);
    let mirrored = pool.sub(end, index[time]);
    let source = pool.select(reversed, mirrored, index[time]);
    // A length beyond the axis must not reach outside it.
    index[time] = pool.apply(ScalarOp::Min, &[source, last]);
    let value = load_stored(&mut compute, 0, index);
    Ok(vec![compute.finish(value)])
}
