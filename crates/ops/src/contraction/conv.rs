//! `conv` and `conv_integer`: convolutions over any number of spatial axes, in groups.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
    Lowering, OpDef, Traits,
};
use alula_kernel::{Affine, Compute, Contract, ContractAxis, ContractOperand, Role, VarId};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, Tensor};

use crate::points::{points, ravel, ravel_inside};
use crate::window::{DILATIONS, PADS, STRIDES, Window};

const GROUP: AttrSpec = AttrSpec::int("group", 1, "number of groups of channels");

/// `y[n, c, o..] = bias[c] + sum over i, k.. of x[n, i, o*stride + k*dilation - pad..] * w[c, i,
/// k..]`, where `i` runs over the channels of the group of `c`.
///
/// `x` is `[N, C, spatial..]`, `w` is `[M, C / group, kernel..]`, `bias` is `[M]`. Elements outside
/// `x` are 0.
pub static CONV: OpDef = OpDef {
    name: "conv",
    summary: "y[n, c, o..] = bias[c] + sum of x[n, i, o*stride + k*dilation - pad..] * \
              w[c, i, k..]",
    operands: &["x", "w", "bias?"],
    attrs: &[STRIDES, PADS, DILATIONS, GROUP],
    traits: Traits::NONE,
    infer: |ctx| infer(ctx, false),
    eval: |ctx| eval(ctx, false),
    lowering: Lowering::Contract(|ctx| lower(ctx, false)),
    examples: &[
        "graph @e(%x: f32[2, 3, 7, 8], %w: f32[4, 3, 3, 2], %b: f32[4]) {
           %y = conv %x, %w, %b {strides = [2, 1], pads = [1, 0, 1, 1]} return y: %y }",
        "graph @e(%x: f32[N, 4, 9], %w: f32[6, 2, 3]) {
           %y = conv %x, %w {group = 2, dilations = [2], pads = [2, 2]} return y: %y }",
        "graph @e(%x: f32[1, 4, 5, 5], %w: f32[4, 1, 3, 3], %b: f32[4]) {
           %y = conv %x, %w, %b {group = 4, pads = [1, 1, 1, 1]} return y: %y }",
        "graph @e(%x: f16[1, 2, 3, 4, 5], %w: f16[3, 2, 1, 2, 3]) {
           %y = conv %x, %w return y: %y }",
        "graph @e(%x: f32[1, 2, S], %w: f32[3, 2, 2]) {
           %y = conv %x, %w {strides = [2], pads = [1, 1]} return y: %y }",
        "graph @e(%x: f64[0, 2, 5], %w: f64[3, 2, 3]) { %y = conv %x, %w return y: %y }",
        "graph @e(%x: f32[1, 1, 4, 4], %w: f32[8, 1, 1, 1]) { %y = conv %x, %w return y: %y }",
    ],
};

/// As [`CONV`] on 8-bit integers, with a zero point of `x` and one of `w` (one for all, or one for
/// each output channel), exactly in `i32`. Elements outside `x` have the value of its zero point.
pub static CONV_INTEGER: OpDef = OpDef {
    name: "conv_integer",
    summary: "conv of (x - x_zero_point) and (w - w_zero_point) in i32",
    operands: &["x", "w", "x_zero_point?", "w_zero_point?"],
    attrs: &[STRIDES, PADS, DILATIONS, GROUP],
    traits: Traits::NONE,
    infer: |ctx| infer(ctx, true),
    eval: |ctx| eval(ctx, true),
    lowering: Lowering::Contract(|ctx| lower(ctx, true)),
    examples: &[
        "graph @e(%x: u8[1, 2, 5, 5], %w: i8[3, 2, 3, 3], %a: u8[], %b: i8[3]) {
           %y = conv_integer %x, %w, %a, %b {pads = [1, 1, 1, 1]} return y: %y }",
        "graph @e(%x: u8[2, 4, 6], %w: u8[4, 2, 3], %a: u8[], %b: u8[]) {
           %y = conv_integer %x, %w, %a, %b {group = 2, strides = [2]} return y: %y }",
        "graph @e(%x: i8[N, 2, 6], %w: i8[3, 2, 3]) {
           %y = conv_integer %x, %w return y: %y }",
    ],
};

/// Extents of the filter's spatial axes.
fn kernel_dims(ctx: &InferCtx<'_>) -> Result<Vec<Dim>, InferError> {
    Ok(ctx.tensor(1)?.shape[2..].to_vec())
}

