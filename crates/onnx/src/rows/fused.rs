//! Operators of `com.microsoft` that an optimizer makes of others: an operator with its
//! activation, embeddings with their norm.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::{CONV, MATMUL};
use alula_ops::elementwise::activation::{ELU, HARD_SIGMOID, LEAKY_RELU, RELU, SIGMOID, SOFTPLUS};
use alula_ops::elementwise::arithmetic::{EQ, TANH};
use alula_ops::elementwise::choice::CLIP;
use alula_ops::normalization::{LAYER_NORM, RMS_NORM};
use alula_ops::quantization::DEQUANTIZE_LINEAR;
use alula_ops::reduce::REDUCE_SUM;
use alula_tensor::{DType, Dim};

use super::compose::Value;
use super::contraction::conv_attrs;
use super::shape::{as_scalar, normal_axis};
use super::state::{Rotation, rotate};
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// [`CONV_ATTRS`](super::contraction::CONV_ATTRS), and what follows the convolution.
pub(super) const FUSED_CONV_ATTRS: &[&str] = &[
    "activation",
    "activation_params",
    "auto_pad",
    "dilations",
    "group",
    "kernel_shape",
    "pads",
    "strides",
];

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("FusedConv", FUSED_CONV_ATTRS, fused_conv),
    row(
        "FusedGemm",
        &[
            "activation",
            "activation_alpha",
            "activation_beta",
            "alpha",
            "beta",
            "transA",
            "transB",
        ],
        fused_gemm,
    ),
    row("ExpandDims", &[], |ctx| {
        let (x, axis) = (ctx.input(0)?, ctx.input(1)?);
        let axis = match ctx.const_ints(axis).as_deref() {
            Some([axis]) => *axis,
            _ => return Err(RowError::Unsupported("an axis that is computed".to_owned())),
        };
        let axis = normal_axis(axis, ctx.rank(x)? + 1)?;
        Ok(vec![ctx.unsqueeze(x, axis)?])
    }),
    row(
        "EmbedLayerNormalization",
        &["epsilon", "mask_index_type"],
        |ctx| {
            let tables = [2, 3, 4, 5, 6].map(|position| ctx.optional(position));
            let places = ctx.optional(8);
            embed_layer_norm(ctx, tables, places)
        },
    ),
    row("QEmbedLayerNormalization", &["epsilon"], |ctx| {
        let mut tables = [None; 5];
        for (k, table) in tables.iter_mut().enumerate() {
            if let Some(codes) = ctx.optional(2 + k) {
                let (scale, zero) = (ctx.input(8 + k)?, ctx.input(13 + k)?);
                let (scale, zero) = (as_scalar(ctx, scale)?, as_scalar(ctx, zero)?);
                *table = Some(ctx.op(&DEQUANTIZE_LINEAR, &[codes, scale, zero])?);
            }
        }
        embed_layer_norm(ctx, tables, None)
    }),
    row(
        "RotaryEmbedding",
        &[
            "interleaved",
            "is_packed_batching",
            "num_heads",
            "rotary_embedding_dim",
            "scale",
        ],
        rotary_embedding,
    ),
    // Older exporters leave this one in the main domain, too.
    Row {
        domain: "",
        op_type: "SimplifiedLayerNormalization",
        versions: &[1],
        attrs: &["axis", "epsilon", "stash_type"],
        build: |ctx| {
            if ctx.int_or("stash_type", 1) != 1 || ctx.wants(1) {
                let reason = "statistics as outputs or not in f32";
                return Err(RowError::Unsupported(reason.to_owned()));
            }
            let attrs = Attrs::new()
                .with("axis", ctx.int_or("axis", -1))
                .with("epsilon", ctx.float_or("epsilon", 1e-5));
            let (x, scale) = (ctx.input(0)?, ctx.input(1)?);
            Ok(vec![ctx.push(&RMS_NORM, &[x, scale], attrs)?])
        },
    },
];

