//! Matrix products of `com.microsoft` with what an optimizer moves into them: transpositions and a
//! factor.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;

use super::compose::Value;
use super::contraction::matmul;
use super::{Built, Row, RowCtx, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "FusedMatMul",
        &["alpha", "transA", "transB", "transBatchA", "transBatchB"],
        product,
    ),
    row("TransposeMatMul", &["alpha", "transA", "transB"], product),
];

fn product(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let (a, b) = (
        rows_last(ctx, a, "transBatchA")?,
        rows_last(ctx, b, "transBatchB")?,
    );
    let (a_rank, b_rank) = (ctx.rank(a)?, ctx.rank(b)?);
    let turned = ["transA", "transB"].map(|name| ctx.flag(name, false));
    let y = if a_rank >= 2 && b_rank >= 2 {
        let attrs = Attrs::new()
            .with("transpose_a", turned[0])
            .with("transpose_b", turned[1]);
        ctx.push(&MATMUL, &[a, b], attrs)?
    } else {
        // Vectors stay what they are.
        let a = transposed(ctx, a, turned[0])?;
        let b = transposed(ctx, b, turned[1])?;
        matmul(ctx, a, b)?
    };
    Ok(vec![ctx.times(y, ctx.float_or("alpha", 1.0))?])
}

/// The last two axes change places, if there are two.
fn transposed(ctx: &mut RowCtx<'_, '_>, x: ValueId, when: bool) -> Value {
    let rank = ctx.rank(x)? as i64;
    if !when || rank < 2 {
        return Ok(x);
    }
    let mut perm: Vec<i64> = (0..rank).collect();
    perm.swap(rank as usize - 2, rank as usize - 1);
    ctx.permute(x, &perm)
}

/// The first axis, where an attribute says that it is the matrix's own, behind those of the batch.
fn rows_last(ctx: &mut RowCtx<'_, '_>, x: ValueId, name: &str) -> Value {
    let rank = ctx.rank(x)? as i64;
    if !ctx.flag(name, false) || rank < 3 {
        return Ok(x);
    }
    let mut perm: Vec<i64> = (1..rank - 1).collect();
    perm.extend([0, rank - 1]);
    ctx.permute(x, &perm)
}
