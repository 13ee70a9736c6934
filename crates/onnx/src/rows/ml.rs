//! Operators of `ai.onnx.ml` that are made of others.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::activation::SIGMOID;
use alula_ops::elementwise::arithmetic::{ABS, EQ, EXP, GT, IS_NAN, LOG, NEG, NOT, SIGN, SQRT};
use alula_ops::host_ops::{LOOKUP, STRING_EQUAL};
use alula_ops::normalization::SOFTMAX;
use alula_ops::reduce::{REDUCE_L1, REDUCE_L2, REDUCE_MAX, REDUCE_SUM};
use alula_ops::shape::PAD;
use alula_tensor::{DType, Dim, Tensor};

use super::compose::{Value, one_of};
use super::{Built, Row, RowCtx, RowError};

pub(super) const fn row(
    op_type: &'static str,
    versions: &'static [i64],
    attrs: &'static [&'static str],
    build: fn(&mut RowCtx<'_, '_>) -> Built,
) -> Row {
    Row {
        domain: "ai.onnx.ml",
        op_type,
        versions,
        attrs,
        build,
    }
}

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("ArrayFeatureExtractor", &[1], &[], extractor),
    row("Binarizer", &[1], &["threshold"], |ctx| {
        let x = ctx.input(0)?;
        let dtype = ctx.ty(x)?.dtype;
        let threshold = ctx.number(x, ctx.float_or("threshold", 0.0))?;
        let above = ctx.op(&GT, &[x, threshold])?;
        Ok(vec![ctx.cast(above, dtype)?])
    }),
    row("Scaler", &[1], &["offset", "scale"], scaler),
    row("Normalizer", &[1], &["norm"], normalizer),
    row(
        "Imputer",
        &[1],
        &[
            "imputed_value_floats",
            "imputed_value_int64s",
            "replaced_value_float",
            "replaced_value_int64",
        ],
        imputer,
    ),
    row("FeatureVectorizer", &[1], &["inputdimensions"], vectorizer),
    row(
        "OneHotEncoder",
        &[1],
        &["cats_int64s", "cats_strings", "zeros"],
        one_hot_encoder,
    ),
    row(
        "LinearRegressor",
        &[1],
        &["coefficients", "intercepts", "post_transform", "targets"],
        linear_regressor,
    ),
];

/// A list of floats as a constant of these extents.
pub(super) fn table(ctx: &mut RowCtx<'_, '_>, values: &[f64], shape: &[usize]) -> Value {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let tensor = Tensor::from_slice(shape, &values);
    let tensor = tensor.map_err(|error| RowError::Invalid(error.to_string()))?;
    Ok(ctx.constant(tensor))
}

/// Features at positions.
fn extractor(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, at) = (ctx.input(0)?, ctx.input(1)?);
    let rank = ctx.rank(x)?;
    let count = ctx.ty(at)?.num_elements();
    let at = ctx.view(at, vec![count])?;
    if let Some(axis) = rank.checked_sub(1) {
        ctx.demand_within(at, x, axis)?;
    }
    // Strings are looked up where they are one row of labels, as exporters of classifiers have it.
    let labels = ctx.as_constant(x).filter(|labels| {
        let width = labels.shape().last().copied().unwrap_or(0);
        labels.dtype() == DType::String && labels.len() == width && matches!(rank, 1 | 2)
    });
    if let Some(labels) = labels {
        let at = ctx.unsqueeze(at, 0)?;
        return Ok(vec![labelled(ctx, &labels, at)?]);
    }
    match rank {
        0 => Err(RowError::Invalid("a scalar has no features".to_owned())),
        // A single axis is one row of features.
        1 => {
            let row = ctx.unsqueeze(x, 0)?;
            Ok(vec![ctx.gather(row, at, 1)?])
        }
        _ => Ok(vec![ctx.gather(x, at, rank - 1)?]),
    }
}

/// Labels, which are strings, at positions, of which negative ones count from the end.
pub(super) fn labelled(ctx: &mut RowCtx<'_, '_>, labels: &Tensor, at: ValueId) -> Value {
    let words = labels.strings().unwrap_or_default();
    let (count, twice) = (words.len() as i64, [words, words].concat());
    let made = |shape: &[usize], words| {
        let tensor = Tensor::from_strings(shape, words);
        tensor.map_err(|error| RowError::Invalid(error.to_string()))
    };
    let values = ctx.constant(made(&[twice.len()], twice)?);
    let none = ctx.constant(made(&[], vec![String::new()])?);
    let places = ctx.list(&(-count..count).collect::<Vec<i64>>());
    let at = ctx.cast(at, DType::I64)?;
    ctx.op(&LOOKUP, &[at, places, values, none])
}

