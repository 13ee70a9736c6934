//! `Inverse` of `com.microsoft`: Gauss-Jordan elimination with partial pivoting, as a `loop` over
//! the columns.

use alula_ir::{Attr, Attrs, ValueId};
use alula_ops::control::LOOP;
use alula_ops::elementwise::arithmetic::{ABS, EQ, GT};
use alula_ops::indexing::GATHER_ELEMENTS;
use alula_ops::reduce::ARGMAX;
use alula_tensor::{DType, Dim, Tensor, TensorType};

use super::compose::Value;
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row("Inverse", &[], inverse)];

fn inverse(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let [batch @ .., rows, columns] = ty.shape.as_slice() else {
        return Err(RowError::Invalid(format!("{ty} is no matrix")));
    };
    let who = format!("Inverse {}", ctx.name());
    ctx.graph().require(rows.clone(), columns.clone(), &who)?;
    let dtype = match ty.dtype {
        DType::F16 | DType::BF16 => DType::F32,
        dtype => dtype,
    };
    if rows.is(0) {
        return Ok(vec![x]);
    }
    let count: Dim = batch.iter().cloned().product();
    let square = vec![count.clone(), rows.clone(), rows.clone()];
    let matrices = ctx.cast(x, dtype)?;
    let matrices = ctx.view(matrices, square.clone())?;
    // The identity stands to the right of each matrix and is its inverse in the end.
    let across = ctx.iota(DType::I64, rows.clone())?;
    let down = ctx.view(across, vec![rows.clone(), Dim::new(1)])?;
    let is_diagonal = ctx.op(&EQ, &[across, down])?;
    let (zero, one) = (ctx.scalar(dtype, 0.0)?, ctx.scalar(dtype, 1.0)?);
    let identity = ctx.select(is_diagonal, one, zero)?;
    let identity = ctx.expand(identity, square)?;
    let both = ctx.join(&[matrices, identity], 2)?;
    let wide = ctx.ty(both)?.shape;
    let (graph, captures) = ctx.in_graph("column", |ctx| {
        let i64_scalar = TensorType::of(DType::I64, &[]);
        let column = ctx.graph().input("column", i64_scalar);
        let flag = TensorType::of(DType::Bool, &[]);
        ctx.graph().input("goes_on", flag);
        let both = ctx.graph().input("both", TensorType::new(dtype, wide));
        let both = eliminate(ctx, both, column)?;
        let on = Tensor::from_bools(&[], &[true])
            .map_err(|error| RowError::Invalid(error.to_string()))?;
        let on = ctx.constant(on);
        ctx.graph().output("goes_on", on);
        ctx.graph().output("both", both);
        Ok(())
    })?;
    let trips = ctx.dim(rows.clone())?;
    let mut operands = vec![Some(trips), None, Some(both)];
    operands.extend(captures.into_iter().map(Some));
    let attrs = Attrs::new()
        .with("carried", 1_i64)
        .with("body", Attr::Graph(Box::new(graph)));
    let name = ctx.name().to_owned();
    let results = ctx
        .graph()
        .push_with_results(&LOOP, &operands, attrs, &name, 1)?;
    let twice = rows.clone() * Dim::new(2);
    let y = ctx.part(results[0], 2, rows.clone(), twice)?;
    let y = ctx.view(y, ty.shape.clone())?;
    Ok(vec![ctx.cast(y, ty.dtype)?])
}

/// One column of `[B, N, 2N]`: the row at or below the diagonal with its largest element changes
/// places with the column's own, is divided by it, and is subtracted from all others so that they
/// have zeros there.
fn eliminate(ctx: &mut RowCtx<'_, '_>, both: ValueId, column: ValueId) -> Value {
    let ty = ctx.ty(both)?;
    let [count, extent, width] = [0, 1, 2].map(|axis| ty.shape[axis].clone());
    let positions = ctx.iota(DType::I64, extent)?;
    let elements = ctx.gather(both, column, 2)?;
    let sizes = ctx.op(&ABS, &[elements])?;
    let is_above = ctx.op(&GT, &[column, positions])?;
    let none = ctx.number(sizes, -1.0)?;
    let sizes = ctx.select(is_above, none, sizes)?;
    let attrs = Attrs::new().with("axis", 1_i64).with("keepdims", true);
    let at = ctx.push(&ARGMAX, &[sizes], attrs)?;
    let deep = ctx.unsqueeze(at, 2)?;
    let indices = ctx.expand(deep, vec![count, Dim::new(1), width])?;
    let attrs = Attrs::new().with("axis", 1_i64);
    let chosen = ctx.push(&GATHER_ELEMENTS, &[both, indices], attrs)?;
    let own = ctx.gather(both, column, 1)?;
    let own = ctx.unsqueeze(own, 1)?;
    let is_chosen = ctx.op(&EQ, &[positions, at])?;
    let is_chosen = ctx.unsqueeze(is_chosen, 2)?;
    let both = ctx.select(is_chosen, own, both)?;
    let pivots = ctx.gather(chosen, column, 2)?;
    let pivots = ctx.unsqueeze(pivots, 2)?;
    let chosen = ctx.div(chosen, pivots)?;
    let factors = ctx.gather(both, column, 2)?;
    let factors = ctx.unsqueeze(factors, 2)?;
    let taken = ctx.mul(factors, chosen)?;
    let both = ctx.sub(both, taken)?;
    let is_own = ctx.op(&EQ, &[positions, column])?;
    let is_own = ctx.unsqueeze(is_own, 1)?;
    ctx.select(is_own, chosen, both)
}
