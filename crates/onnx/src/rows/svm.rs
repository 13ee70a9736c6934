//! `SVMClassifier` and `SVMRegressor`: sums of kernels of a row and each support vector.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::activation::SIGMOID;
use alula_ops::elementwise::arithmetic::{EXP, GT, NEG, POW, TANH};
use alula_ops::elementwise::choice::CLIP;
use alula_ops::reduce::REDUCE_SUM;
use alula_tensor::DType;

use super::classifier::{NONE, answer, greatest, labels, mirrored};
use super::compose::{Value, one_of};
use super::coupling::coupled;
use super::ml::{post_transform_word, row, table, transformed};
use super::regressor::{invalid, rows_of};
use super::{Built, Row, RowCtx, RowError};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "SVMClassifier",
        &[1],
        &[
            "classlabels_ints",
            "classlabels_strings",
            "coefficients",
            "kernel_params",
            "kernel_type",
            "post_transform",
            "prob_a",
            "prob_b",
            "rho",
            "support_vectors",
            "vectors_per_class",
        ],
        svm_classifier,
    ),
    row(
        "SVMRegressor",
        &[1],
        &[
            "coefficients",
            "kernel_params",
            "kernel_type",
            "n_supports",
            "one_class",
            "post_transform",
            "rho",
            "support_vectors",
        ],
        svm_regressor,
    ),
];

/// Products of rows and vectors, `[rows, vectors]`.
fn products(ctx: &mut RowCtx<'_, '_>, x: ValueId, vectors: ValueId) -> Value {
    let attrs = Attrs::new().with("transpose_b", true);
    ctx.push(&MATMUL, &[x, vectors], attrs)
}

/// The kernel of each row and each of `count` support vectors, `[rows, vectors]`.
fn kernels(ctx: &mut RowCtx<'_, '_>, x: ValueId, count: usize) -> Value {
    let kind = ctx.str_or("kernel_type", "LINEAR");
    let kind = one_of("kernel_type", &kind, &["LINEAR", "POLY", "RBF", "SIGMOID"])?;
    let vectors = ctx.floats("support_vectors").unwrap_or_default();
    if vectors.is_empty() || !vectors.len().is_multiple_of(count) {
        return Err(invalid(format!(
            "{} numbers of {count} support vectors",
            vectors.len()
        )));
    }
    let params = ctx.floats("kernel_params").unwrap_or_default();
    let (gamma, offset, degree) = match params[..] {
        [] => (0.0, 0.0, 0.0),
        [gamma, offset, degree, ..] => (gamma, offset, degree),
        _ => return Err(invalid(format!("{} kernel_params", params.len()))),
    };
    let width = vectors.len() / count;
    let vectors = table(ctx, &vectors, &[count, width])?;
    let product = products(ctx, x, vectors)?;
    if kind == 2 {
        let x = ctx.unsqueeze(x, 1)?;
        let apart = ctx.sub(x, vectors)?;
        let square = ctx.mul(apart, apart)?;
        let distance = ctx.reduce(&REDUCE_SUM, square, vec![2], false)?;
        let distance = ctx.times(distance, -gamma)?;
        return ctx.op(&EXP, &[distance]);
    }
    if kind == 0 {
        return Ok(product);
    }
    let scaled = ctx.times(product, gamma)?;
    let moved = ctx.plus(scaled, offset)?;
    if kind == 3 {
        return ctx.op(&TANH, &[moved]);
    }
    match degree {
        2.0 => ctx.mul(moved, moved),
        3.0 => {
            let square = ctx.mul(moved, moved)?;
            ctx.mul(square, moved)
        }
        _ => {
            let degree = ctx.number(moved, degree)?;
            ctx.op(&POW, &[moved, degree])
        }
    }
}

fn svm_regressor(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = rows_of(ctx, DType::F32)?;
    if post_transform_word(ctx)? != NONE {
        // ONNX Runtime forgets it, ONNX's reference refuses it.
        return Err(RowError::Unsupported(
            "a post_transform of one number".to_owned(),
        ));
    }
    let count = usize::try_from(ctx.int_or("n_supports", 0)).unwrap_or(0);
    let factors = ctx.floats("coefficients").unwrap_or_default();
    let rho = ctx.floats("rho").unwrap_or_default();
    let (false, Some(&rho)) = (factors.is_empty(), rho.first()) else {
        return Err(invalid("coefficients or rho are absent"));
    };
    let kernels = match count {
        0 => x,
        _ if factors.len() == count => kernels(ctx, x, count)?,
        _ => {
            let given = factors.len();
            return Err(invalid(format!("{given} coefficients of {count} vectors")));
        }
    };
    let factors = table(ctx, &factors, &[1, factors.len()])?;
    let y = products(ctx, kernels, factors)?;
    let y = ctx.plus(y, rho)?;
    if !ctx.flag("one_class", false) {
        return Ok(vec![y]);
    }
    let zero = ctx.number(y, 0.0)?;
    let (inside, outside) = (ctx.number(y, 1.0)?, ctx.number(y, -1.0)?);
    let is_inside = ctx.op(&GT, &[y, zero])?;
    Ok(vec![ctx.select(is_inside, inside, outside)?])
}

/// Pairs of classes in order, the lesser first.
pub(super) fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

/// A list that has an element of each pair, if any.
fn of_pairs(ctx: &RowCtx<'_, '_>, name: &str, pairs: usize) -> Result<Vec<f64>, RowError> {
    let list = ctx.floats(name).unwrap_or_default();
    match list.len() {
        0 => Ok(list),
        given if given == pairs => Ok(list),
        given => Err(invalid(format!("{given} {name} of {pairs} pairs"))),
    }
}

