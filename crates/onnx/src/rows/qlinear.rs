//! `com.microsoft` operators on quantized tensors whose result is quantized as well: what the
//! operator means is said of the real numbers.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::activation::{LEAKY_RELU, SIGMOID};
use alula_ops::elementwise::choice::SELECT;
use alula_ops::normalization::SOFTMAX;
use alula_ops::pooling::AVERAGE_POOL;
use alula_ops::quantization::{DEQUANTIZE_LINEAR, QUANTIZE_LINEAR, REQUANTIZE};
use alula_ops::reduce::{REDUCE_MEAN, REDUCE_SUM};
use alula_tensor::{DType, Dim};

use super::compose::Value;
use super::microsoft::{in_steps, zero_of};
use super::pooling::pool_attrs;
use super::quantization::qlinear_conv;
use super::sampling::{channels_last, channels_second};
use super::shape::{as_scalar, normal_axis};
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("QLinearSigmoid", &[], |ctx| {
        let x = real(ctx, [0, 1, 2])?;
        let y = ctx.op(&SIGMOID, &[x])?;
        stepped(ctx, y, [3, 4])
    }),
    row("QLinearLeakyRelu", &["alpha"], |ctx| {
        let x = real(ctx, [0, 1, 2])?;
        let attrs = Attrs::new().with("alpha", ctx.float_or("alpha", 0.01));
        let y = ctx.push(&LEAKY_RELU, &[x], attrs)?;
        stepped(ctx, y, [3, 4])
    }),
    row("QLinearSoftmax", &["axis", "opset"], softmax),
    row("QLinearConcat", &["axis"], concat),
    row("QLinearWhere", &[], |ctx| {
        let condition = ctx.input(0)?;
        let (x, y) = (real(ctx, [1, 2, 3])?, real(ctx, [4, 5, 6])?);
        let z = ctx.op(&SELECT, &[condition, x, y])?;
        let dtype = dtype_of(ctx, 1)?;
        quantized(ctx, z, [7, 8], dtype)
    }),
    row(
        "QLinearAveragePool",
        &[
            "auto_pad",
            "ceil_mode",
            "channels_last",
            "count_include_pad",
            "kernel_shape",
            "pads",
            "strides",
        ],
        average_pool,
    ),
    row(
        "QLinearGlobalAveragePool",
        &["channels_last"],
        global_average_pool,
    ),
    row("QLinearReduceMean", &["axes", "keepdims"], |ctx| {
        let x = real(ctx, [0, 1, 2])?;
        let axes = ctx.ints("axes").unwrap_or_default();
        let y = ctx.reduce(&REDUCE_MEAN, x, axes, ctx.flag("keepdims", true))?;
        stepped(ctx, y, [3, 4])
    }),
    row(
        "QLinearConv",
        &[
            "auto_pad",
            "channels_last",
            "dilations",
            "group",
            "kernel_shape",
            "pads",
            "strides",
        ],
        qlinear_conv,
    ),
];

fn dtype_of(ctx: &mut RowCtx<'_, '_>, position: usize) -> Result<DType, RowError> {
    let value = ctx.input(position)?;
    Ok(ctx.ty(value)?.dtype)
}

/// The real numbers of an input of bytes, given the positions of it, its scale and zero point.
fn real(ctx: &mut RowCtx<'_, '_>, [value, scale, zero]: [usize; 3]) -> Value {
    let scale = ctx.input(scale)?;
    let mut operands = vec![ctx.input(value)?, as_scalar(ctx, scale)?];
    if let Some(zero) = ctx.optional(zero) {
        operands.push(as_scalar(ctx, zero)?);
    }
    ctx.op(&DEQUANTIZE_LINEAR, &operands)
}

/// Real numbers in steps of the result, given the positions of its scale and zero point.
fn quantized(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    [scale, zero]: [usize; 2],
    dtype: DType,
) -> Built {
    let scale = ctx.input(scale)?;
    let mut operands = vec![value, as_scalar(ctx, scale)?];
    if let Some(zero) = ctx.optional(zero) {
        operands.push(as_scalar(ctx, zero)?);
    }
    let attrs = Attrs::new().with("dtype", dtype);
    Ok(vec![ctx.push(&QUANTIZE_LINEAR, &operands, attrs)?])
}

/// As [`quantized`], in the dtype of the first input.
fn stepped(ctx: &mut RowCtx<'_, '_>, value: ValueId, places: [usize; 2]) -> Built {
    let dtype = dtype_of(ctx, 0)?;
    quantized(ctx, value, places, dtype)
}