fn infer(ctx: &mut InferCtx<'_>, integer: bool) -> Result<Vec<Inferred>, InferError> {
    let dtype = if integer {
        for operand in 0..2 {
            ctx.expect_class(operand, &[DTypeClass::Signed, DTypeClass::Unsigned])?;
        }
        for (zero_point, of) in [(2, 0), (3, 1)] {
            if ctx.has(zero_point) {
                ctx.expect_same_dtype(of, zero_point)?;
            }
        }
        DType::I32
    } else {
        ctx.expect_class(0, &[DTypeClass::Float])?;
        ctx.expect_same_dtype(0, 1)?
    };
    let (x, w) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if x.rank() < 3 || x.rank() != w.rank() {
        return Err(InferError::Mismatch(format!(
            "input {x} and filter {w} need one batch, one channel and equally many spatial axes"
        )));
    }
    let group = ctx.attrs.int("group");
    let (channels, of_group) = (&x.shape[1], &w.shape[1]);
    if group < 1 {
        return Err(InferError::BadAttr {
            name: "group".to_owned(),
            reason: format!("is {group}, must be positive"),
        });
    }
    let needed = of_group.clone() * Dim::new(group);
    if let (Some(have), Some(need)) = (channels.as_const(), needed.as_const())
        && have != need
    {
        return Err(InferError::Mismatch(format!(
            "input {x} has {have} channels, filter {w} in {group} groups takes {need}"
        )));
    }
    if w.shape[0].as_const().is_some_and(|m| m % group != 0) {
        return Err(InferError::Mismatch(format!(
            "{} output channels of filter {w} do not split into {group} groups",
            w.shape[0]
        )));
    }
    check_per_channel(ctx, integer)?;
    let window = Window::new(ctx.attrs, &kernel_dims(ctx)?)?;
    let mut shape = vec![x.shape[0].clone(), w.shape[0].clone()];
    shape.extend(window.counts(&x.shape[2..], false));
    Ok(vec![Inferred::tensor(dtype, shape)])
}

