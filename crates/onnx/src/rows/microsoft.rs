//! Operators of the domain `com.microsoft`: quantized and fused forms, as what they are made of.

use alula_ir::{Attrs, OpDef, ValueId};
use alula_ops::elementwise::activation::{GELU, SILU};
use alula_ops::elementwise::arithmetic::{ADD, FMA, MUL};
use alula_ops::normalization::{LAYER_NORM, RMS_NORM};
use alula_ops::quantization::QUANTIZE_LINEAR;
use alula_ops::shape::{EXPAND, TRANSPOSE};
use alula_tensor::{DType, Dim, Tensor};

use super::contraction::reshape;
use super::quantization::{
    dequantize, dynamic_quantize, integer_product, quantize, requantized, scaled_sums,
};
use super::recurrent::{Quantized, Sources, lstm_of};
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("QuantizeLinear", &["axis"], quantize),
    row("DequantizeLinear", &["axis"], dequantize),
    row("QLinearAdd", &[], qlinear_add),
    row("QLinearMul", &[], qlinear_mul),
    row("QGemm", &["alpha", "transA", "transB"], qgemm),
    row("MatMulIntegerToFloat", &[], |ctx| {
        let [a, b, a_scale, b_scale] = [0, 1, 2, 3].map(|position| ctx.input(position));
        let scale = ctx.push(&MUL, &[a_scale?, b_scale?], Attrs::new())?;
        let (a_zero, b_zero) = (ctx.optional(4), ctx.optional(5));
        let value = real_product(ctx, [a?, b?], [a_zero, b_zero], scale)?;
        biased(ctx, value, ctx.optional(6))
    }),
    row("DynamicQuantizeMatMul", &[], |ctx| {
        let (a, b, b_scale) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
        let [a, a_scale, a_zero] = dynamic_quantize(ctx, a)?;
        let scale = ctx.push(&MUL, &[a_scale, b_scale], Attrs::new())?;
        let b_zero = ctx.optional(3);
        let value = real_product(ctx, [a, b], [Some(a_zero), b_zero], scale)?;
        biased(ctx, value, ctx.optional(4))
    }),
    row(
        "DynamicQuantizeLSTM",
        &[
            "activation_alpha",
            "activation_beta",
            "activations",
            "clip",
            "direction",
            "hidden_size",
            "input_forget",
        ],
        quantized_lstm,
    ),
    row("BiasGelu", &[], |ctx| {
        let (x, bias) = (ctx.input(0)?, ctx.input(1)?);
        let sum = ctx.push(&ADD, &[x, bias], Attrs::new())?;
        Ok(vec![ctx.push(&GELU, &[sum], Attrs::new())?])
    }),
    row("Gelu", &[], |ctx| {
        let x = ctx.input(0)?;
        Ok(vec![ctx.push(&GELU, &[x], Attrs::new())?])
    }),
    row("FastGelu", &[], |ctx| {
        let x = ctx.input(0)?;
        let x = biased(ctx, x, ctx.optional(1))?[0];
        Ok(vec![ctx.push(
            &GELU,
            &[x],
            Attrs::new().with("tanh", true),
        )?])
    }),
    row("QuickGelu", &["alpha"], |ctx| {
        let x = ctx.input(0)?;
        let attrs = Attrs::new().with("alpha", ctx.float_or("alpha", 1.702));
        Ok(vec![ctx.push(&SILU, &[x], attrs)?])
    }),
    row("SkipLayerNormalization", &["epsilon"], |ctx| {
        let (x, bias) = (ctx.optional(3), ctx.optional(4));
        skip_norm(ctx, &LAYER_NORM, x, bias)
    }),
    row("SkipSimplifiedLayerNormalization", &["epsilon"], |ctx| {
        let bias = ctx.optional(3);
        skip_norm(ctx, &RMS_NORM, None, bias)
    }),
];

pub(super) fn biased(ctx: &mut RowCtx<'_, '_>, value: ValueId, bias: Option<ValueId>) -> Built {
    match bias {
        Some(bias) => Ok(vec![ctx.push(&ADD, &[value, bias], Attrs::new())?]),
        None => Ok(vec![value]),
    }
}

/// A quantized operand's zero point as `f32`; 0 where it is absent.
pub(super) fn zero_of(ctx: &mut RowCtx<'_, '_>, position: usize) -> Result<ValueId, RowError> {
    match ctx.optional(position) {
        Some(zero) => ctx.cast(zero, DType::F32),
        None => ctx.scalar(DType::F32, 0.0),
    }
}

/// Steps of the result, rounded and cut to its dtype.
pub(super) fn in_steps(ctx: &mut RowCtx<'_, '_>, steps: ValueId, dtype: DType) -> Built {
    let one = ctx.scalar(DType::F32, 1.0)?;
    let attrs = Attrs::new().with("dtype", dtype);
    Ok(vec![ctx.push(&QUANTIZE_LINEAR, &[steps, one], attrs)?])
}

