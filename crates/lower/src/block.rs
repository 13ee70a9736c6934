//! Definitions over a block of rows of their result.
//!
//! A softmax over scores needs one row of them at a time. As a definition over some rows, whose
//! operand is a buffer of the same rows, it can run between the product that makes scores and the
//! one that takes them, while the rows are in a near cache.

use alula_kernel::{Compute, Expr, ExprId, Operand, Substitution, VarId};
use alula_tensor::{Dim, ScalarOp};
use indexmap::IndexMap;

use crate::cluster::reachable;

/// The definition over a block of the rows that its leading axes count. The operand `inner` and the
/// result are buffers of the rows of the block. `symbols` name the first row, counted along all
/// leading axes as one, and the number of rows.
///
/// `None` where no leading axes come to so many rows with so many elements each, or a row of the
/// result needs another row of `inner`.
pub fn block_of_rows(
    compute: &Compute,
    inner: usize,
    [rows, elements]: [&Dim; 2],
    symbols: [&str; 2],
) -> Option<Compute> {
    let shape = compute.shape();
    let lead = leading(&shape, rows, elements)?;
    let vars: Vec<VarId> = compute.axes.iter().map(|axis| axis.var).collect();
    let own = &compute.operands[inner].shape;
    let is_same = own.len() >= lead && own[..lead] == shape[..lead];
    if !is_same || !loads_own_rows(compute, inner as u32, &vars[..lead]) {
        return None;
    }
    let [first, rows] = symbols.map(Dim::named);
    let of_block = |shape: &[Dim]| -> Vec<Dim> {
        let rows = std::iter::once(rows.clone());
        rows.chain(shape[lead..].iter().cloned()).collect()
    };
    let mut operands: Vec<Operand> = compute.operands.clone();
    operands[inner].shape = of_block(own);
    let mut block = Compute::begin(operands, compute.dtype, &of_block(&shape));
    let row = block.pool.var_expr(block.axes[0].var);
    let mut at: IndexMap<VarId, ExprId> = IndexMap::new();
    let first = block.pool.dim(first);
    let mut rest = block.pool.add(row, first);
    let outermost = shape.iter().position(|extent| !extent.is(1));
    for (position, axis) in compute.axes[..lead].iter().enumerate().rev() {
        let own = if axis.extent.is(1) {
            block.pool.int(0)
        } else if Some(position) == outermost {
            rest
        } else {
            let extent = block.pool.dim(axis.extent.clone());
            let own = block.pool.apply(ScalarOp::FloorMod, &[rest, extent]);
            rest = block.pool.apply(ScalarOp::FloorDiv, &[rest, extent]);
            own
        };
        at.insert(axis.var, own);
    }
    for (from, to) in compute.axes[lead..].iter().zip(&block.axes.clone()[1..]) {
        let value = block.pool.var_expr(to.var);
        at.insert(from.var, value);
    }
    block.body = block.pool.import(
        &compute.pool,
        compute.body,
        &mut Substitution {
            vars: at,
            load: &mut |pool, operand, dtype, index| {
                let index = match operand as usize == inner {
                    true => std::iter::once(row)
                        .chain(index.into_iter().skip(lead))
                        .collect(),
                    false => index,
                };
                pool.load(operand, dtype, index)
            },
            acc: None,
        },
    );
    block.equal.clone_from(&compute.equal);
    Some(block)
}

/// How many leading axes count the rows.
fn leading(shape: &[Dim], rows: &Dim, elements: &Dim) -> Option<usize> {
    let product = |dims: &[Dim]| -> Dim { dims.iter().cloned().product() };
    (0..=shape.len())
        .rev()
        .find(|&lead| product(&shape[..lead]) == *rows && product(&shape[lead..]) == *elements)
}

/// Whether every load of an operand is in the row of the element that it is for.
fn loads_own_rows(compute: &Compute, operand: u32, lead: &[VarId]) -> bool {
    let pool = &compute.pool;
    let is_own = |index: &[ExprId]| {
        let mut pairs = lead.iter().zip(index);
        pairs.all(|(&var, &id)| match &pool.node(id).expr {
            Expr::Var(own) => *own == var,
            _ => pool.extent(var).is(1) && pool.bounds(id) == Some((0, 0)),
        })
    };
    reachable(pool, compute.body)
        .into_iter()
        .all(|(_, expr)| match expr {
            Expr::Load { operand: of, index } if *of == operand => is_own(index),
            _ => true,
        })
}

#[cfg(test)]
mod tests;
