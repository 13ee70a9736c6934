//! `argmax` and `argmin`: where the greatest or least element is.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_kernel::{Compute, FoldOp};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp};

use super::fold::{fold_index, reduced_shape};
use crate::movement::{axis_of, begin};
use crate::shape::PLAIN;

const ATTRS: &[AttrSpec] = &[
    AttrSpec::required("axis", AttrKind::Int, "the axis, from the end if negative"),
    AttrSpec::bool("keepdims", true, "the axis stays with extent 1"),
    AttrSpec::bool("last", false, "the last of equal elements, else the first"),
];

/// Positions of greatest elements.
pub static ARGMAX: OpDef = OpDef {
    name: "argmax",
    summary: "i64 position of the greatest element along `axis`; the first NaN if there is one",
    operands: &["x"],
    attrs: ATTRS,
    traits: PLAIN,
    infer,
    eval: |ctx| eval(ctx, ScalarOp::Gt),
    lowering: Lowering::Compute(|ctx| lower(ctx, FoldOp::Max)),
    examples: &[
        "graph @e(%x: f32[2, 5]) { %y = argmax %x {axis = -1} return y: %y }",
        "graph @e(%x: u8[N, 3]) {
           %y = argmax %x {axis = 0, keepdims = false, last = true} return y: %y }",
        "graph @e(%x: f16[2, 1]) { %y = argmax %x {axis = 1} return y: %y }",
    ],
};

/// Positions of least elements.
pub static ARGMIN: OpDef = OpDef {
    name: "argmin",
    summary: "i64 position of the least element along `axis`; the first NaN if there is one",
    operands: &["x"],
    attrs: ATTRS,
    traits: PLAIN,
    infer,
    eval: |ctx| eval(ctx, ScalarOp::Lt),
    lowering: Lowering::Compute(|ctx| lower(ctx, FoldOp::Min)),
    examples: &[
        "graph @e(%x: f32[2, 5]) { %y = argmin %x {axis = 1, keepdims = false} return y: %y }",
        "graph @e(%x: i64[4]) { %y = argmin %x {axis = 0, last = true} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(
        0,
        &[DTypeClass::Float, DTypeClass::Signed, DTypeClass::Unsigned],
    )?;
    let x = ctx.tensor(0)?;
    let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    if x.shape[axis].is(0) {
        return Err(InferError::Mismatch(format!(
            "axis {axis} of {x} has no element"
        )));
    }
    let gone: Vec<bool> = (0..x.rank()).map(|k| k == axis).collect();
    let shape = reduced_shape(&x.shape, &gone, ctx.attrs.bool("keepdims"), &Dim::new(1));
    Ok(vec![Inferred::tensor(DType::I64, shape)])
}

fn eval(ctx: &EvalCtx<'_>, better: ScalarOp) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let (extent, last) = (x.shape()[axis], ctx.attrs.bool("last"));
    if extent == 0 {
        return Err(EvalError::Value(format!("axis {axis} has no element")));
    }
    let stride: usize = x.shape()[axis + 1..].iter().product();
    let values = x.to_scalars();
    let is_nan = |value: Scalar| matches!(value, Scalar::Float(value) if value.is_nan());
    let mut results = Vec::new();
    for first in (0..values.len()).filter(|at| (at / stride).is_multiple_of(extent)) {
        let mut best = 0;
        for k in 1..extent {
            let (old, new) = (values[first + best * stride], values[first + k * stride]);
            let is_better = better.eval(x.dtype(), &[new, old]).is_true();
            let is_equal = new == old || (is_nan(new) && is_nan(old));
            let replaces = is_better || (is_nan(new) && !is_nan(old)) || (last && is_equal);
            best = if replaces { k } else { best };
        }
        results.push(Scalar::Int(best as i128));
    }
    let gone: Vec<bool> = (0..x.rank()).map(|k| k == axis).collect();
    let shape = reduced_shape(x.shape(), &gone, ctx.attrs.bool("keepdims"), &1);
    Ok(vec![ctx.result(DType::I64, &shape, &results)?])
}

/// The extremum, then the least (or greatest) position whose element equals it.
fn lower(ctx: &LowerCtx<'_>, extremum: FoldOp) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let x = ctx.tensor(0);
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let gone: Vec<bool> = (0..x.rank()).map(|k| k == axis).collect();
    let (vars, index) = fold_index(&mut compute, &x.shape, &gone, ctx.attrs);
    let value = compute.load(0, index);
    let best = compute.pool.fold(extremum, vars, value);
    let (vars, index) = fold_index(&mut compute, &x.shape, &gone, ctx.attrs);
    let position = index[axis];
    let value = compute.load(0, index);
    let pool = &mut compute.pool;
    let mut found = pool.apply(ScalarOp::Eq, &[value, best]);
    if x.dtype.is_float() {
        // The extremum is NaN where an element is.
        let is_nan = pool.unary(ScalarOp::IsNan, value);
        found = pool.apply(ScalarOp::Or, &[found, is_nan]);
    }
    let result = if ctx.attrs.bool("last") {
        let none = pool.int(0);
        let candidate = pool.select(found, position, none);
        pool.fold(FoldOp::Max, vars, candidate)
    } else {
        let none = pool.dim(x.shape[axis].clone());
        let candidate = pool.select(found, position, none);
        pool.fold(FoldOp::Min, vars, candidate)
    };
    Ok(vec![compute.finish(result)])
}