/// A sum of quantized operands in steps of the result, in `f32` and as ONNX Runtime rounds it:
/// `a * ra + (b * rb + z)`, each product and sum rounded once, where the factors are each scale
/// over the result's and `z` is what the zero points make.
fn qlinear_add(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (a, b, y_scale) = (ctx.input(0)?, ctx.input(3)?, ctx.input(6)?);
    let dtype = ctx.ty(a)?.dtype;
    let [a_ratio, b_ratio] = [ctx.input(1)?, ctx.input(4)?].map(|scale| ctx.div(scale, y_scale));
    let (a_ratio, b_ratio) = (a_ratio?, b_ratio?);
    let (a_zero, b_zero, zero) = (zero_of(ctx, 2)?, zero_of(ctx, 5)?, zero_of(ctx, 7)?);
    let (a_moved, b_moved) = (ctx.mul(a_ratio, a_zero)?, ctx.mul(b_ratio, b_zero)?);
    let moved = ctx.add(a_moved, b_moved)?;
    let mut sum = ctx.sub(zero, moved)?;
    for (value, ratio) in [(b, b_ratio), (a, a_ratio)] {
        let value = ctx.cast(value, DType::F32)?;
        sum = ctx.push(&FMA, &[value, ratio, sum], Attrs::new())?;
    }
    in_steps(ctx, sum, dtype)
}

/// A product of quantized operands in steps of the result, as ONNX Runtime rounds it: the exact
/// product of both times one ratio of scales, plus the zero point, rounded once.
fn qlinear_mul(ctx: &mut RowCtx<'_, '_>) -> Built {
    let dtype = {
        let a = ctx.input(0)?;
        ctx.ty(a)?.dtype
    };
    let (a_scale, b_scale, y_scale) = (ctx.input(1)?, ctx.input(4)?, ctx.input(6)?);
    let ratio = ctx.mul(a_scale, b_scale)?;
    let ratio = ctx.div(ratio, y_scale)?;
    let [a, b] = [(0, 2), (3, 5)].map(|(value, zero)| {
        let (value, zero) = (ctx.input(value)?, zero_of(ctx, zero)?);
        let value = ctx.cast(value, DType::F32)?;
        ctx.sub(value, zero)
    });
    let product = ctx.mul(a?, b?)?;
    let zero = zero_of(ctx, 7)?;
    let steps = ctx.push(&FMA, &[product, ratio, zero], Attrs::new())?;
    in_steps(ctx, steps, dtype)
}

/// The product of quantized matrices as real numbers.
pub(super) fn real_product(
    ctx: &mut RowCtx<'_, '_>,
    [a, b]: [ValueId; 2],
    [a_zero, b_zero]: [Option<ValueId>; 2],
    scale: ValueId,
) -> Result<ValueId, RowError> {
    let sums = integer_product(ctx, a, b, a_zero, b_zero)?;
    scaled_sums(ctx, sums, scale)
}

fn transposed(ctx: &mut RowCtx<'_, '_>, value: ValueId, when: bool) -> Result<ValueId, RowError> {
    match when {
        true => ctx.push(
            &TRANSPOSE,
            &[value],
            Attrs::new().with("perm", vec![1_i64, 0]),
        ),
        false => Ok(value),
    }
}

fn qgemm(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (a, b) = (ctx.input(0)?, ctx.input(3)?);
    let a = transposed(ctx, a, ctx.flag("transA", false))?;
    let b = transposed(ctx, b, ctx.flag("transB", false))?;
    let (a_zero, b_zero) = (ctx.input(2)?, ctx.input(5)?);
    let mut sums = integer_product(ctx, a, b, Some(a_zero), Some(b_zero))?;
    if let Some(bias) = ctx.optional(6) {
        sums = ctx.push(&ADD, &[sums, bias], Attrs::new())?;
    }
    let (mut a_scale, b_scale) = (ctx.input(1)?, ctx.input(4)?);
    let alpha = ctx.float_or("alpha", 1.0);
    if alpha != 1.0 {
        let dtype = ctx.ty(a_scale)?.dtype;
        let alpha = ctx.scalar(dtype, alpha)?;
        a_scale = ctx.push(&MUL, &[a_scale, alpha], Attrs::new())?;
    }
    let scale = ctx.push(&MUL, &[a_scale, b_scale], Attrs::new())?;
    match (ctx.optional(7), ctx.optional(8)) {
        (Some(y_scale), Some(zero)) => {
            Ok(vec![requantized(ctx, sums, scale, (y_scale, zero), -1)?])
        }
        _ => Ok(vec![scaled_sums(ctx, sums, scale)?]),
    }
}

