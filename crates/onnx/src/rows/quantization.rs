//! Quantization.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::CONV_INTEGER;
use alula_ops::elementwise::arithmetic::{ADD, DIV, EQ, MAX, MIN, MUL, ROUND, SUB};
use alula_ops::elementwise::choice::{CAST, SELECT};
use alula_ops::quantization::{DEQUANTIZE_LINEAR, QUANTIZE_LINEAR, REQUANTIZE};
use alula_ops::reduce::{REDUCE_MAX, REDUCE_MIN};
use alula_ops::shape::EXPAND;
use alula_tensor::{DType, Dim, Scalar, Tensor};

use super::contraction::{CONV_ATTRS, conv_attrs, matmul, matmul_integer, reshape};
use super::sampling::{channels_last, channels_second};
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "QuantizeLinear",
        &[10, 13, 19, 21, 23, 24, 25, 28],
        &[
            "axis",
            "block_size",
            "output_dtype",
            "precision",
            "saturate",
        ],
        quantize,
    ),
    row(
        "DequantizeLinear",
        &[10, 13, 19, 21, 23, 24, 25, 28],
        &["axis", "block_size", "output_dtype"],
        dequantize,
    ),
    row("DynamicQuantizeLinear", &[11], &[], |ctx| {
        let x = ctx.input(0)?;
        Ok(dynamic_quantize(ctx, x)?.to_vec())
    }),
    row("QLinearMatMul", &[10, 21], &[], qlinear_matmul),
    row("QLinearConv", &[10], CONV_ATTRS, qlinear_conv),
];

/// Axis and block size of an operator with both, as far as the version has them.
fn shared(ctx: &RowCtx<'_, '_>) -> Attrs {
    Attrs::new()
        .with("axis", ctx.int_or("axis", 1))
        .with("block", ctx.int_or("block_size", 0))
}

pub(super) fn quantize(ctx: &mut RowCtx<'_, '_>) -> Built {
    let zero_point = ctx.optional(2);
    let dtype = match (zero_point, ctx.dtype("output_dtype")?) {
        (Some(zero), None) => ctx.ty(zero)?.dtype,
        (None, Some(dtype)) => dtype,
        (None, None) => DType::U8,
        (Some(zero), Some(dtype)) => {
            let given = ctx.ty(zero)?.dtype;
            if given != dtype {
                return Err(RowError::Invalid(format!(
                    "output_dtype {dtype} is not {given}, the zero point's"
                )));
            }
            dtype
        }
    };
    // The quotient is computed in f32 or f64, which is as precise as any type asked for.
    match ctx.dtype("precision")? {
        None | Some(DType::F32 | DType::F16 | DType::BF16) => {}
        Some(other) => {
            return Err(RowError::Unsupported(format!(
                "attribute precision is {other}"
            )));
        }
    }
    let attrs = shared(ctx)
        .with("dtype", dtype)
        .with("saturate", ctx.flag("saturate", true));
    let operands = [Some(ctx.input(0)?), Some(ctx.input(1)?), zero_point];
    ctx.push_all(&QUANTIZE_LINEAR, &operands, attrs)
}

pub(super) fn dequantize(ctx: &mut RowCtx<'_, '_>) -> Built {
    let mut attrs = shared(ctx);
    if let Some(dtype) = ctx.dtype("output_dtype")? {
        attrs.set("dtype", dtype);
    }
    let operands = [Some(ctx.input(0)?), Some(ctx.input(1)?), ctx.optional(2)];
    ctx.push_all(&DEQUANTIZE_LINEAR, &operands, attrs)
}

