//! `Einsum`: any equation, as diagonals, sums, transposes and one product for each pair.

use std::collections::BTreeMap;

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::{EQ, MUL};
use alula_ops::elementwise::choice::CAST;
use alula_ops::reduce::REDUCE_SUM;
use alula_ops::shape::{RANGE, TRANSPOSE};
use alula_tensor::{Dim, Tensor};

use super::contraction::reshape;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row("Einsum", &[12, 28], &["equation"], einsum)];

/// The name of an axis: a letter, or a position within the ellipsis counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// A value whose axes have distinct names.
#[derive(Clone, Debug)]
struct Term {
    value: ValueId,
    labels: Vec<Label>,
}

fn invalid(equation: &str, why: &str) -> RowError {
    RowError::Invalid(format!("equation {equation:?}: {why}"))
}

/// The labels of one side of an equation, with `rank` axes where that is known.
fn labels(equation: &str, text: &str, hidden: usize) -> Result<Vec<Label>, RowError> {
    let mut labels = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            labels.extend((0..hidden).rev().map(Label::Ellipsis));
            rest = after;
        } else if first.is_ascii_alphabetic() {
            labels.push(Label::Letter(first));
            rest = &rest[1..];
        } else {
            return Err(invalid(equation, "only letters and one ellipsis are known"));
        }
    }
    Ok(labels)
}

fn einsum(ctx: &mut RowCtx<'_, '_>) -> Built {
    let equation = ctx.str_or("equation", "");
    let clean: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match clean.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (clean.as_str(), None),
    };
    let texts: Vec<&str> = left.split(',').collect();
    let inputs = ctx.all_inputs()?;
    if texts.len() != inputs.len() {
        return Err(invalid(
            &equation,
            &format!("{} operands are given", inputs.len()),
        ));
    }
    let mut terms = Vec::new();
    let mut extents: BTreeMap<Label, Dim> = BTreeMap::new();
    for (text, value) in texts.iter().zip(inputs) {
        let shape = ctx.ty(value)?.shape;
        let letters = text.chars().filter(char::is_ascii_alphabetic).count();
        let hidden = shape.len().checked_sub(letters);
        let hidden = hidden.ok_or_else(|| invalid(&equation, &format!("{text} has too many")))?;
        let labels = labels(&equation, text, hidden)?;
        if labels.len() != shape.len() {
            return Err(invalid(
                &equation,
                &format!("{text} does not name {} axes", shape.len()),
            ));
        }
        for (label, extent) in labels.iter().zip(&shape) {
            let known = extents.entry(*label).or_insert_with(|| extent.clone());
            if known.is(1) {
                known.clone_from(extent);
            }
        }
        terms.push(distinct(ctx, value, &labels)?);
    }
    let widest = terms.iter().flat_map(|term| &term.labels);
    let hidden = widest
        .filter_map(|label| match label {
            Label::Ellipsis(position) => Some(position + 1),
            Label::Letter(_) => None,
        })
        .max()
        .unwrap_or(0);
    let output = match right {
        Some(right) => labels(&equation, right, hidden)?,
        None => implicit(left, hidden),
    };
    if output.iter().any(|label| !extents.contains_key(label)) {
        return Err(invalid(
            &equation,
            "the result has an axis that no operand has",
        ));
    }
    let mut terms = terms.into_iter();
    let mut sum = terms
        .next()
        .ok_or_else(|| invalid(&equation, "no operand"))?;
    let rest: Vec<Term> = terms.collect();
    for (position, term) in rest.iter().enumerate() {
        let later = |label: &Label| {
            output.contains(label)
                || rest[position + 1..]
                    .iter()
                    .any(|term| term.labels.contains(label))
        };
        sum = product(ctx, &sum, term, &later, &extents)?;
    }
    let kept: Vec<Label> = sum
        .labels
        .iter()
        .copied()
        .filter(|l| output.contains(l))
        .collect();
    let sum = reduced(ctx, &sum, &kept)?;
    let value = arranged(ctx, &sum, &output)?;
    Ok(vec![value])
}

/// Without an arrow: the ellipsis, and then the letters that occur once, in order.
fn implicit(left: &str, hidden: usize) -> Vec<Label> {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for letter in left.chars().filter(char::is_ascii_alphabetic) {
        *counts.entry(letter).or_default() += 1;
    }
    let ellipsis = (0..hidden).rev().map(Label::Ellipsis);
    let once = counts.into_iter().filter(|(_, count)| *count == 1);
    ellipsis
        .chain(once.map(|(letter, _)| Label::Letter(letter)))
        .collect()
}

/// A term with each label once: the diagonal where one is repeated, as a masked sum.
fn distinct(ctx: &mut RowCtx<'_, '_>, value: ValueId, labels: &[Label]) -> Result<Term, RowError> {
    let mut term = Term {
        value,
        labels: labels.to_vec(),
    };
    loop {
        let repeated = (0..term.labels.len()).find_map(|second| {
            let first = term.labels[..second]
                .iter()
                .position(|l| *l == term.labels[second])?;
            Some((first, second))
        });
        let Some((first, second)) = repeated else {
            return Ok(term);
        };
        let ty = ctx.ty(term.value)?;
        let line = |ctx: &mut RowCtx<'_, '_>, axis: usize| {
            let zero = ctx.constant(Tensor::scalar(0_i64));
            let one = ctx.constant(Tensor::scalar(1_i64));
            let count = Attrs::new().with("count", vec![ty.shape[axis].clone()]);
            let line = ctx.push(&RANGE, &[zero, one], count)?;
            let mut shape = vec![ty.shape[axis].clone()];
            shape.resize(ty.rank() - axis, Dim::new(1));
            reshape(ctx, line, shape)
        };
        let (rows, columns) = (line(ctx, first)?, line(ctx, second)?);
        let same = ctx.push(&EQ, &[rows, columns], Attrs::new())?;
        let mask = ctx.push(&CAST, &[same], Attrs::new().with("to", ty.dtype))?;
        let masked = ctx.push(&MUL, &[term.value, mask], Attrs::new())?;
        let attrs = Attrs::new()
            .with("axes", vec![second as i64])
            .with("keepdims", false);
        term.value = ctx.push(&REDUCE_SUM, &[masked], attrs)?;
        term.labels.remove(second);
    }
}