/// `(x - offset) * scale`, each one number or one for each feature.
fn scaler(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let mut y = ctx.cast(x, DType::F32)?;
    if let Some(offset) = ctx.floats("offset") {
        let offset = table(ctx, &offset, &[offset.len()])?;
        y = ctx.sub(y, offset)?;
    }
    if let Some(scale) = ctx.floats("scale") {
        let scale = table(ctx, &scale, &[scale.len()])?;
        y = ctx.mul(y, scale)?;
    }
    Ok(vec![y])
}

/// Each row divided by a norm; rows of norm 0 stay.
fn normalizer(ctx: &mut RowCtx<'_, '_>) -> Built {
    let norm = ctx.str_or("norm", "MAX");
    let norm = one_of("norm", &norm, &["MAX", "L1", "L2"])?;
    let x = ctx.input(0)?;
    let x = ctx.cast(x, DType::F32)?;
    let rank = ctx.rank(x)? as i64;
    let op = [&REDUCE_MAX, &REDUCE_L1, &REDUCE_L2][norm];
    let size = ctx.reduce(op, x, vec![rank - 1], true)?;
    let (zero, one) = (ctx.number(size, 0.0)?, ctx.number(size, 1.0)?);
    let is_nothing = ctx.op(&EQ, &[size, zero])?;
    let size = ctx.select(is_nothing, one, size)?;
    Ok(vec![ctx.div(x, size)?])
}

/// Elements of one value, or NaNs, replaced by a number, or by one for each feature.
fn imputer(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let dtype = ctx.ty(x)?.dtype;
    let (values, replaced) = match dtype.is_float() {
        true => (
            ctx.floats("imputed_value_floats"),
            ctx.float_or("replaced_value_float", 0.0),
        ),
        false => (
            ctx.ints("imputed_value_int64s")
                .map(|values| values.into_iter().map(|value| value as f64).collect()),
            ctx.int_or("replaced_value_int64", 0) as f64,
        ),
    };
    let values = values.ok_or_else(|| RowError::Invalid("no values are given".to_owned()))?;
    let values = table(ctx, &values, &[values.len()])?;
    let values = ctx.cast(values, dtype)?;
    let is_replaced = match replaced.is_nan() {
        true => ctx.op(&IS_NAN, &[x])?,
        false => {
            let replaced = ctx.number(x, replaced)?;
            ctx.op(&EQ, &[x, replaced])?
        }
    };
    Ok(vec![ctx.select(is_replaced, values, x)?])
}

/// Rows of several operands, one behind the other; each has as many columns as it is said to have,
/// the last of them 0 where it has fewer.
fn vectorizer(ctx: &mut RowCtx<'_, '_>) -> Built {
    let inputs = ctx.all_inputs()?;
    let widths = ctx.ints("inputdimensions").unwrap_or_default();
    if widths.len() != inputs.len() || widths.iter().any(|width| *width < 0) {
        return Err(RowError::Invalid(format!(
            "attribute inputdimensions is {widths:?} for {} operands",
            inputs.len()
        )));
    }
    let mut parts = Vec::new();
    for (x, width) in inputs.into_iter().zip(widths) {
        let mut x = ctx.cast(x, DType::F32)?;
        if ctx.rank(x)? == 1 {
            x = ctx.unsqueeze(x, 0)?;
        }
        let ty = ctx.ty(x)?;
        let given = match ty.shape.as_slice() {
            [_, given] => given.as_const(),
            _ => return Err(RowError::Invalid(format!("features {ty}"))),
        };
        let given = given.ok_or_else(|| RowError::Unsupported(format!("features {ty}")))?;
        if given < width {
            let pads = [0, 0, 0, width - given].map(Dim::new).to_vec();
            let zero = ctx.number(x, 0.0)?;
            x = ctx.push(&PAD, &[x, zero], Attrs::new().with("pads", pads))?;
        }
        parts.push(ctx.part(x, 1, Dim::new(0), Dim::new(width))?);
    }
    Ok(vec![ctx.join(&parts, 1)?])
}

/// A new last axis that tells of each category whether the element is it; all of it is 0 if none
/// is, which only `zeros` allows.
fn one_hot_encoder(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let is_text = ty.dtype == DType::String;
    let categories = match is_text {
        true => ctx.strs("cats_strings").map(|words| {
            let tensor = Tensor::from_strings(&[words.len()], words);
            tensor.map_err(|error| RowError::Invalid(error.to_string()))
        }),
        false => ctx
            .ints("cats_int64s")
            .map(|numbers| Ok(Tensor::from_i64s(&numbers))),
    };
    let categories = categories
        .ok_or_else(|| RowError::Invalid(format!("there are no categories of {}", ty.dtype)))??;
    let categories = ctx.constant(categories);
    let x = match is_text {
        true => x,
        false => ctx.cast(x, DType::I64)?,
    };
    let x = ctx.unsqueeze(x, ty.rank())?;
    let op = if is_text { &STRING_EQUAL } else { &EQ };
    let same = ctx.op(op, &[x, categories])?;
    if !ctx.flag("zeros", true) {
        let any = ctx.reduce(&REDUCE_MAX, same, vec![ty.rank() as i64], false)?;
        let none = ctx.op(&NOT, &[any])?;
        ctx.refuse(none, "an element is of no category")?;
    }
    Ok(vec![ctx.cast(same, DType::F32)?])
}