/// `u8` values, scale and zero point of a tensor: the range is that of its elements and 0.
pub(super) fn dynamic_quantize(
    ctx: &mut RowCtx<'_, '_>,
    x: ValueId,
) -> Result<[ValueId; 3], RowError> {
    let ty = ctx.ty(x)?;
    let axes: Vec<i64> = (0..ty.rank() as i64).collect();
    let over = || {
        Attrs::new()
            .with("axes", axes.clone())
            .with("keepdims", false)
    };
    let none = Attrs::new;
    let (zero, steps) = (ctx.scalar(ty.dtype, 0.0)?, ctx.scalar(ty.dtype, 255.0)?);
    let least = ctx.push(&REDUCE_MIN, &[x], over())?;
    let least = ctx.push(&MIN, &[least, zero], none())?;
    let most = ctx.push(&REDUCE_MAX, &[x], over())?;
    let most = ctx.push(&MAX, &[most, zero], none())?;
    let range = ctx.push(&SUB, &[most, least], none())?;
    // A tensor of zeros has no range; any scale will do. The divisor is no constant, so that nobody
    // takes its reciprocal: a scale of another last bit has other elements halfway between steps.
    let is_flat = ctx.push(&EQ, &[range, zero], none())?;
    let one = ctx.scalar(ty.dtype, 1.0)?;
    let [range, steps] = [range, steps].map(|value| {
        let operands = [is_flat, one, value];
        ctx.push(&SELECT, &operands, none())
    });
    let scale = ctx.push(&DIV, &[range?, steps?], none())?;
    let offset = ctx.push(&SUB, &[zero, least], none())?;
    let place = ctx.push(&DIV, &[offset, scale], none())?;
    let place = ctx.push(&ROUND, &[place], none())?;
    let zero_point = ctx.push(&CAST, &[place], none().with("to", DType::U8))?;
    let attrs = Attrs::new().with("dtype", DType::U8);
    let quantized = ctx.push(&QUANTIZE_LINEAR, &[x, scale, zero_point], attrs)?;
    Ok([quantized, scale, zero_point])
}

/// Real numbers as steps of this scale; the stored type is the zero point's.
fn steps(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    scale: ValueId,
    zero_point: ValueId,
) -> Result<ValueId, RowError> {
    let dtype = ctx.ty(zero_point)?.dtype;
    let attrs = Attrs::new().with("dtype", dtype);
    ctx.push(&QUANTIZE_LINEAR, &[value, scale, zero_point], attrs)
}

/// `i32` sums times the product of two scales, in `f32`.
pub(super) fn scaled_sums(
    ctx: &mut RowCtx<'_, '_>,
    sums: ValueId,
    scale: ValueId,
) -> Result<ValueId, RowError> {
    let dtype = ctx.ty(scale)?.dtype;
    let real = ctx.push(&CAST, &[sums], Attrs::new().with("to", dtype))?;
    ctx.push(&MUL, &[real, scale], Attrs::new())
}

/// `i32` sums as steps of the result: the scales' product over the result's is one factor in `f32`,
/// so that a sum is rounded by one product. Factors of several elements are those of `axis`.
pub(super) fn requantized(
    ctx: &mut RowCtx<'_, '_>,
    sums: ValueId,
    scale: ValueId,
    (y_scale, y_zero): (ValueId, ValueId),
    axis: i64,
) -> Result<ValueId, RowError> {
    let (scale_ty, dtype) = (ctx.ty(scale)?, ctx.ty(y_zero)?.dtype);
    let is_factor = scale_ty.rank() <= 1 && scale_ty.dtype == DType::F32;
    let is_byte = matches!(dtype, DType::I8 | DType::U8);
    let is_one = is_single(ctx, y_scale)? && is_single(ctx, y_zero)?;
    if !(is_factor && is_byte && is_one && ctx.ty(sums)?.dtype == DType::I32) {
        let rank = ctx.rank(sums)?;
        let spread = match axis {
            1 => along_channels(ctx, scale, rank)?,
            _ => at_most_rank(ctx, scale, rank)?,
        };
        let value = scaled_sums(ctx, sums, spread)?;
        return steps(ctx, value, y_scale, y_zero);
    }
    let y_scale = reshape(ctx, y_scale, Vec::new())?;
    let zero = reshape(ctx, y_zero, Vec::new())?;
    let factor = ctx.push(&DIV, &[scale, y_scale], Attrs::new())?;
    let zero = match ctx.ty(factor)?.num_elements() {
        n if n.is(1) => zero,
        n => {
            // One zero point for each factor.
            ctx.push(&EXPAND, &[zero], Attrs::new().with("to", vec![n]))?
        }
    };
    let rank = ctx.rank(sums)? as i64;
    let axis = if axis < 0 { axis + rank } else { axis };
    let attrs = Attrs::new().with("dtype", dtype).with("axis", axis.max(0));
    ctx.push(&REQUANTIZE, &[sums, factor, zero], attrs)
}