/// The activation that an attribute names, with its one or two numbers.
pub(super) fn activated(ctx: &mut RowCtx<'_, '_>, x: ValueId, numbers: &[Option<f64>; 2]) -> Value {
    let word = ctx.str_or("activation", "");
    let number = |k: usize, default: f64| numbers[k].unwrap_or(default);
    let plain = Attrs::new;
    match word.as_str() {
        "" => Ok(x),
        "Relu" => ctx.op(&RELU, &[x]),
        "Sigmoid" => ctx.op(&SIGMOID, &[x]),
        "Tanh" => ctx.op(&TANH, &[x]),
        "Softplus" => ctx.op(&SOFTPLUS, &[x]),
        "Elu" => ctx.push(&ELU, &[x], plain().with("alpha", number(0, 1.0))),
        "LeakyRelu" => {
            let attrs = plain().with("alpha", number(0, 0.01));
            ctx.push(&LEAKY_RELU, &[x], attrs)
        }
        "HardSigmoid" => {
            let attrs = plain()
                .with("alpha", number(0, 0.2))
                .with("beta", number(1, 0.5));
            ctx.push(&HARD_SIGMOID, &[x], attrs)
        }
        "Clip" => {
            let (low, high) = (number(0, f64::NEG_INFINITY), number(1, f64::INFINITY));
            let (low, high) = (ctx.number(x, low)?, ctx.number(x, high)?);
            ctx.op(&CLIP, &[x, low, high])
        }
        other => Err(RowError::Unsupported(format!("activation {other:?}"))),
    }
}

/// A convolution, the sum with a fourth operand if there is one, and an activation.
fn fused_conv(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let attrs = conv_attrs(ctx, x, w)?;
    let operands = [Some(x), Some(w), ctx.optional(2)];
    let name = ctx.name().to_owned();
    let mut y = ctx.graph().push(&CONV, &operands, attrs, &name)?[0];
    if let Some(more) = ctx.optional(3) {
        y = ctx.add(y, more)?;
    }
    let numbers = ctx.floats("activation_params").unwrap_or_default();
    let numbers = [0, 1].map(|k| numbers.get(k).copied());
    Ok(vec![activated(ctx, y, &numbers)?])
}

fn fused_gemm(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    ctx.need_rank(0, 2)?;
    ctx.need_rank(1, 2)?;
    let attrs = Attrs::new()
        .with("transpose_a", ctx.flag("transA", false))
        .with("transpose_b", ctx.flag("transB", false));
    let product = ctx.push(&MATMUL, &[a, b], attrs)?;
    let mut y = ctx.times(product, ctx.float_or("alpha", 1.0))?;
    if let Some(c) = ctx.optional(2) {
        let c = ctx.times(c, ctx.float_or("beta", 1.0))?;
        y = ctx.add(y, c)?;
    }
    let numbers = [ctx.float("activation_alpha"), ctx.float("activation_beta")];
    Ok(vec![activated(ctx, y, &numbers)?])
}

/// Two inputs of which neither means anything without the other.
pub(super) fn both(ctx: &RowCtx<'_, '_>, at: [usize; 2]) -> Result<Option<[ValueId; 2]>, RowError> {
    match at.map(|position| ctx.optional(position)) {
        [Some(first), Some(second)] => Ok(Some([first, second])),
        [None, None] => Ok(None),
        [first, _] => {
            let [given, absent] = if first.is_some() { at } else { [at[1], at[0]] };
            Err(RowError::Invalid(format!(
                "input {given} is given without input {absent}"
            )))
        }
    }
}

/// The norm of the sum of word, position and segment embeddings, of which each has a table, as
/// have scale and shift. Places count from 0 where they are not given.
fn embed_layer_norm(
    ctx: &mut RowCtx<'_, '_>,
    tables: [Option<ValueId>; 5],
    places: Option<ValueId>,
) -> Built {
    let ids = ctx.input(0)?;
    let [
        Some(words),
        Some(positions),
        segments,
        Some(scale),
        Some(bias),
    ] = tables
    else {
        return Err(RowError::Invalid("a table is absent".to_owned()));
    };
    let ty = ctx.ty(ids)?;
    let [_, length] = <[Dim; 2]>::try_from(ty.shape.clone())
        .map_err(|_| RowError::Invalid(format!("{ty} is not [batch, length]")))?;
    ctx.demand_within(ids, words, 0)?;
    let mut sum = ctx.gather(words, ids, 0)?;
    let places = match places {
        Some(places) => places,
        None => ctx.iota(DType::I64, length)?,
    };
    ctx.demand_within(places, positions, 0)?;
    let places = ctx.gather(positions, places, 0)?;
    sum = ctx.add(sum, places)?;
    if let (Some([ids, _]), Some(segments)) = (both(ctx, [1, 4])?, segments) {
        ctx.demand_within(ids, segments, 0)?;
        let segments = ctx.gather(segments, ids, 0)?;
        sum = ctx.add(sum, segments)?;
    }
    let attrs = Attrs::new().with("epsilon", ctx.float_or("epsilon", 1e-12));
    let y = ctx.push(&LAYER_NORM, &[sum, scale, bias], attrs)?;
    let mut results = vec![y];
    if ctx.num_outputs() > 1 {
        results.push(mask_index(ctx, ids)?);
        results.push(sum);
    }
    results.truncate(ctx.num_outputs().max(1));
    Ok(results)
}