/// Along one axis, or over all axes from one on where `Softmax` of that opset is so.
fn softmax(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = real(ctx, [0, 1, 2])?;
    let ty = ctx.ty(x)?;
    let axis = normal_axis(ctx.int_or("axis", -1), ty.rank())?;
    let opset = ctx
        .int("opset")
        .ok_or_else(|| RowError::Invalid("attribute opset is absent".to_owned()))?;
    let y = if opset < 13 {
        let product = |dims: &[Dim]| dims.iter().cloned().product::<Dim>();
        let flat = vec![product(&ty.shape[..axis]), product(&ty.shape[axis..])];
        let flat = ctx.view(x, flat)?;
        let y = ctx.push(&SOFTMAX, &[flat], Attrs::new().with("axis", 1_i64))?;
        ctx.view(y, ty.shape)?
    } else {
        ctx.push(&SOFTMAX, &[x], Attrs::new().with("axis", axis as i64))?
    };
    stepped(ctx, y, [3, 4])
}

/// Parts of scales and zero points of their own.
fn concat(ctx: &mut RowCtx<'_, '_>) -> Built {
    let count = ctx.num_inputs().saturating_sub(2);
    if count == 0 || !count.is_multiple_of(3) {
        return Err(RowError::Invalid(format!(
            "{count} inputs after the first two, where each part has three"
        )));
    }
    let dtype = dtype_of(ctx, 1)?;
    let mut parts = Vec::new();
    for first in (2..ctx.num_inputs()).step_by(3) {
        let given = dtype_of(ctx, first)?;
        if given != dtype {
            return Err(RowError::Invalid(format!(
                "input {first} is {given}, the result is {dtype}"
            )));
        }
        parts.push(real(ctx, [first, first + 1, first + 2])?);
    }
    let rank = ctx.rank(parts[0])?;
    let axis = ctx
        .int("axis")
        .ok_or_else(|| RowError::Invalid("attribute axis is absent".to_owned()))?;
    let axis = normal_axis(axis, rank)?;
    let y = ctx.join(&parts, axis)?;
    quantized(ctx, y, [0, 1], dtype)
}

/// The zero point is added before the average is rounded, as ONNX Runtime does.
fn average_pool(ctx: &mut RowCtx<'_, '_>) -> Built {
    let dtype = dtype_of(ctx, 0)?;
    let mut x = real(ctx, [0, 1, 2])?;
    let is_last = ctx.flag("channels_last", false);
    if is_last {
        x = channels_second(ctx, x)?;
    }
    let attrs = pool_attrs(ctx, x)?;
    let attrs = attrs.with("count_include_pad", ctx.flag("count_include_pad", false));
    let mut y = ctx.push(&AVERAGE_POOL, &[x], attrs)?;
    if is_last {
        y = channels_last(ctx, y)?;
    }
    let scale = ctx.input(3)?;
    let scale = as_scalar(ctx, scale)?;
    let y = ctx.div(y, scale)?;
    let zero = zero_of(ctx, 4)?;
    let zero = as_scalar(ctx, zero)?;
    let steps = ctx.add(y, zero)?;
    in_steps(ctx, steps, dtype)
}

/// The exact sum of each channel, times one factor.
fn global_average_pool(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    if ty.rank() < 3 {
        return Err(RowError::Invalid(format!("{ty} has no spatial axes")));
    }
    let first = match ctx.flag("channels_last", false) {
        true => 1,
        false => 2,
    };
    let axes: Vec<i64> = (0..ty.rank() as i64 - 2).map(|k| k + first).collect();
    let pixels: Dim = axes
        .iter()
        .map(|axis| ty.shape[*axis as usize].clone())
        .product();
    let zero = ctx.input(2)?;
    let zero = as_scalar(ctx, zero)?;
    let (x, zero) = (ctx.cast(x, DType::I32)?, ctx.cast(zero, DType::I32)?);
    let centred = ctx.sub(x, zero)?;
    let sums = ctx.reduce(&REDUCE_SUM, centred, axes, true)?;
    let (scale, y_scale, y_zero) = (ctx.input(1)?, ctx.input(3)?, ctx.input(4)?);
    let (scale, y_scale) = (as_scalar(ctx, scale)?, as_scalar(ctx, y_scale)?);
    let count = ctx.dim(pixels)?;
    let count = ctx.cast(count, DType::F32)?;
    let below = ctx.mul(y_scale, count)?;
    let factor = ctx.div(scale, below)?;
    let y_zero = as_scalar(ctx, y_zero)?;
    let attrs = Attrs::new().with("dtype", ty.dtype);
    Ok(vec![ctx.push(
        &REQUANTIZE,
        &[sums, factor, y_zero],
        attrs,
    )?])
}
