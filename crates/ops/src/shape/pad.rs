//! `pad`: elements around a tensor, or fewer where a pad is negative.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_kernel::{Compute, ExprId, Pool};
use alula_tensor::{Dim, Scalar, ScalarOp, Tensor};

use super::PLAIN;
use crate::movement::{assemble, begin, known, linear, load_stored};

/// Elements around `x`: a constant (0 unless given), its border (`edge`), its mirror image
/// without the border (`reflect`), or its other end (`wrap`).
pub static PAD: OpDef = OpDef {
    name: "pad",
    summary: "x with `pads[k]` elements before and `pads[rank + k]` after axis k; negative cuts",
    operands: &["x", "value?"],
    attrs: &[
        AttrSpec::required(
            "pads",
            AttrKind::Dims,
            "elements before each axis, then after each",
        ),
        AttrSpec::str("mode", "constant", "constant, edge, reflect or wrap"),
    ],
    traits: PLAIN,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: f32[2, 3], %v: f32[]) {
           %y = pad %x, %v {pads = [1, 0, 0, 2]} return y: %y }",
        "graph @e(%x: i32[N, 3]) { %y = pad %x {pads = [1, -1, 1, 0]} return y: %y }",
        "graph @e(%x: f16[2, 3]) {
           %y = pad %x {pads = [1, 2, 3, 4], mode = \"edge\"} return y: %y }",
        "graph @e(%x: f64[1, 4]) {
           %y = pad %x {pads = [0, 5, 0, 2], mode = \"reflect\"} return y: %y }",
        "graph @e(%x: f32[N, 3]) {
           %y = pad %x {pads = [1, 4, 2, 1], mode = \"wrap\"} return y: %y }",
        "graph @e(%x: bool[0]) { %y = pad %x {pads = [1, 1]} return y: %y }",
        "graph @e(%x: f32[]) { %y = pad %x {pads = []} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    let (pads, mode) = (ctx.attrs.dims("pads"), ctx.attrs.str("mode"));
    if pads.len() != 2 * x.rank() {
        return Err(InferError::Mismatch(format!(
            "{} pads are given for {x}",
            pads.len()
        )));
    }
    if !["constant", "edge", "reflect", "wrap"].contains(&mode) {
        return Err(InferError::BadAttr {
            name: "mode".to_owned(),
            reason: format!("{mode:?} is no way to pad"),
        });
    }
    if ctx.has(1) {
        ctx.expect_same_dtype(0, 1)?;
        let value = ctx.tensor(1)?;
        if !value.num_elements().is(1) {
            return Err(InferError::Mismatch(format!(
                "the pad value is {value}, not one element"
            )));
        }
    }
    let mut shape = Vec::with_capacity(x.rank());
    for (axis, extent) in x.shape.iter().enumerate() {
        let (before, after) = (&pads[axis], &pads[x.rank() + axis]);
        let padded = before.clone() + extent.clone() + after.clone();
        if mode != "constant" && extent.is(0) && !padded.is(0) {
            return Err(InferError::Mismatch(format!(
                "axis {axis} of {x} has no element to pad with"
            )));
        }
        shape.push(padded);
    }
    Ok(vec![Inferred::tensor(x.dtype, shape)])
}

/// The position that a padded position takes its element from.
fn source(position: i64, extent: i64, mode: &str) -> Option<i64> {
    match mode {
        _ if (0..extent).contains(&position) => Some(position),
        _ if extent == 0 => None,
        "edge" => Some(position.clamp(0, extent - 1)),
        "wrap" => Some(position.rem_euclid(extent)),
        "reflect" if extent == 1 => Some(0),
        "reflect" => {
            let period = 2 * (extent - 1);
            let within = position.rem_euclid(period);
            Some(within.min(period - within))
        }
        _ => None,
    }
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let (pads, mode) = (known(ctx.attrs.dims("pads"))?, ctx.attrs.str("mode"));
    let fill = match ctx.optional(1) {
        Some(value) => value.clone(),
        None => Tensor::zeros(x.dtype(), &[])?,
    };
    let mut shape = Vec::with_capacity(x.rank());
    for (axis, &extent) in x.shape().iter().enumerate() {
        let padded = extent as i64 + pads[axis] + pads[x.rank() + axis];
        shape.push(usize::try_from(padded).map_err(|_| {
            EvalError::Value(format!("axis {axis} of extent {extent} becomes {padded}"))
        })?);
    }
    let value = assemble(ctx, &[x, &fill], &shape, |index| {
        let mut own = Vec::with_capacity(index.len());
        for (axis, &position) in index.iter().enumerate() {
            let (at, extent) = (position as i64 - pads[axis], x.shape()[axis] as i64);
            match source(at, extent, mode).and_then(|at| usize::try_from(at).ok()) {
                Some(at) => own.push(at),
                None => return Ok((1, 0)),
            }
        }
        Ok((0, linear(x.shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let x = ctx.tensor(0);
    let (pads, mode) = (ctx.attrs.dims("pads"), ctx.attrs.str("mode"));
    let padded: Vec<usize> = (0..x.rank())
        .filter(|&axis| !pads[axis].is(0) || !pads[x.rank() + axis].is(0))
        .collect();
    let mut index = compute.indices();
    for &axis in &padded {
        let before = compute.pool.dim(pads[axis].clone());
        index[axis] = compute.pool.sub(index[axis], before);
    }
    if mode != "constant" {
        for &axis in &padded {
            index[axis] = source_expr(&mut compute.pool, index[axis], &x.shape[axis], mode);
        }
        // An axis may turn out to be without elements, and has none to pad with then.
        let unknown: Vec<usize> = (padded.iter().copied())
            .filter(|&axis| x.shape[axis].as_const().is_none())
            .collect();
        let value = if unknown.is_empty() {
            load_stored(&mut compute, 0, index)
        } else {
            let zero = compute.pool.constant(x.dtype.compute(), Scalar::Int(0));
            compute.load_padded(0, index, &unknown, zero)
        };
        return Ok(vec![compute.finish(value)]);
    }
    let outside = if ctx.has(1) {
        let at = vec![compute.pool.int(0); ctx.tensor(1).rank()];
        compute.load(1, at)
    } else {
        compute.pool.constant(x.dtype.compute(), Scalar::Int(0))
    };
    let value = compute.load_padded(0, index, &padded, outside);
    Ok(vec![compute.finish(value)])
}

fn source_expr(pool: &mut Pool, position: ExprId, extent: &Dim, mode: &str) -> ExprId {
    let one = Dim::new(1);
    let last = extent.clone() - one.clone();
    match mode {
        "edge" => {
            let (zero, last) = (pool.int(0), pool.dim(last));
            let low = pool.apply(ScalarOp::Min, &[position, last]);
            pool.apply(ScalarOp::Max, &[low, zero])
        }
        "wrap" => {
            let extent = pool.dim(extent.clone());
            pool.apply(ScalarOp::FloorMod, &[position, extent])
        }
        _ => {
            // Distance from the far border within a period of 2 * last, counted down from there.
            // An axis of one element has no period: the remainder by 0 is 0.
            let period = pool.dim(last.clone() * Dim::new(2));
            let last = pool.dim(last);
            let within = pool.apply(ScalarOp::FloorMod, &[position, period]);
            let past = pool.sub(within, last);
            let distance = pool.unary(ScalarOp::Abs, past);
            pool.sub(last, distance)
        }
    }
}
