//! `cum_sum` and `cum_prod`: running sums and products along an axis.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_kernel::{Access, Kernel};
use alula_tensor::{DTypeClass, Dim, Scalar, ScalarOp};

use super::PLAIN;
use crate::loops::Loops;
use crate::movement::{axis_of, refuse_strings};

const ATTRS: &[AttrSpec] = &[
    AttrSpec::required("axis", AttrKind::Int, "the axis, from the end if negative"),
    AttrSpec::bool("exclusive", false, "leave the element itself out"),
    AttrSpec::bool("reverse", false, "run from the last element to the first"),
];

/// Sums of the elements up to each one.
pub static CUM_SUM: OpDef = OpDef {
    name: "cum_sum",
    summary: "y[i] = sum of x[0..=i] along `axis`",
    operands: &["x"],
    attrs: ATTRS,
    traits: PLAIN,
    infer,
    eval: |ctx| eval(ctx, ScalarOp::Add),
    lowering: Lowering::Kernel(|ctx| lower(ctx, ScalarOp::Add)),
    examples: &[
        "graph @e(%x: f32[2, 5]) { %y = cum_sum %x {axis = -1} return y: %y }",
        "graph @e(%x: i32[3, N]) {
           %y = cum_sum %x {axis = 0, exclusive = true, reverse = true} return y: %y }",
        "graph @e(%x: f16[4]) { %y = cum_sum %x {axis = 0, reverse = true} return y: %y }",
        "graph @e(%x: f64[0, 2]) { %y = cum_sum %x {axis = 0} return y: %y }",
    ],
};

/// Products of the elements up to each one.
pub static CUM_PROD: OpDef = OpDef {
    name: "cum_prod",
    summary: "y[i] = product of x[0..=i] along `axis`",
    operands: &["x"],
    attrs: ATTRS,
    traits: PLAIN,
    infer,
    eval: |ctx| eval(ctx, ScalarOp::Mul),
    lowering: Lowering::Kernel(|ctx| lower(ctx, ScalarOp::Mul)),
    examples: &[
        "graph @e(%x: f32[2, 5]) { %y = cum_prod %x {axis = 1, exclusive = true} return y: %y }",
        "graph @e(%x: i64[N]) { %y = cum_prod %x {axis = 0} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(
        0,
        &[DTypeClass::Float, DTypeClass::Signed, DTypeClass::Unsigned],
    )?;
    let x = ctx.tensor(0)?;
    ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    Ok(vec![Inferred::tensor(x.dtype, x.shape.clone())])
}

fn eval(ctx: &EvalCtx<'_>, op: ScalarOp) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let (exclusive, reverse) = (ctx.attrs.bool("exclusive"), ctx.attrs.bool("reverse"));
    let extent = x.shape()[axis];
    let stride: usize = x.shape()[axis + 1..].iter().product();
    let values = x.to_scalars();
    let mut results = values.clone();
    // Floats run in f64, whatever they are stored as; integers wrap.
    let dtype = if x.dtype().is_float() {
        alula_tensor::DType::F64
    } else {
        x.dtype()
    };
    let neutral = Scalar::Int(i128::from(op == ScalarOp::Mul)).cast(dtype);
    for first in (0..values.len()).filter(|at| (at / stride).is_multiple_of(extent)) {
        let mut sum = neutral;
        for k in 0..extent {
            let at = first + stride * if reverse { extent - 1 - k } else { k };
            let next = op.eval(dtype, &[sum, values[at]]);
            results[at] = if exclusive { sum } else { next };
            sum = next;
        }
    }
    Ok(vec![ctx.result(x.dtype(), x.shape(), &results)?])
}

fn lower(ctx: &LowerCtx<'_>, op: ScalarOp) -> Result<Kernel, LowerError> {
    refuse_strings(ctx.op, &ctx.compute_operands())?;
    let x = ctx.tensor(0);
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let (exclusive, reverse) = (ctx.attrs.bool("exclusive"), ctx.attrs.bool("reverse"));
    let outer: Dim = x.shape[..axis].iter().cloned().product();
    let inner: Dim = x.shape[axis + 1..].iter().cloned().product();
    let extent = x.shape[axis].clone();
    let dtype = x.dtype.compute();
    let mut loops = Loops::begin(ctx, Access::Write)?;
    let (row, column) = (loops.grid(outer), loops.grid(inner.clone()));
    let neutral = loops.constant(dtype, Scalar::Int(i128::from(op == ScalarOp::Mul)));
    let start = loops.times(row, extent.clone());
    loops.repeat_carrying(extent.clone(), Some(neutral), |loops, k, sum| {
        let place = match reverse {
            true => {
                let last = loops.dim(extent - Dim::new(1));
                loops.apply(ScalarOp::Sub, &[last, k])
            }
            false => k,
        };
        let place = loops.add(start, place);
        let place = loops.times(place, inner);
        let at = loops.add(place, column);
        let value = loops.load(0, at);
        let value = loops.cast(value, dtype);
        let sum = sum?;
        let next = loops.apply(op, &[sum, value]);
        loops.store(1, at, if exclusive { sum } else { next });
        Some(next)
    });
    Ok(loops.finish())
}