/// How many words of each sequence a mask lets count, or 0 without one.
fn mask_index(ctx: &mut RowCtx<'_, '_>, ids: ValueId) -> Value {
    let batch = ctx.ty(ids)?.shape[0].clone();
    match ctx.optional(7) {
        Some(mask) => {
            ctx.need_rank(7, 2)?;
            let one = ctx.number(mask, 1.0)?;
            let counts = ctx.op(&EQ, &[mask, one])?;
            let counts = ctx.cast(counts, DType::I32)?;
            ctx.reduce(&REDUCE_SUM, counts, vec![1], false)
        }
        None => {
            let zero = ctx.scalar(DType::I32, 0.0)?;
            ctx.expand(zero, vec![batch])
        }
    }
}

/// Positions are one offset or given for each token.
fn rotary_embedding(ctx: &mut RowCtx<'_, '_>) -> Built {
    if ctx.flag("is_packed_batching", false) || ctx.float_or("scale", 1.0) != 1.0 {
        let reason = "packed batches or a scale of positions";
        return Err(RowError::Unsupported(reason.to_owned()));
    }
    let (mut x, positions) = (ctx.input(0)?, ctx.input(1)?);
    let (cos, sin) = (ctx.input(2)?, ctx.input(3)?);
    let ty = ctx.ty(x)?;
    let half = match ctx.ty(cos)?.shape.as_slice() {
        [_, half] => half.clone(),
        _ => return Err(RowError::Invalid("cosines have not two axes".to_owned())),
    };
    let rotated = half * Dim::new(2);
    let heads = ctx.int_or("num_heads", 0);
    let (heads_first, length) = match ty.rank() {
        4 => (true, ty.shape[2].clone()),
        3 => {
            // Without a number of heads, each is as wide as what is rotated.
            let size = match heads {
                0 => rotated.clone(),
                heads => ty.shape[2].floor_div(&Dim::new(heads)),
            };
            let count = ty.shape[2].floor_div(&size);
            let [batch, length] = [ty.shape[0].clone(), ty.shape[1].clone()];
            x = ctx.view(x, vec![batch, length.clone(), count, size])?;
            (false, length)
        }
        _ => return Err(RowError::Invalid(format!("{ty} has not 3 or 4 axes"))),
    };
    let given = ctx.ty(positions)?;
    let places = match given.rank() {
        2 => positions,
        _ => {
            let offset = ctx.view(positions, vec![Dim::new(1), Dim::new(1)])?;
            let offset = ctx.cast(offset, DType::I64)?;
            let steps = ctx.iota(DType::I64, length.clone())?;
            let places = ctx.add(offset, steps)?;
            ctx.expand(places, vec![ty.shape[0].clone(), length])?
        }
    };
    ctx.demand_within(places, cos, 0)?;
    let (cos, sin) = (ctx.gather(cos, places, 0)?, ctx.gather(sin, places, 0)?);
    let wanted = ctx.int_or("rotary_embedding_dim", 0);
    if wanted != 0 && rotated.as_const().is_some_and(|rotated| rotated != wanted) {
        return Err(RowError::Invalid(format!(
            "rotary_embedding_dim {wanted} for {rotated} angles"
        )));
    }
    let how = Rotation {
        heads_first,
        interleaved: ctx.flag("interleaved", false),
        rotated,
    };
    let y = rotate(ctx, x, (cos, sin), &how)?;
    Ok(vec![ctx.view(y, ty.shape)?])
}