/// Whether a value has one element and rank 1 at most.
fn is_single(ctx: &mut RowCtx<'_, '_>, value: ValueId) -> Result<bool, RowError> {
    let ty = ctx.ty(value)?;
    Ok(ty.rank() <= 1 && ty.num_elements().is(1))
}

/// Integers less a zero point that is one for each row or column, in `i32`.
fn centred(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    zero_point: ValueId,
    is_rows: bool,
) -> Result<ValueId, RowError> {
    let to = || Attrs::new().with("to", DType::I32);
    let value = ctx.push(&CAST, &[value], to())?;
    let mut zero = ctx.push(&CAST, &[zero_point], to())?;
    let ty = ctx.ty(zero)?;
    if is_rows && ty.rank() == 1 && !ty.num_elements().is(1) {
        zero = reshape(ctx, zero, vec![ty.shape[0].clone(), Dim::new(1)])?;
    }
    ctx.push(&SUB, &[value, zero], Attrs::new())
}

/// Sums of products of quantized matrices in `i32`, whatever the shapes of their zero points.
pub(super) fn integer_product(
    ctx: &mut RowCtx<'_, '_>,
    a: ValueId,
    b: ValueId,
    a_zero: Option<ValueId>,
    b_zero: Option<ValueId>,
) -> Result<ValueId, RowError> {
    let columns = ctx.ty(b)?.shape.last().cloned();
    let a_fits = match a_zero {
        Some(zero) => is_single(ctx, zero)?,
        None => true,
    };
    let b_fits = match b_zero {
        Some(zero) => {
            let ty = ctx.ty(zero)?;
            is_single(ctx, zero)? || (ty.rank() == 1 && ty.shape.last() == columns.as_ref())
        }
        None => true,
    };
    let are_matrices = ctx.rank(a)? >= 2 && ctx.rank(b)? >= 2;
    if a_fits && b_fits && are_matrices {
        return matmul_integer(ctx, [Some(a), Some(b), a_zero, b_zero]);
    }
    let to = || Attrs::new().with("to", DType::I32);
    let left = match a_zero {
        Some(zero) => centred(ctx, a, zero, true)?,
        None => ctx.push(&CAST, &[a], to())?,
    };
    let right = match b_zero {
        Some(zero) => centred(ctx, b, zero, false)?,
        None => ctx.push(&CAST, &[b], to())?,
    };
    matmul(ctx, left, right)
}

/// A scale for rows of the left side or columns of the right, to multiply sums with.
fn row_scale(ctx: &mut RowCtx<'_, '_>, scale: ValueId) -> Result<ValueId, RowError> {
    let ty = ctx.ty(scale)?;
    match ty.rank() {
        1 if !ty.num_elements().is(1) => {
            reshape(ctx, scale, vec![ty.shape[0].clone(), Dim::new(1)])
        }
        _ => Ok(scale),
    }
}

