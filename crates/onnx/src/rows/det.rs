//! `Det`: the product of the pivots of an LU decomposition with partial pivoting, as a `loop` over
//! the columns.

use alula_ir::{Attr, Attrs, ValueId};
use alula_ops::control::LOOP;
use alula_ops::elementwise::arithmetic::{ABS, EQ, GT, NEG};
use alula_ops::indexing::GATHER_ELEMENTS;
use alula_ops::reduce::ARGMAX;
use alula_tensor::{DType, Dim, Tensor, TensorType};

use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row("Det", &[11, 22], &[], det)];

fn det(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let [batch @ .., rows, columns] = ty.shape.as_slice() else {
        return Err(RowError::Invalid(format!("{ty} is no matrix")));
    };
    let who = format!("Det {}", ctx.name());
    ctx.graph().require(rows.clone(), columns.clone(), &who)?;
    let dtype = match ty.dtype {
        DType::F16 | DType::BF16 => DType::F32,
        dtype => dtype,
    };
    if rows.is(0) {
        let one = ctx.scalar(ty.dtype, 1.0)?;
        return Ok(vec![ctx.expand(one, batch.to_vec())?]);
    }
    let count: Dim = batch.iter().cloned().product();
    let square = vec![count.clone(), rows.clone(), rows.clone()];
    let matrices = ctx.cast(x, dtype)?;
    let matrices = ctx.view(matrices, square.clone())?;
    let one = ctx.scalar(dtype, 1.0)?;
    let ones = ctx.expand(one, vec![count.clone()])?;
    let (graph, captures) = ctx.in_graph("column", |ctx| {
        let i64_scalar = TensorType::of(DType::I64, &[]);
        let column = ctx.graph().input("column", i64_scalar);
        let flag = TensorType::of(DType::Bool, &[]);
        ctx.graph().input("goes_on", flag);
        let matrices = TensorType::new(dtype, square.clone());
        let matrices = ctx.graph().input("matrices", matrices);
        let product = ctx
            .graph()
            .input("product", TensorType::new(dtype, vec![count]));
        let (matrices, product) = eliminate(ctx, matrices, product, column)?;
        let on = Tensor::from_bools(&[], &[true])
            .map_err(|error| RowError::Invalid(error.to_string()))?;
        let on = ctx.constant(on);
        ctx.graph().output("goes_on", on);
        ctx.graph().output("matrices", matrices);
        ctx.graph().output("product", product);
        Ok(())
    })?;
    let trips = ctx.dim(rows.clone())?;
    let mut operands = vec![Some(trips), None, Some(matrices), Some(ones)];
    operands.extend(captures.into_iter().map(Some));
    let attrs = Attrs::new()
        .with("carried", 2_i64)
        .with("body", Attr::Graph(Box::new(graph)));
    let name = ctx.name().to_owned();
    let graph = ctx.graph();
    let results = graph.push_with_results(&LOOP, &operands, attrs, &name, 2)?;
    let product = ctx.cast(results[1], ty.dtype)?;
    Ok(vec![ctx.view(product, batch.to_vec())?])
}

/// One column of `[B, N, N]` matrices: the row with its largest element changes places with the
/// column's own, and is subtracted from the rows beneath so that they have zeros there. Rows above
/// are not needed any more and hold anything.
fn eliminate(
    ctx: &mut RowCtx<'_, '_>,
    matrices: ValueId,
    product: ValueId,
    column: ValueId,
) -> Result<(ValueId, ValueId), RowError> {
    let ty = ctx.ty(matrices)?;
    let (count, extent) = (ty.shape[0].clone(), ty.shape[1].clone());
    let positions = ctx.iota(DType::I64, extent.clone())?;
    let elements = ctx.gather(matrices, column, 2)?;
    let sizes = ctx.op(&ABS, &[elements])?;
    let is_above = ctx.op(&GT, &[column, positions])?;
    let none = ctx.number(sizes, -1.0)?;
    let sizes = ctx.select(is_above, none, sizes)?;
    let attrs = Attrs::new().with("axis", 1_i64).with("keepdims", true);
    let at = ctx.push(&ARGMAX, &[sizes], attrs)?;
    let deep = ctx.unsqueeze(at, 2)?;
    let indices = ctx.expand(deep, vec![count.clone(), Dim::new(1), extent])?;
    let attrs = Attrs::new().with("axis", 1_i64);
    let chosen = ctx.push(&GATHER_ELEMENTS, &[matrices, indices], attrs)?;
    let own = ctx.gather(matrices, column, 1)?;
    let own = ctx.unsqueeze(own, 1)?;
    let is_chosen = ctx.op(&EQ, &[positions, at])?;
    let is_chosen = ctx.unsqueeze(is_chosen, 2)?;
    let matrices = ctx.select(is_chosen, own, matrices)?;
    let pivots = ctx.gather(chosen, column, 2)?;
    let pivots = ctx.unsqueeze(pivots, 2)?;
    let below = ctx.gather(matrices, column, 2)?;
    let below = ctx.unsqueeze(below, 2)?;
    // Beneath a largest element of 0 there is nothing to do.
    let zero = ctx.number(pivots, 0.0)?;
    let is_zero = ctx.op(&EQ, &[pivots, zero])?;
    let factors = ctx.div(below, pivots)?;
    let factors = ctx.select(is_zero, zero, factors)?;
    let taken = ctx.mul(factors, chosen)?;
    let matrices = ctx.sub(matrices, taken)?;
    let pivots = ctx.view(pivots, vec![count.clone()])?;
    let at = ctx.view(at, vec![count])?;
    let is_in_place = ctx.op(&EQ, &[at, column])?;
    let negative = ctx.op(&NEG, &[pivots])?;
    let factor = ctx.select(is_in_place, pivots, negative)?;
    Ok((matrices, ctx.mul(product, factor)?))
}