/// What each support vector counts for each pair of classes, as a table `[vectors, pairs]`.
fn factors(ctx: &RowCtx<'_, '_>, per_class: &[usize], count: usize) -> Result<Vec<f64>, RowError> {
    let vectors: usize = per_class.iter().sum();
    let given = ctx.floats("coefficients").unwrap_or_default();
    if given.len() != vectors * (count - 1) {
        return Err(invalid(format!(
            "{} coefficients of {vectors} vectors and {count} classes",
            given.len()
        )));
    }
    let owners = per_class.iter().enumerate();
    let owners = owners.flat_map(|(class, many)| std::iter::repeat_n(class, *many));
    let mut table = Vec::with_capacity(given.len());
    for (vector, owner) in owners.enumerate() {
        for (a, b) in pairs(count) {
            // Each class has a row of coefficients for each other one.
            table.push(match owner {
                owner if owner == a => given[(b - 1) * vectors + vector],
                owner if owner == b => given[a * vectors + vector],
                _ => 0.0,
            });
        }
    }
    Ok(table)
}

/// How many pairs each class wins, by the signs of the scores of pairs: `[rows, classes]`.
fn votes(ctx: &mut RowCtx<'_, '_>, scores: ValueId, count: usize) -> Value {
    let mut wins = Vec::new();
    let mut losses = vec![0.0; count];
    for (a, b) in pairs(count) {
        let side = |class| match class {
            class if class == a => 1.0,
            class if class == b => -1.0,
            _ => 0.0,
        };
        wins.extend((0..count).map(side));
        losses[b] += 1.0;
    }
    let wins = table(ctx, &wins, &[wins.len() / count, count])?;
    let losses = table(ctx, &losses, &[count])?;
    let zero = ctx.number(scores, 0.0)?;
    let is_first = ctx.op(&GT, &[scores, zero])?;
    let is_first = ctx.cast(is_first, DType::F32)?;
    let won = ctx.op(&MATMUL, &[is_first, wins])?;
    ctx.add(won, losses)
}

fn svm_classifier(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = rows_of(ctx, DType::F32)?;
    let labels = labels(ctx, "classlabels_ints")?;
    let count = labels.len();
    let word = post_transform_word(ctx)?;
    let per_class = ctx.ints("vectors_per_class").unwrap_or_default();
    let per_class: Result<Vec<usize>, _> = per_class.into_iter().map(usize::try_from).collect();
    let per_class = per_class.map_err(|_| invalid("vectors_per_class are negative"))?;
    let vectors: usize = per_class.iter().sum();
    if vectors == 0 {
        let scores = linear_scores(ctx, x, count)?;
        let at = greatest(ctx, scores)?;
        let scores = transformed(ctx, scores, word)?;
        return answer(ctx, labels, at, scores);
    }
    if per_class.len() != count {
        let given = per_class.len();
        return Err(invalid(format!("vectors of {given} of {count} classes")));
    }
    let pairs = count * (count - 1) / 2;
    let rho = of_pairs(ctx, "rho", pairs)?;
    let (slopes, offsets) = (
        of_pairs(ctx, "prob_a", pairs)?,
        of_pairs(ctx, "prob_b", pairs)?,
    );
    if rho.is_empty() || slopes.len() != offsets.len() {
        return Err(invalid("rho, prob_a or prob_b are absent"));
    }
    let kernels = kernels(ctx, x, vectors)?;
    let factors = factors(ctx, &per_class, count)?;
    let factors = table(ctx, &factors, &[vectors, pairs])?;
    let scores = ctx.op(&MATMUL, &[kernels, factors])?;
    let rho = table(ctx, &rho, &[pairs])?;
    let scores = ctx.add(scores, rho)?;
    let won = votes(ctx, scores, count)?;
    let at = greatest(ctx, won)?;
    let scores = match slopes.is_empty() {
        false => {
            let chances = platt(ctx, scores, &slopes, &offsets)?;
            let chances = coupled(ctx, chances, count)?;
            transformed(ctx, chances, word)?
        }
        true if count == 2 => mirrored(ctx, scores, word)?,
        true => transformed(ctx, scores, word)?,
    };
    answer(ctx, labels, at, scores)
}

/// Scores of classes that have coefficients of features, and no support vectors.
fn linear_scores(ctx: &mut RowCtx<'_, '_>, x: ValueId, count: usize) -> Value {
    if count == 2 {
        // Engines differ in which of them a positive score speaks for.
        return Err(RowError::Unsupported(
            "two classes without support vectors".to_owned(),
        ));
    }
    let factors = ctx.floats("coefficients").unwrap_or_default();
    let rho = ctx.floats("rho").unwrap_or_default();
    let (true, Some(&rho)) = (factors.len().is_multiple_of(count), rho.first()) else {
        let given = factors.len();
        return Err(invalid(format!("{given} coefficients of {count} classes")));
    };
    let factors = table(ctx, &factors, &[count, factors.len() / count])?;
    let scores = products(ctx, x, factors)?;
    ctx.plus(scores, rho)
}

/// The chance of the first class of each pair, by Platt's scaling of the pair's score.
fn platt(ctx: &mut RowCtx<'_, '_>, scores: ValueId, slopes: &[f64], offsets: &[f64]) -> Value {
    let slopes = table(ctx, slopes, &[slopes.len()])?;
    let offsets = table(ctx, offsets, &[offsets.len()])?;
    let scaled = ctx.mul(scores, slopes)?;
    let scaled = ctx.add(scaled, offsets)?;
    let turned = ctx.op(&NEG, &[scaled])?;
    let chance = ctx.op(&SIGMOID, &[turned])?;
    let (least, most) = (ctx.number(chance, 1e-7)?, ctx.number(chance, 1.0 - 1e-7)?);
    ctx.op(&CLIP, &[chance, least, most])
}
