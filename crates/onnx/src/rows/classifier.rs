//! `LinearClassifier` and `TreeEnsembleClassifier`, and what classifiers share: labels of classes,
//! and two scores where there is one of two classes.
//!
//! Scores are compiled; labels are positions of the greatest ones, and if they are strings, looked
//! up on the host.

use std::collections::BTreeSet;

use alula_ir::ValueId;
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::{GT, NEG};
use alula_ops::reduce::{ARGMAX, REDUCE_SUM};
use alula_tensor::{DType, Dim, Scalar, Tensor};

use super::compose::Value;
use super::ml::{labelled, post_transform_word, row, table, transformed};
use super::regressor::{floats, forest, invalid, rows_of, rows_of_trees, said};
use super::{Built, Row, RowCtx, RowError};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "LinearClassifier",
        &[1],
        &[
            "classlabels_ints",
            "classlabels_strings",
            "coefficients",
            "intercepts",
            // How the coefficients were found.
            "multi_class",
            "post_transform",
        ],
        linear_classifier,
    ),
    row(
        "TreeEnsembleClassifier",
        &[1, 3],
        &[
            "base_values",
            "base_values_as_tensor",
            "class_ids",
            "class_nodeids",
            "class_treeids",
            "class_weights",
            "class_weights_as_tensor",
            "classlabels_int64s",
            "classlabels_strings",
            "nodes_falsenodeids",
            "nodes_featureids",
            // How often nodes are visited: hints for engines.
            "nodes_hitrates",
            "nodes_hitrates_as_tensor",
            "nodes_missing_value_tracks_true",
            "nodes_modes",
            "nodes_nodeids",
            "nodes_treeids",
            "nodes_truenodeids",
            "nodes_values",
            "nodes_values_as_tensor",
            "post_transform",
        ],
        tree_ensemble_classifier,
    ),
];

pub(super) const NONE: usize = 0;
const PROBIT: usize = 4;

/// The labels of classes, of which there are two at least.
pub(super) fn labels(ctx: &RowCtx<'_, '_>, integers: &str) -> Result<Tensor, RowError> {
    let words = ctx.strs("classlabels_strings").unwrap_or_default();
    let numbers = ctx.ints(integers).unwrap_or_default();
    let labels = match (words.len(), numbers.len()) {
        (0, 0) => return Err(invalid("no labels are given")),
        (0, _) => Tensor::from_i64s(&numbers),
        (count, 0) => {
            Tensor::from_strings(&[count], words).map_err(|error| invalid(error.to_string()))?
        }
        _ => return Err(invalid("labels are given as strings and as integers")),
    };
    match labels.len() {
        // Engines differ in the label of what is not of that class, and in the scores.
        1 => Err(RowError::Unsupported(
            "a classifier of one class".to_owned(),
        )),
        _ => Ok(labels),
    }
}

/// Labels and scores; `at` is the class of each row.
pub(super) fn answer(
    ctx: &mut RowCtx<'_, '_>,
    labels: Tensor,
    at: ValueId,
    scores: ValueId,
) -> Built {
    let named = match labels.dtype() {
        DType::String => labelled(ctx, &labels, at)?,
        _ => {
            let labels = ctx.constant(labels);
            ctx.gather(labels, at, 0)?
        }
    };
    Ok(vec![named, scores])
}

/// The first of the greatest scores of each row.
pub(super) fn greatest(ctx: &mut RowCtx<'_, '_>, scores: ValueId) -> Value {
    let attrs = alula_ir::Attrs::new()
        .with("axis", 1_i64)
        .with("keepdims", false);
    ctx.push(&ARGMAX, &[scores], attrs)
}

/// 1 where the only score of a row, `[rows, 1]`, is above a number, else 0.
fn above(ctx: &mut RowCtx<'_, '_>, score: ValueId, least: f64) -> Value {
    let rows = ctx.ty(score)?.shape[0].clone();
    let score = ctx.view(score, vec![rows])?;
    let least = ctx.number(score, least)?;
    let is_above = ctx.op(&GT, &[score, least])?;
    ctx.cast(is_above, DType::I64)
}

/// `[-s, s]` of a score `[rows, 1]`, transformed. ONNX Runtime forgets the transformation unless
/// it is the logistic one of scores that may be negative.
pub(super) fn mirrored(ctx: &mut RowCtx<'_, '_>, score: ValueId, word: usize) -> Value {
    if word == PROBIT {
        let reason = "post_transform PROBIT of the one score of two classes";
        return Err(RowError::Unsupported(reason.to_owned()));
    }
    let other = ctx.op(&NEG, &[score])?;
    let both = ctx.join(&[other, score], 1)?;
    transformed(ctx, both, word)
}

/// `[1 - s, s]` of a score `[rows, 1]` that is the share of the second class.
fn shares(ctx: &mut RowCtx<'_, '_>, score: ValueId) -> Value {
    let one = ctx.number(score, 1.0)?;
    let other = ctx.sub(one, score)?;
    ctx.join(&[other, score], 1)
}