/// Elements of as many bits as `dtype` has, dense and the lowest first, one a byte: rows of
/// `count` in rows of whole bytes.
pub(super) fn unpacked(bytes: &[u8], dtype: DType, rows: usize, count: usize) -> Option<Tensor> {
    let bits = dtype.bits() as usize;
    let per_byte = 8 / bits;
    let row_bytes = bytes.len().checked_div(rows)?;
    if row_bytes < count.div_ceil(per_byte) {
        return None;
    }
    let mask = ((1_u16 << bits) - 1) as u8;
    let mut tensor = Tensor::zeros(dtype, &[rows, count]).ok()?;
    let out = tensor.bytes_mut().chunks_exact_mut(count.max(1));
    for (out, row) in out.zip(bytes.chunks_exact(row_bytes.max(1))) {
        for (k, out) in out.iter_mut().enumerate() {
            *out = row[k / per_byte] >> (k % per_byte * bits) & mask;
        }
    }
    Some(tensor)
}

/// A scale or zero point of each direction, or of each column of it, as one of each column:
/// `[D, columns]`.
fn for_columns(
    ctx: &mut RowCtx<'_, '_>,
    param: ValueId,
    to: &[Dim; 2],
) -> Result<ValueId, RowError> {
    let given = ctx.ty(param)?;
    let shape = match given.shape.as_slice() {
        [] => Vec::new(),
        [directions] => vec![directions.clone(), Dim::new(1)],
        [_, _] => given.shape.clone(),
        _ => {
            return Err(RowError::Invalid(format!(
                "scale or zero point {given} of weights"
            )));
        }
    };
    let param = reshape(ctx, param, shape)?;
    ctx.push(&EXPAND, &[param], Attrs::new().with("to", to.to_vec()))
}

/// An LSTM whose weights `[D, I, G*H]` and `[D, H, G*H]` are bytes, and whose inputs and states are
/// quantized as they come: inputs by the range of all steps, states by that of their step.
fn quantized_lstm(ctx: &mut RowCtx<'_, '_>) -> Built {
    let mut turned = Vec::new();
    let mut params = Vec::new();
    for [weights, scale, zero] in [[1, 8, 9], [2, 10, 11]] {
        let weights = ctx.input(weights)?;
        let ty = ctx.ty(weights)?;
        if ty.rank() != 3 {
            return Err(RowError::Invalid(format!(
                "weights {ty} must have three axes"
            )));
        }
        let to = [ty.shape[0].clone(), ty.shape[2].clone()];
        let scale = ctx.input(scale)?;
        params.push(Some(for_columns(ctx, scale, &to)?));
        params.push(match ctx.optional(zero) {
            Some(zero) if !is_zero(ctx, zero) => Some(for_columns(ctx, zero, &to)?),
            _ => None,
        });
        let attrs = Attrs::new().with("perm", vec![0_i64, 2, 1]);
        turned.push(ctx.push(&TRANSPOSE, &[weights], attrs)?);
    }
    let [Some(w_scale), w_zero, Some(r_scale), r_zero] = params[..] else {
        return Err(RowError::Invalid("weights need scales".to_owned()));
    };
    let sources = Sources {
        x: ctx.input(0)?,
        w: turned[0],
        r: turned[1],
        bias: ctx.optional(3),
        quantized: Some(Quantized {
            w_scale,
            w_zero,
            r_scale,
            r_zero,
        }),
    };
    lstm_of(ctx, &sources)
}

/// Whether a value is known to be nothing but zeros.
fn is_zero(ctx: &mut RowCtx<'_, '_>, value: ValueId) -> bool {
    ctx.as_constant(value).is_some_and(|tensor| {
        let mut values = tensor.to_scalars().into_iter();
        values.all(|value| !value.is_true())
    })
}

/// `norm(x + skip + bias)`; the fourth result is the sum.
fn skip_norm(
    ctx: &mut RowCtx<'_, '_>,
    norm: &'static OpDef,
    beta: Option<ValueId>,
    bias: Option<ValueId>,
) -> Built {
    if ctx.wants(1) || ctx.wants(2) {
        return Err(RowError::Unsupported("statistics as outputs".to_owned()));
    }
    let (x, skip, gamma) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let mut sum = ctx.push(&ADD, &[x, skip], Attrs::new())?;
    if let Some(bias) = bias {
        sum = ctx.push(&ADD, &[sum, bias], Attrs::new())?;
    }
    let attrs = Attrs::new().with("epsilon", ctx.float_or("epsilon", 1e-12));
    let mut operands = vec![sum, gamma];
    operands.extend(beta);
    let value = ctx.push(norm, &operands, attrs)?;
    // Nothing uses the second and third result.
    let mut results = vec![value, value, value, sum];
    results.truncate(ctx.num_outputs().max(1));
    Ok(results)
}