/// Sums over the axes that are not kept.
fn reduced(ctx: &mut RowCtx<'_, '_>, term: &Term, kept: &[Label]) -> Result<Term, RowError> {
    let axes: Vec<i64> = (0..term.labels.len())
        .filter(|&axis| !kept.contains(&term.labels[axis]))
        .map(|axis| axis as i64)
        .collect();
    if axes.is_empty() {
        return Ok(term.clone());
    }
    let attrs = Attrs::new().with("axes", axes).with("keepdims", false);
    let value = ctx.push(&REDUCE_SUM, &[term.value], attrs)?;
    let labels = term
        .labels
        .iter()
        .copied()
        .filter(|label| kept.contains(label))
        .collect();
    Ok(Term { value, labels })
}

/// The value with its axes in this order; all of them are there.
fn arranged(ctx: &mut RowCtx<'_, '_>, term: &Term, order: &[Label]) -> Result<ValueId, RowError> {
    let perm: Option<Vec<i64>> = order
        .iter()
        .map(|label| {
            term.labels
                .iter()
                .position(|own| own == label)
                .map(|axis| axis as i64)
        })
        .collect();
    let perm = perm
        .filter(|perm| perm.len() == term.labels.len())
        .ok_or_else(|| {
            RowError::Unsupported("an equation whose result repeats an axis".to_owned())
        })?;
    if perm
        .iter()
        .enumerate()
        .all(|(axis, from)| axis as i64 == *from)
    {
        return Ok(term.value);
    }
    ctx.push(&TRANSPOSE, &[term.value], Attrs::new().with("perm", perm))
}

/// The product of two terms, summed over what is not needed later.
fn product(
    ctx: &mut RowCtx<'_, '_>,
    a: &Term,
    b: &Term,
    later: &dyn Fn(&Label) -> bool,
    extents: &BTreeMap<Label, Dim>,
) -> Result<Term, RowError> {
    // Sums over axes of one side alone come first.
    let keep = |term: &Term, other: &Term| -> Vec<Label> {
        let needed = |label: &&Label| later(label) || other.labels.contains(label);
        term.labels.iter().filter(needed).copied().collect()
    };
    let (a_kept, b_kept) = (keep(a, b), keep(b, a));
    let (a, b) = (reduced(ctx, a, &a_kept)?, reduced(ctx, b, &b_kept)?);
    let both = |label: &Label| a.labels.contains(label) && b.labels.contains(label);
    let batch: Vec<Label> = a
        .labels
        .iter()
        .copied()
        .filter(|l| both(l) && later(l))
        .collect();
    let summed: Vec<Label> = a
        .labels
        .iter()
        .copied()
        .filter(|l| both(l) && !later(l))
        .collect();
    let rows: Vec<Label> = a.labels.iter().copied().filter(|l| !both(l)).collect();
    let columns: Vec<Label> = b.labels.iter().copied().filter(|l| !both(l)).collect();
    let (a_shape, b_shape) = (ctx.ty(a.value)?.shape, ctx.ty(b.value)?.shape);
    let own = |term: &Term, shape: &[Dim], label: &Label| {
        let axis = term.labels.iter().position(|own| own == label);
        axis.map_or(Dim::new(1), |axis| shape[axis].clone())
    };
    let flat = |term: &Term, shape: &[Dim], labels: &[Label]| -> Dim {
        labels.iter().map(|label| own(term, shape, label)).product()
    };
    // An extent of 1 in one operand only repeats; the product cannot sum over that.
    if summed
        .iter()
        .any(|l| own(&a, &a_shape, l).is(1) != own(&b, &b_shape, l).is(1))
    {
        return Err(RowError::Unsupported(
            "a summed axis of extent 1 in one operand".to_owned(),
        ));
    }
    let join = |parts: [&[Label]; 3]| parts.concat();
    let left = arranged(ctx, &a, &join([&batch, &rows, &summed]))?;
    let right = arranged(ctx, &b, &join([&batch, &columns, &summed]))?;
    let matrix = |term: &Term, shape: &[Dim], free: &[Label]| {
        let mut to: Vec<Dim> = batch.iter().map(|label| own(term, shape, label)).collect();
        to.extend([flat(term, shape, free), flat(term, shape, &summed)]);
        to
    };
    let left = reshape(ctx, left, matrix(&a, &a_shape, &rows))?;
    let right = reshape(ctx, right, matrix(&b, &b_shape, &columns))?;
    let turned = Attrs::new().with("transpose_b", true);
    let value = ctx.push(&MATMUL, &[left, right], turned)?;
    let labels = join([&batch, &rows, &columns]);
    let to = labels
        .iter()
        .map(|label| match both(label) {
            true => extents[label].clone(),
            false if a.labels.contains(label) => own(&a, &a_shape, label),
            false => own(&b, &b_shape, label),
        })
        .collect();
    let value = reshape(ctx, value, to)?;
    Ok(Term { value, labels })
}
