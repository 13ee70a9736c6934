//! Elimination with partial pivoting: what `Det` and `Inverse` share.

use alula_ir::{Attr, Attrs, ValueId};
use alula_ops::control::LOOP;
use alula_ops::elementwise::arithmetic::{ABS, EQ, GT};
use alula_ops::indexing::GATHER_ELEMENTS;
use alula_ops::reduce::ARGMAX;
use alula_tensor::{DType, Dim, Shape, Tensor, TensorType};

use super::{RowCtx, RowError};

/// Square matrices as `[B, N, N]` in the dtype that they are computed in.
pub(super) struct Square {
    pub(super) matrices: ValueId,
    pub(super) dtype: DType,
    /// Extents before the matrices' own, and their product.
    pub(super) batch: Shape,
    pub(super) count: Dim,
    pub(super) extent: Dim,
}

/// The operand as square matrices, which each run checks; `operator` is named where they are none.
pub(super) fn square(ctx: &mut RowCtx<'_, '_>, operator: &str) -> Result<Square, RowError> {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let [batch @ .., rows, columns] = ty.shape.as_slice() else {
        return Err(RowError::Invalid(format!("{ty} is no matrix")));
    };
    let who = format!("{operator} {}", ctx.name());
    ctx.graph().require(rows.clone(), columns.clone(), &who)?;
    let dtype = match ty.dtype {
        DType::F16 | DType::BF16 => DType::F32,
        dtype => dtype,
    };
    let count: Dim = batch.iter().cloned().product();
    let matrices = ctx.cast(x, dtype)?;
    let matrices = ctx.view(matrices, vec![count.clone(), rows.clone(), rows.clone()])?;
    Ok(Square {
        matrices,
        dtype,
        batch: batch.to_vec(),
        count,
        extent: rows.clone(),
    })
}

/// One iteration of [`for_each_column`].
type Column<'c> =
    &'c mut dyn FnMut(&mut RowCtx<'_, '_>, &[ValueId], ValueId) -> Result<Vec<ValueId>, RowError>;

/// A `loop` over columns that carries values: `body` makes the next ones of those, given a column.
pub(super) fn for_each_column(
    ctx: &mut RowCtx<'_, '_>,
    columns: Dim,
    carried: &[(&str, ValueId)],
    body: Column<'_>,
) -> Result<Vec<ValueId>, RowError> {
    let types: Result<Vec<TensorType>, RowError> =
        carried.iter().map(|(_, value)| ctx.ty(*value)).collect();
    let types = types?;
    let (graph, captures) = ctx.in_graph("column", |ctx| {
        let i64_scalar = TensorType::of(DType::I64, &[]);
        let column = ctx.graph().input("column", i64_scalar);
        let flag = TensorType::of(DType::Bool, &[]);
        ctx.graph().input("goes_on", flag);
        let inputs: Vec<ValueId> = carried
            .iter()
            .zip(types)
            .map(|((name, _), ty)| ctx.graph().input(*name, ty))
            .collect();
        let next = body(ctx, &inputs, column)?;
        let on = Tensor::from_bools(&[], &[true])
            .map_err(|error| RowError::Invalid(error.to_string()))?;
        let on = ctx.constant(on);
        ctx.graph().output("goes_on", on);
        for ((name, _), value) in carried.iter().zip(next) {
            ctx.graph().output(*name, value);
        }
        Ok(())
    })?;
    let trips = ctx.dim(columns)?;
    let mut operands = vec![Some(trips), None];
    operands.extend(carried.iter().map(|(_, value)| Some(*value)));
    operands.extend(captures.into_iter().map(Some));
    let attrs = Attrs::new()
        .with("carried", carried.len() as i64)
        .with("body", Attr::Graph(Box::new(graph)));
    let name = ctx.name().to_owned();
    let graph = ctx.graph();
    Ok(graph.push_with_results(&LOOP, &operands, attrs, &name, carried.len())?)
}

/// What a column of `[B, N, W]` matrices is eliminated with.
pub(super) struct Pivot {
    /// The matrices with the column's own row where the chosen one was.
    pub(super) matrices: ValueId,
    /// The chosen row, `[B, 1, W]`: that at or below the diagonal with the largest element there.
    pub(super) row: ValueId,
    /// Where it was, `[B, 1]`.
    pub(super) at: ValueId,
    /// The column's element of it, `[B, 1, 1]`.
    pub(super) element: ValueId,
}

/// Chooses the row that a column is eliminated with.
pub(super) fn pivot(
    ctx: &mut RowCtx<'_, '_>,
    matrices: ValueId,
    column: ValueId,
) -> Result<Pivot, RowError> {
    let ty = ctx.ty(matrices)?;
    let [count, extent, width] = [0, 1, 2].map(|axis| ty.shape[axis].clone());
    let positions = ctx.iota(DType::I64, extent)?;
    let elements = ctx.gather(matrices, column, 2)?;
    let sizes = ctx.op(&ABS, &[elements])?;
    let is_above = ctx.op(&GT, &[column, positions])?;
    let none = ctx.number(sizes, -1.0)?;
    let sizes = ctx.select(is_above, none, sizes)?;
    let attrs = Attrs::new().with("axis", 1_i64).with("keepdims", true);
    let at = ctx.push(&ARGMAX, &[sizes], attrs)?;
    let deep = ctx.unsqueeze(at, 2)?;
    let indices = ctx.expand(deep, vec![count, Dim::new(1), width])?;
    let attrs = Attrs::new().with("axis", 1_i64);
    let row = ctx.push(&GATHER_ELEMENTS, &[matrices, indices], attrs)?;
    let own = ctx.gather(matrices, column, 1)?;
    let own = ctx.unsqueeze(own, 1)?;
    let is_chosen = ctx.op(&EQ, &[positions, at])?;
    let is_chosen = ctx.unsqueeze(is_chosen, 2)?;
    let matrices = ctx.select(is_chosen, own, matrices)?;
    let element = ctx.gather(row, column, 2)?;
    let element = ctx.unsqueeze(element, 2)?;
    Ok(Pivot {
        matrices,
        row,
        at,
        element,
    })
}
