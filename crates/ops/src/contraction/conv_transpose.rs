//! `conv_transpose`: the transpose (gradient) of a convolution.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, FoldOp};
use alula_tensor::{DTypeClass, Dim, Scalar, ScalarOp, Tensor};

use crate::points::{points, ravel};
use crate::window::{DILATIONS, PADS, STRIDES, Window};

/// `y[n, c, o..] = bias[c] + sum over i, k.. of x[n, i, p..] * w[i, c, k..]` over all positions
/// with `p*stride + k*dilation - pad = o`, where `i` runs over the input channels of the group.
///
/// `x` is `[N, C, spatial..]`, `w` is `[C, M / group, kernel..]`, `bias` is `[M]`. Extents of the
/// result are `(in - 1)*stride + (kernel - 1)*dilation + 1 - pads + output_padding`.
pub static CONV_TRANSPOSE: OpDef = OpDef {
    name: "conv_transpose",
    summary: "y[n, c, o..] = bias[c] + sum of x[n, i, p..] * w[i, c, k..], \
              p*stride + k*dilation - pad = o",
    operands: &["x", "w", "bias?"],
    attrs: &[
        STRIDES,
        PADS,
        DILATIONS,
        AttrSpec::int("group", 1, "number of groups of channels"),
        AttrSpec::optional(
            "output_padding",
            AttrKind::Dims,
            "elements added to the result's end for each spatial axis; absent means 0",
        ),
    ],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: f32[2, 3, 4, 5], %w: f32[3, 2, 3, 2], %b: f32[2]) {
           %y = conv_transpose %x, %w, %b {strides = [2, 1], pads = [1, 0, 0, 1]}
           return y: %y }",
        "graph @e(%x: f32[N, 4, 5], %w: f32[4, 3, 3]) {
           %y = conv_transpose %x, %w {group = 2, strides = [3], output_padding = [1]}
           return y: %y }",
        "graph @e(%x: f16[1, 1, 3, 3], %w: f16[1, 1, 2, 2]) {
           %y = conv_transpose %x, %w {dilations = [2, 2]} return y: %y }",
        "graph @e(%x: f64[1, 2, S], %w: f64[2, 1, 4]) {
           %y = conv_transpose %x, %w {strides = [2], pads = [1, 1]} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(0, &[DTypeClass::Float])?;
    let dtype = ctx.expect_same_dtype(0, 1)?;
    let (x, w) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if x.rank() < 3 || x.rank() != w.rank() {
        return Err(InferError::Mismatch(format!(
            "input {x} and filter {w} need one batch, one channel and equally many spatial axes"
        )));
    }
    if x.shape[1] != w.shape[0]
        && x.shape[1].as_const().is_some()
        && w.shape[0].as_const().is_some()
    {
        return Err(InferError::Mismatch(format!(
            "input {x} has {} channels, filter {w} takes {}",
            x.shape[1], w.shape[0]
        )));
    }
    let group = ctx.attrs.int("group");
    if group < 1 || w.shape[0].as_const().is_some_and(|c| c % group != 0) {
        return Err(InferError::Mismatch(format!(
            "{} channels do not split into {group} groups",
            w.shape[0]
        )));
    }
    let channels = w.shape[1].clone() * Dim::new(group);
    if ctx.has(2) {
        ctx.expect_same_dtype(0, 2)?;
        let bias = ctx.tensor(2)?;
        if bias.rank() != 1 || (bias.shape[0] != channels && bias.shape[0].as_const().is_some()) {
            return Err(InferError::Mismatch(format!(
                "bias {bias} does not fit {channels} output channels"
            )));
        }
    }
    let window = Window::new(ctx.attrs, &w.shape[2..])?;
    let more = output_padding(ctx.attrs, window.kernel.len())?;
    let mut shape = vec![x.shape[0].clone(), channels];
    for (axis, extra) in more.into_iter().enumerate() {
        let reach = (x.shape[2 + axis].clone() - Dim::new(1)) * Dim::new(window.strides[axis]);
        let pads = window.begins[axis].clone() + window.ends[axis].clone();
        shape.push(reach + window.span(axis) - pads + extra);
    }
    Ok(vec![Inferred::tensor(dtype, shape)])
}

fn output_padding(attrs: &alula_ir::Attrs, rank: usize) -> Result<Vec<Dim>, InferError> {
    if !attrs.has("output_padding") {
        return Ok(vec![Dim::new(0); rank]);
    }
    let given = attrs.dims("output_padding");
    if given.len() == rank {
        return Ok(given.to_vec());
    }
    Err(InferError::BadAttr {
        name: "output_padding".to_owned(),
        reason: format!("has {} entries for {rank} spatial axes", given.len()),
    })
}

