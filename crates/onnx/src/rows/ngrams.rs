//! `NGramRepeatBlock` of `com.microsoft`: tokens that would repeat a run of tokens are ruled out.

use alula_ir::Attrs;
use alula_ops::elementwise::arithmetic::{AND, EQ};
use alula_ops::indexing::SCATTER_ELEMENTS;
use alula_tensor::Dim;

use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row("NGramRepeatBlock", &["ngram_size"], block_repeats)];

/// Longest runs, each token of which is a comparison.
const SIZE_MAX: i64 = 64;

/// Where the last `n - 1` tokens have occurred before, the score of the token that came next is
/// minus infinity.
fn block_repeats(ctx: &mut RowCtx<'_, '_>) -> Built {
    let size = ctx.int("ngram_size").unwrap_or(0);
    if !(1..=SIZE_MAX).contains(&size) {
        let reason = format!("attribute ngram_size is {size}, not 1 to {SIZE_MAX}");
        return Err(RowError::Unsupported(reason));
    }
    ctx.need_rank(0, 2)?;
    ctx.need_rank(1, 2)?;
    let (tokens, scores) = (ctx.input(0)?, ctx.input(1)?);
    let length = ctx.ty(tokens)?.shape[1].clone();
    let runs = length.clone() + Dim::new(1 - size);
    // Fewer tokens than a run has repeat nothing.
    let runs = runs.maximum(&Dim::new(0));
    if runs.is(0) {
        return Ok(vec![scores]);
    }
    let next = ctx.part(tokens, 1, Dim::new(size - 1), length.clone())?;
    ctx.demand_within(next, scores, 1)?;
    let mut repeats = None;
    for k in 0..size - 1 {
        let (begin, back) = (Dim::new(k), Dim::new(size - 1 - k));
        let own = ctx.part(tokens, 1, begin.clone(), begin + runs.clone())?;
        // One of the last tokens, `[batch, 1]`.
        let place = ctx.dim((length.clone() - back).maximum(&Dim::new(0)))?;
        let last = ctx.gather(tokens, place, 1)?;
        let last = ctx.unsqueeze(last, 1)?;
        let same = ctx.op(&EQ, &[own, last])?;
        repeats = Some(match repeats {
            Some(repeats) => ctx.op(&AND, &[repeats, same])?,
            None => same,
        });
    }
    let (never, ever) = (
        ctx.number(scores, f64::NEG_INFINITY)?,
        ctx.number(scores, f64::INFINITY)?,
    );
    let bounds = match repeats {
        Some(repeats) => ctx.select(repeats, never, ever)?,
        None => {
            let to = ctx.ty(next)?.shape;
            ctx.expand(never, to)?
        }
    };
    let attrs = Attrs::new()
        .with("axis", 1_i64)
        .with("reduction", "min".to_owned());
    Ok(vec![ctx.push(
        &SCATTER_ELEMENTS,
        &[scores, next, bounds],
        attrs,
    )?])
}
