//! Chances of classes out of chances of pairs of classes, by the second method of Wu, Lin and
//! Weng, "Probability estimates for multi-class classification by pairwise coupling" (2004), as
//! libsvm iterates it.
//!
//! The iteration ends early, for each row by itself: what it has by then is the result, which is
//! why the steps are libsvm's and not a solution of the equations.

use alula_ir::{Attr, Attrs, ValueId};
use alula_ops::control::LOOP;
use alula_ops::elementwise::arithmetic::{ABS, AND, GE};
use alula_ops::reduce::{REDUCE_MAX, REDUCE_SUM};
use alula_tensor::{DType, Dim, TensorType};

use super::compose::Value;
use super::ml::table;
use super::svm::pairs;
use super::{RowCtx, RowError};

const STEPS_MAX: i64 = 100;

/// `[rows, classes]` of chances `[rows, pairs]` of the first class of each pair.
pub(super) fn coupled(ctx: &mut RowCtx<'_, '_>, chances: ValueId, count: usize) -> Value {
    let rows = ctx.ty(chances)?.shape[0].clone();
    let matrix = couplings(ctx, chances, count)?;
    let (share, truth) = (
        ctx.scalar(DType::F32, 1.0 / count as f64)?,
        ctx.scalar(DType::F32, 1.0)?,
    );
    let shape = vec![rows.clone(), Dim::from(count)];
    let start = ctx.expand(share, shape)?;
    let goes_on = ctx.expand(truth, vec![rows, Dim::new(1)])?;
    let goes_on = ctx.cast(goes_on, DType::Bool)?;
    let types = [start, goes_on, matrix].map(|value| ctx.value_type(value));
    let (graph, captures) = ctx.in_graph("coupling", |ctx| {
        ctx.graph().input("step", TensorType::of(DType::I64, &[]));
        ctx.graph().input("any", TensorType::of(DType::Bool, &[]));
        let names = ["chances", "goes_on", "matrix"];
        let inputs = names.into_iter().zip(types);
        let inputs: Vec<ValueId> = inputs
            .map(|(name, ty)| ctx.graph().input(name, ty))
            .collect();
        let (chances, goes_on) = step(ctx, inputs[0], inputs[1], inputs[2])?;
        let any = ctx.reduce(&REDUCE_MAX, goes_on, vec![0, 1], false)?;
        ctx.graph().output("any", any);
        ctx.graph().output("chances", chances);
        ctx.graph().output("goes_on", goes_on);
        Ok(())
    })?;
    let steps = ctx.dim(Dim::new(STEPS_MAX))?;
    let mut operands = vec![Some(steps), None, Some(start), Some(goes_on), Some(matrix)];
    operands.extend(captures.into_iter().map(Some));
    let attrs = Attrs::new()
        .with("carried", 2_i64)
        .with("body", Attr::Graph(Box::new(graph)));
    let name = ctx.name().to_owned();
    let results = ctx
        .graph()
        .push_with_results(&LOOP, &operands, attrs, &name, 2)?;
    Ok(results[0])
}

/// The matrix of the equations, `[rows, classes, classes]`: with `r[i, j]` the chance of class `i`
/// against `j`, it holds `-r[j, i] r[i, j]`, and the sum of `r[j, i]^2` over `j` at `[i, i]`.
fn couplings(ctx: &mut RowCtx<'_, '_>, chances: ValueId, count: usize) -> Value {
    let rows = ctx.ty(chances)?.shape[0].clone();
    let many = count * (count - 1) / 2;
    let one = ctx.number(chances, 1.0)?;
    let others = ctx.sub(one, chances)?;
    let zero = ctx.number(chances, 0.0)?;
    let zero = ctx.expand(zero, vec![rows.clone(), Dim::new(1)])?;
    let all = ctx.join(&[chances, others, zero], 1)?;
    let mut places = vec![2 * many as i64; count * count];
    for (pair, (a, b)) in pairs(count).enumerate() {
        places[a * count + b] = pair as i64;
        places[b * count + a] = (many + pair) as i64;
    }
    let places = ctx.list(&places);
    let against = ctx.gather(all, places, 1)?;
    let against = ctx.view(against, vec![rows, Dim::from(count), Dim::from(count)])?;
    let turned = ctx.permute(against, &[0, 2, 1])?;
    let squares = ctx.mul(against, against)?;
    let squares = ctx.reduce(&REDUCE_SUM, squares, vec![1], false)?;
    let squares = ctx.unsqueeze(squares, 2)?;
    let eye: Vec<f64> = (0..count * count)
        .map(|at| if at / count == at % count { 1.0 } else { 0.0 })
        .collect();
    let eye = table(ctx, &eye, &[count, count])?;
    let diagonal = ctx.mul(squares, eye)?;
    let rest = ctx.mul(against, turned)?;
    ctx.sub(diagonal, rest)
}

/// A pass over all classes for the rows that go on: their chances, and which go on after it.
fn step(
    ctx: &mut RowCtx<'_, '_>,
    before: ValueId,
    goes_on: ValueId,
    matrix: ValueId,
) -> Result<(ValueId, ValueId), RowError> {
    let shape = ctx.ty(before)?.shape;
    let count = usize::try_from(shape[1].as_const().unwrap_or(0)).unwrap_or(0);
    let wide = ctx.unsqueeze(before, 1)?;
    let products = ctx.mul(matrix, wide)?;
    let mut slopes = ctx.reduce(&REDUCE_SUM, products, vec![2], false)?;
    let value = ctx.mul(before, slopes)?;
    let mut value = ctx.reduce(&REDUCE_SUM, value, vec![1], true)?;
    let apart = ctx.sub(slopes, value)?;
    let apart = ctx.op(&ABS, &[apart])?;
    let error = ctx.reduce(&REDUCE_MAX, apart, vec![1], true)?;
    let least = ctx.number(error, 0.005 / count as f64)?;
    let is_far = ctx.op(&GE, &[error, least])?;
    let goes_on = ctx.op(&AND, &[goes_on, is_far])?;
    let mut chances = before;
    for class in 0..count {
        let at = |ctx: &mut RowCtx<'_, '_>, x: ValueId, axis: usize| {
            ctx.part(x, axis, Dim::from(class), Dim::from(class + 1))
        };
        let line = at(ctx, matrix, 1)?;
        let line = ctx.view(line, shape.clone())?;
        let (own, slope) = (at(ctx, line, 1)?, at(ctx, slopes, 1)?);
        let more = ctx.sub(value, slope)?;
        let more = ctx.div(more, own)?;
        let whole = ctx.plus(more, 1.0)?;
        // The value at the new place, then everything scaled so that chances add up to 1.
        let (own, slope) = (ctx.mul(more, own)?, ctx.times(slope, 2.0)?);
        let gain = ctx.add(own, slope)?;
        let gain = ctx.mul(more, gain)?;
        value = ctx.add(value, gain)?;
        value = ctx.div(value, whole)?;
        value = ctx.div(value, whole)?;
        let change = ctx.mul(more, line)?;
        slopes = ctx.add(slopes, change)?;
        slopes = ctx.div(slopes, whole)?;
        let is_own: Vec<f64> = (0..count)
            .map(|other| if other == class { 1.0 } else { 0.0 })
            .collect();
        let is_own = table(ctx, &is_own, &[count])?;
        let change = ctx.mul(more, is_own)?;
        chances = ctx.add(chances, change)?;
        chances = ctx.div(chances, whole)?;
    }
    Ok((ctx.select(goes_on, chances, before)?, goes_on))
}