/// Scatters each input element, unlike the lowering, which gathers.
fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, w) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let kernel: Vec<Dim> = w.shape()[2..].iter().map(|k| Dim::new(*k as i64)).collect();
    let window = Window::new(ctx.attrs, &kernel);
    let window = window.map_err(|error| EvalError::Value(error.to_string()))?;
    let rank = kernel.len();
    let unknown = || EvalError::Value("pads are not known".to_owned());
    let known = |dims: &[Dim]| dims.iter().map(Dim::as_const).collect::<Option<Vec<i64>>>();
    let begins = known(&window.begins).ok_or_else(unknown)?;
    let ends = known(&window.ends).ok_or_else(unknown)?;
    let more = output_padding(ctx.attrs, rank);
    let more = more.map_err(|error| EvalError::Value(error.to_string()))?;
    let more = known(&more).ok_or_else(unknown)?;
    let group = ctx.attrs.int("group") as usize;
    let (in_of_group, out_of_group) = (w.shape()[0] / group, w.shape()[1]);
    let mut shape = vec![x.shape()[0], out_of_group * group];
    for axis in 0..rank {
        let span = (w.shape()[2 + axis] as i64 - 1) * window.dilations[axis] + 1;
        let reach = (x.shape()[2 + axis] as i64 - 1) * window.strides[axis];
        let extent = reach + span - begins[axis] - ends[axis] + more[axis];
        shape.push(usize::try_from(extent).unwrap_or(0));
    }
    let (xs, ws) = (x.to_f64s(), w.to_f64s());
    let mut sums = vec![0.0; shape.iter().product()];
    for (from, value) in points(x.shape()).zip(&xs) {
        let first = from[1] / in_of_group * out_of_group;
        for tap in points(&w.shape()[1..]) {
            let mut to = vec![from[0] as i64, (first + tap[0]) as i64];
            to.extend((0..rank).map(|d| {
                from[2 + d] as i64 * window.strides[d] + tap[1 + d] as i64 * window.dilations[d]
                    - begins[d]
            }));
            if let Some(position) = crate::points::ravel_inside(&to, &shape) {
                let mut of_filter = vec![from[1]];
                of_filter.extend(tap);
                sums[position] += value * ws[ravel(&of_filter, w.shape())];
            }
        }
    }
    let bias = ctx.optional(2).map(Tensor::to_f64s);
    let values: Vec<Scalar> = points(&shape)
        .zip(&sums)
        .map(|(at, sum)| Scalar::Float(sum + bias.as_ref().map_or(0.0, |bias| bias[at[1]])))
        .collect();
    Ok(vec![ctx.result(x.dtype(), &shape, &values)?])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let (x, w, result) = (ctx.tensor(0), ctx.tensor(1), ctx.result(0));
    let window = Window::new(ctx.attrs, &w.shape[2..])
        .map_err(|error| LowerError::Unsupported(error.to_string()))?;
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let out = c.indices();
    let group = Dim::new(ctx.attrs.int("group"));
    let in_of_group = w.shape[0].floor_div(&group);
    let in_var = c.pool.var(in_of_group.clone());
    let tap_vars: Vec<_> = w.shape[2..].iter().map(|e| c.pool.var(e.clone())).collect();
    let out_of_group = c.pool.dim(w.shape[1].clone());
    let group_of = c.pool.apply(ScalarOp::FloorDiv, &[out[1], out_of_group]);
    let channel = c.pool.apply(ScalarOp::FloorMod, &[out[1], out_of_group]);
    let (size, inner) = (c.pool.dim(in_of_group), c.pool.var_expr(in_var));
    let first = c.pool.mul(group_of, size);
    let in_channel = c.pool.add(first, inner);
    let mut divides = c.pool.boolean(true);
    let mut from = vec![out[0], in_channel];
    let mut of_filter = vec![in_channel, channel];
    for (axis, &var) in tap_vars.iter().enumerate() {
        let pool = &mut c.pool;
        let tap = pool.var_expr(var);
        let (step, begin) = (
            pool.int(window.dilations[axis]),
            pool.dim(window.begins[axis].clone()),
        );
        let moved = pool.add(out[2 + axis], begin);
        let offset = pool.mul(tap, step);
        let scaled = pool.sub(moved, offset);
        let (stride, zero) = (pool.int(window.strides[axis]), pool.int(0));
        let rest = pool.apply(ScalarOp::FloorMod, &[scaled, stride]);
        let fits = pool.apply(ScalarOp::Eq, &[rest, zero]);
        divides = pool.apply(ScalarOp::And, &[divides, fits]);
        from.push(pool.apply(ScalarOp::FloorDiv, &[scaled, stride]));
        of_filter.push(tap);
    }
    let padded: Vec<usize> = (2..x.rank()).collect();
    let (inside, from) = c.clamp_inside(0, from, &padded);
    let (value, weight) = (c.load(0, from), c.load(1, of_filter));
    let product = c.pool.mul(value, weight);
    let counts = c.pool.apply(ScalarOp::And, &[divides, inside]);
    let zero = c.pool.float(result.dtype.compute(), 0.0);
    let product = c.pool.select(counts, product, zero);
    let mut vars = vec![in_var];
    vars.extend(tap_vars);
    let mut sum = c.pool.fold(FoldOp::Add, vars, product);
    if ctx.has(2) {
        let bias = c.load(2, vec![out[1]]);
        sum = c.pool.add(sum, bias);
    }
    Ok(vec![c.finish(sum)])
}