fn qlinear_matmul(ctx: &mut RowCtx<'_, '_>) -> Built {
    let inputs = ctx.all_inputs()?;
    let [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero] =
        <[ValueId; 8]>::try_from(inputs)
            .map_err(|inputs| RowError::Invalid(format!("{} inputs, not 8", inputs.len())))?;
    let sums = integer_product(ctx, a, b, Some(a_zero), Some(b_zero))?;
    let rows = row_scale(ctx, a_scale)?;
    let scale = ctx.push(&MUL, &[rows, b_scale], Attrs::new())?;
    Ok(vec![requantized(ctx, sums, scale, (y_scale, y_zero), -1)?])
}

/// Drops axes of extent 1 in front that would raise the rank of what it multiplies.
fn at_most_rank(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    rank: usize,
) -> Result<ValueId, RowError> {
    let mut shape = ctx.ty(value)?.shape;
    while shape.len() > rank && shape.first().is_some_and(|extent| extent.is(1)) {
        shape.remove(0);
    }
    reshape(ctx, value, shape)
}

/// The elements of a value one for each channel, to go with `[N, C, spatial..]`; single ones stay.
pub(super) fn along_channels(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    rank: usize,
) -> Result<ValueId, RowError> {
    let ty = ctx.ty(value)?;
    if ty.rank() != 1 {
        return Ok(value);
    }
    let mut shape = vec![ty.shape[0].clone()];
    shape.resize(rank - 1, Dim::new(1));
    reshape(ctx, value, shape)
}

/// A convolution whose operands and result are quantized. The vendor's may have its channels last,
/// those of the filter stay where they are.
pub(super) fn qlinear_conv(ctx: &mut RowCtx<'_, '_>) -> Built {
    let mut inputs = Vec::new();
    for position in 0..8 {
        inputs.push(ctx.input(position)?);
    }
    let [x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero] = inputs[..] else {
        return Err(RowError::Invalid("8 inputs are needed".to_owned()));
    };
    let rank = ctx.rank(x)?;
    let is_last = ctx.flag("channels_last", false);
    let x = match is_last {
        true => channels_second(ctx, x)?,
        false => x,
    };
    let mut sums = integer_conv(ctx, x, w, Some(x_zero), Some(w_zero))?;
    if let Some(bias) = ctx.optional(8) {
        let bias = along_channels(ctx, bias, rank)?;
        sums = ctx.push(&ADD, &[sums, bias], Attrs::new())?;
    }
    let scale = ctx.push(&MUL, &[x_scale, w_scale], Attrs::new())?;
    let y = requantized(ctx, sums, scale, (y_scale, y_zero), 1)?;
    match is_last {
        true => Ok(vec![channels_last(ctx, y)?]),
        false => Ok(vec![y]),
    }
}

/// A convolution of quantized tensors in `i32`.
pub(super) fn integer_conv(
    ctx: &mut RowCtx<'_, '_>,
    x: ValueId,
    w: ValueId,
    x_zero: Option<ValueId>,
    w_zero: Option<ValueId>,
) -> Result<ValueId, RowError> {
    let attrs = conv_attrs(ctx, x, w)?;
    let name = ctx.name().to_owned();
    // A zero point for each channel that is the same everywhere is one zero point.
    let w_zero = match w_zero {
        Some(zero) => Some(single_if_equal(ctx, zero)?),
        None => None,
    };
    let operands = [Some(x), Some(w), x_zero, w_zero];
    Ok(ctx.graph().push(&CONV_INTEGER, &operands, attrs, &name)?[0])
}

fn single_if_equal(ctx: &mut RowCtx<'_, '_>, value: ValueId) -> Result<ValueId, RowError> {
    let Some(tensor) = ctx.as_constant(value) else {
        return Ok(value);
    };
    let values: Vec<Scalar> = tensor.to_scalars();
    match values.first() {
        Some(first) if values.len() > 1 && values.iter().all(|value| value == first) => {
            let single = Tensor::from_scalars(tensor.dtype(), &[], &[*first])
                .map_err(|error| RowError::Invalid(error.to_string()))?;
            Ok(ctx.constant(single))
        }
        _ => Ok(value),
    }
}