/// What scores become in the end.
pub(super) fn post_transform(ctx: &mut RowCtx<'_, '_>, scores: ValueId) -> Value {
    let word = post_transform_word(ctx)?;
    transformed(ctx, scores, word)
}

/// The number that [`transformed`] takes.
pub(super) fn post_transform_word(ctx: &RowCtx<'_, '_>) -> Result<usize, RowError> {
    let word = ctx.str_or("post_transform", "NONE");
    let words = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"];
    one_of("post_transform", &word, &words)
}

/// 0: nothing, 1: softmax, 2: logistic, 3: softmax of what is not zero, 4: probit.
pub(super) fn transformed(ctx: &mut RowCtx<'_, '_>, scores: ValueId, word: usize) -> Value {
    match word {
        0 => Ok(scores),
        1 => ctx.push(&SOFTMAX, &[scores], Attrs::new().with("axis", -1_i64)),
        2 => ctx.op(&SIGMOID, &[scores]),
        3 => softmax_zero(ctx, scores),
        4 => probit(ctx, scores),
        _ => Err(RowError::Invalid(format!("post_transform {word}"))),
    }
}

/// A softmax in which scores of 0, within 1e-7, have no part, and stay.
fn softmax_zero(ctx: &mut RowCtx<'_, '_>, scores: ValueId) -> Value {
    let last = vec![ctx.rank(scores)? as i64 - 1];
    let best = ctx.reduce(&REDUCE_MAX, scores, last.clone(), true)?;
    let (size, least) = (ctx.op(&ABS, &[scores])?, ctx.number(scores, 1e-7)?);
    let counts = ctx.op(&GT, &[size, least])?;
    let below = ctx.sub(scores, best)?;
    let (own, zero) = (ctx.op(&EXP, &[below])?, ctx.number(scores, 0.0)?);
    let own = ctx.select(counts, own, zero)?;
    let sum = ctx.reduce(&REDUCE_SUM, own, last, true)?;
    let rest = ctx.op(&NEG, &[best])?;
    let rest = ctx.op(&EXP, &[rest])?;
    let rest = ctx.mul(scores, rest)?;
    let own = ctx.select(counts, own, rest)?;
    ctx.div(own, sum)
}

/// `sqrt(2) erfinv(2 x - 1)`, the inverse of the error function by Winitzki's approximation, which
/// is what engines compute.
fn probit(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Value {
    const A: f64 = 0.147;
    let x = ctx.times(x, 2.0)?;
    let x = ctx.plus(x, -1.0)?;
    let sign = ctx.op(&SIGN, &[x])?;
    let square = ctx.mul(x, x)?;
    let one = ctx.number(x, 1.0)?;
    let rest = ctx.sub(one, square)?;
    let log = ctx.op(&LOG, &[rest])?;
    let half = ctx.times(log, 0.5)?;
    let sum = ctx.plus(half, 2.0 / (std::f64::consts::PI * A))?;
    let first = ctx.mul(sum, sum)?;
    let second = ctx.times(log, 1.0 / A)?;
    let inner = ctx.sub(first, second)?;
    let root = ctx.op(&SQRT, &[inner])?;
    let root = ctx.sub(root, sum)?;
    let root = ctx.op(&SQRT, &[root])?;
    let inverse = ctx.mul(sign, root)?;
    ctx.times(inverse, std::f64::consts::SQRT_2)
}

fn linear_regressor(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let targets = usize::try_from(ctx.int_or("targets", 1)).unwrap_or(0);
    let factors = ctx.floats("coefficients").unwrap_or_default();
    if targets == 0 || factors.is_empty() || !factors.len().is_multiple_of(targets) {
        return Err(RowError::Invalid(format!(
            "{} coefficients for {targets} targets",
            factors.len()
        )));
    }
    let mut x = ctx.cast(x, DType::F32)?;
    if ty.rank() == 1 {
        x = ctx.view(x, vec![Dim::new(1), ty.shape[0].clone()])?;
    }
    let factors = table(ctx, &factors, &[targets, factors.len() / targets])?;
    let attrs = Attrs::new().with("transpose_b", true);
    let mut y = ctx.push(&MATMUL, &[x, factors], attrs)?;
    if let Some(offsets) = ctx.floats("intercepts") {
        let offsets = table(ctx, &offsets, &[offsets.len()])?;
        y = ctx.add(y, offsets)?;
    }
    Ok(vec![post_transform(ctx, y)?])
}