fn linear_classifier(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = rows_of(ctx, DType::F32)?;
    let labels = labels(ctx, "classlabels_ints")?;
    let factors = ctx.floats("coefficients").unwrap_or_default();
    let offsets = ctx.floats("intercepts");
    let width = ctx.ty(x)?.shape[1].as_const();
    let count = match (&offsets, width) {
        (Some(offsets), _) => offsets.len(),
        (None, Some(width)) => factors.len() / usize::try_from(width).unwrap_or(0).max(1),
        (None, None) => {
            let reason = "features of a number that is not known, and no intercepts";
            return Err(RowError::Unsupported(reason.to_owned()));
        }
    };
    let is_one = count == 1 && labels.len() == 2;
    if count == 0 || !factors.len().is_multiple_of(count) || (count != labels.len() && !is_one) {
        return Err(invalid(format!(
            "{} coefficients of {count} scores for {} labels",
            factors.len(),
            labels.len()
        )));
    }
    let factors = table(ctx, &factors, &[count, factors.len() / count])?;
    let attrs = alula_ir::Attrs::new().with("transpose_b", true);
    let mut scores = ctx.push(&MATMUL, &[x, factors], attrs)?;
    if let Some(offsets) = offsets {
        let offsets = table(ctx, &offsets, &[count])?;
        scores = ctx.add(scores, offsets)?;
    }
    let word = post_transform_word(ctx)?;
    let at = match is_one {
        true => above(ctx, scores, 0.0)?,
        false => greatest(ctx, scores)?,
    };
    let scores = match (is_one, word) {
        (false, _) => transformed(ctx, scores, word)?,
        (true, NONE) => shares(ctx, scores)?,
        (true, _) => mirrored(ctx, scores, word)?,
    };
    answer(ctx, labels, at, scores)
}

/// What the trees give each of `count` classes of each row, `[rows, count]`.
fn votes(ctx: &mut RowCtx<'_, '_>, count: usize) -> Value {
    let x = rows_of_trees(ctx)?;
    let ty = ctx.ty(x)?;
    let read = forest(ctx)?;
    let (weights, _) = said(ctx, "class", &read, count)?;
    let leaves = read.0.walk(ctx, x)?;
    let weights = numbers(ctx, ty.dtype, &weights, &[read.0.leaves, count])?;
    // `[rows, trees, classes]`.
    let own = ctx.gather(weights, leaves, 0)?;
    let sum = ctx.reduce(&REDUCE_SUM, own, vec![1], false)?;
    ctx.view(sum, vec![ty.shape[0].clone(), Dim::from(count)])
}

fn numbers(ctx: &mut RowCtx<'_, '_>, dtype: DType, values: &[f64], shape: &[usize]) -> Value {
    let values: Vec<Scalar> = values.iter().copied().map(Scalar::Float).collect();
    let tensor = Tensor::from_scalars(dtype, shape, &values);
    Ok(ctx.constant(tensor.map_err(|error| invalid(error.to_string()))?))
}

fn tree_ensemble_classifier(ctx: &mut RowCtx<'_, '_>) -> Built {
    let labels = labels(ctx, "classlabels_int64s")?;
    let count = labels.len();
    let spoken: BTreeSet<i64> = ctx
        .ints("class_ids")
        .unwrap_or_default()
        .into_iter()
        .collect();
    let only = match (count, spoken.len()) {
        (2, 1) => spoken.first().copied(),
        _ => None,
    };
    let (_, base) = floats(ctx, "base_values")?;
    let is_one = only == Some(0);
    let fits = base.is_empty() || base.len() == if is_one { 1 } else { count };
    if !fits || (only == Some(1) && !base.is_empty()) {
        // Of one score engines take the one or the other, or lose what the leaves say.
        return Err(RowError::Unsupported(format!(
            "{} base values of {count} classes, {} of them with weights",
            base.len(),
            spoken.len()
        )));
    }
    let mut scores = votes(ctx, count)?;
    if is_one {
        scores = ctx.part(scores, 1, Dim::new(0), Dim::new(1))?;
    }
    if !base.is_empty() {
        let dtype = ctx.ty(scores)?.dtype;
        let base = numbers(ctx, dtype, &base, &[base.len()])?;
        scores = ctx.add(scores, base)?;
    }
    let word = post_transform_word(ctx)?;
    let (_, weights) = floats(ctx, "class_weights")?;
    // Weights that are never negative are shares.
    let are_shares = weights.iter().all(|weight| *weight >= 0.0);
    let at = match only {
        None => greatest(ctx, scores)?,
        Some(_) => {
            let own = match is_one {
                true => scores,
                false => ctx.part(scores, 1, Dim::new(1), Dim::new(2))?,
            };
            let are_shares = are_shares && (word == NONE || !is_one);
            above(ctx, own, if are_shares { 0.5 } else { 0.0 })?
        }
    };
    let scores = ctx.cast(scores, DType::F32)?;
    let scores = match is_one {
        false => transformed(ctx, scores, word)?,
        true if word == NONE && are_shares => shares(ctx, scores)?,
        true => mirrored(ctx, scores, word)?,
    };
    answer(ctx, labels, at, scores)
}