/// The bias, or the filter's zero point, has one element for each output channel.
fn check_per_channel(ctx: &InferCtx<'_>, integer: bool) -> Result<(), InferError> {
    let (operand, what) = if integer {
        (3, "zero point")
    } else {
        (2, "bias")
    };
    if integer && ctx.has(2) && !ctx.tensor(2)?.num_elements().is(1) {
        let ty = ctx.tensor(2)?;
        return Err(InferError::Unsupported(format!(
            "input zero point {ty} of several elements"
        )));
    }
    if !ctx.has(operand) {
        return Ok(());
    }
    if !integer {
        ctx.expect_same_dtype(0, operand)?;
    }
    let (ty, channels) = (ctx.tensor(operand)?, &ctx.tensor(1)?.shape[0]);
    let fits = match ty.shape.as_slice() {
        [] => integer,
        [extent] if integer && extent.is(1) => true,
        [extent] => extent == channels || extent.as_const().is_none(),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(InferError::Mismatch(format!(
        "{what} {ty} does not fit {channels} output channels"
    )))
}

fn eval(ctx: &EvalCtx<'_>, integer: bool) -> Result<Vec<HostValue>, EvalError> {
    let (x, w) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let kernel: Vec<Dim> = w.shape()[2..].iter().map(|k| Dim::new(*k as i64)).collect();
    let wrong = |error: InferError| EvalError::Value(error.to_string());
    let window = Window::new(ctx.attrs, &kernel).map_err(wrong)?;
    let begins = window.begins_known();
    let begins = begins.ok_or_else(|| EvalError::Value("pads are not known".to_owned()))?;
    let extents: Vec<Dim> = x.shape()[2..].iter().map(|e| Dim::new(*e as i64)).collect();
    let counts = window.counts(&extents, false);
    let mut shape = vec![x.shape()[0], w.shape()[0]];
    shape.extend(
        counts
            .iter()
            .map(|c| c.as_const().unwrap_or(0).max(0) as usize),
    );
    let zeros = |position: usize| {
        ctx.optional(position)
            .filter(|_| integer)
            .map(Tensor::to_f64s)
    };
    let (x_zero, w_zero) = (zeros(2), zeros(3));
    let bias = ctx.optional(2).filter(|_| !integer).map(Tensor::to_f64s);
    let (xs, ws) = (x.to_f64s(), w.to_f64s());
    let group = ctx.attrs.int("group") as usize;
    let per_group = w.shape()[0] / group.max(1);
    let mut values = Vec::new();
    for at in points(&shape) {
        let (batch, channel) = (at[0], at[1]);
        let first = channel / per_group.max(1) * w.shape()[1];
        let mut sum = 0.0;
        for tap in points(&w.shape()[1..]) {
            let mut from = vec![batch as i64, (first + tap[0]) as i64];
            from.extend((0..begins.len()).map(|d| {
                at[2 + d] as i64 * window.strides[d] + tap[1 + d] as i64 * window.dilations[d]
                    - begins[d]
            }));
            let Some(position) = ravel_inside(&from, x.shape()) else {
                continue;
            };
            let mut of_filter = vec![channel];
            of_filter.extend(&tap);
            let zero = |zeros: &Option<Vec<f64>>| match zeros {
                Some(zeros) => zeros[channel.min(zeros.len() - 1)],
                None => 0.0,
            };
            sum +=
                (xs[position] - zero(&x_zero)) * (ws[ravel(&of_filter, w.shape())] - zero(&w_zero));
        }
        let sum = sum + bias.as_ref().map_or(0.0, |bias| bias[channel]);
        values.push(if integer {
            Scalar::Int(sum as i128)
        } else {
            Scalar::Float(sum)
        });
    }
    let dtype = if integer { DType::I32 } else { x.dtype() };
    Ok(vec![ctx.result(dtype, &shape, &values)?])
}

/// `offset + variable * factor`; an axis of extent 1 adds nothing.
fn term(compute: &Compute, var: VarId, factor: &Dim) -> Affine {
    if compute.pool.extent(var).is(1) {
        Affine::constant(0_i64)
    } else {
        Affine::var(var).times(factor)
    }
}

fn lower(ctx: &LowerCtx<'_>, integer: bool) -> Result<Contract, LowerError> {
    let (w, result) = (ctx.tensor(1), ctx.result(0));
    let window = Window::new(ctx.attrs, &w.shape[2..])
        .map_err(|error| LowerError::Unsupported(error.to_string()))?;
    let group = Dim::new(ctx.attrs.int("group"));
    let acc = result.dtype.compute();
    let mut epilogue = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let one = Dim::new(1);
    let out_of_group = w.shape[0].floor_div(&group);
    let batch = epilogue.pool.var(result.shape[0].clone());
    let group_var = epilogue.pool.var(group);
    let out_channel = epilogue.pool.var(out_of_group.clone());
    let spatial: Vec<VarId> = result.shape[2..]
        .iter()
        .map(|e| epilogue.pool.var(e.clone()))
        .collect();
    let in_channel = epilogue.pool.var(w.shape[1].clone());
    let taps: Vec<VarId> = w.shape[2..]
        .iter()
        .map(|e| epilogue.pool.var(e.clone()))
        .collect();

    let term = |var, factor: &Dim| term(&epilogue, var, factor);
    let channel = term(group_var, &out_of_group).plus(&term(out_channel, &one));
    let mut x_index = vec![
        term(batch, &one),
        term(group_var, &w.shape[1]).plus(&term(in_channel, &one)),
    ];
    let mut w_index = vec![channel.clone(), term(in_channel, &one)];
    let mut out = vec![term(batch, &one), channel.clone()];
    for (axis, (&o, &k)) in spatial.iter().zip(&taps).enumerate() {
        let moved = term(o, &Dim::new(window.strides[axis]))
            .plus(&term(k, &Dim::new(window.dilations[axis])));
        x_index.push(moved.plus(&Affine::constant(Dim::new(0) - window.begins[axis].clone())));
        w_index.push(term(k, &one));
        out.push(term(o, &one));
    }
    let padded = (0..taps.len())
        .filter(|&axis| !(window.begins[axis].is(0) && window.ends[axis].is(0)))
        .map(|axis| axis + 2)
        .collect();
    let axis = |var, role| ContractAxis { var, role };
    let mut axes = vec![axis(batch, Role::M)];
    if ctx.attrs.int("group") > 1 {
        axes.push(axis(group_var, Role::Batch));
    }
    axes.push(axis(out_channel, Role::N));
    axes.extend(spatial.iter().map(|&o| axis(o, Role::M)));
    axes.push(axis(in_channel, Role::K));
    axes.extend(taps.iter().map(|&k| axis(k, Role::K)));

    let zero_point =
        |position: usize| (integer && ctx.has(position)).then(|| ctx.present(position) as u32);
    let many = |position: usize| ctx.has(position) && !ctx.tensor(position).num_elements().is(1);
    if integer && ctx.attrs.int("group") > 1 && many(3) {
        let reason = "a filter zero point for each output channel together with groups";
        return Err(LowerError::Unsupported(reason.to_owned()));
    }
    let mut value = epilogue.pool.acc(acc);
    if !integer && ctx.has(2) {
        let channel = epilogue.indices()[1];
        let bias = epilogue.load(ctx.present(2), vec![channel]);
        value = epilogue.pool.add(value, bias);
    }
    Ok(Contract {
        axes,
        a: ContractOperand {
            operand: 0,
            index: x_index,
            zero_point: zero_point(2),
            padded,
        },
        b: ContractOperand {
            operand: 1,
            index: w_index,
            zero_point: zero_point(3),
            padded: Vec::new(),
        },
        acc,
        out,
        epilogue: epilogue.finish(value),
    })
}
