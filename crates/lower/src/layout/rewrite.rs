//! Items that index their buffers as these lie in memory.

use std::collections::BTreeSet;

use alula_ir::ValueId;
use alula_kernel::{
    Compute, Contract, ContractOperand, ExprId, Operand, Pool, Substitution, VarId,
};
use indexmap::IndexMap;

use super::order;
use crate::cluster::{Item, Work};

/// Writes an item anew for the values in `last`, which lie channels-last. Views stay: the values
/// that they connect are both in one order.
pub(super) fn item(item: &mut Item, last: &BTreeSet<ValueId>) {
    let operands: Vec<bool> = item.reads().map(|id| last.contains(&id)).collect();
    let result = item.results.first().is_some_and(|id| last.contains(id));
    if !result && !operands.contains(&true) {
        return;
    }
    match &mut item.work {
        Work::Compute(work) => **work = compute(work, &operands, result),
        Work::Contract(work) => contract(work, &operands, result),
        _ => {}
    }
}

/// The elements of a list in the order of a channels-last buffer.
fn permuted<T: Clone>(list: &[T]) -> Vec<T> {
    order(list.len())
        .into_iter()
        .map(|axis| list[axis].clone())
        .collect()
}

fn shapes(operands: &[Operand], moved: &[bool]) -> Vec<Operand> {
    let pairs = operands.iter().zip(moved);
    pairs
        .map(|(operand, &moved)| Operand {
            dtype: operand.dtype,
            shape: match moved {
                true => permuted(&operand.shape),
                false => operand.shape.clone(),
            },
        })
        .collect()
}

/// Copies an expression; loads of the operands in `moved` are permuted.
fn import(
    into: &mut Pool,
    from: &Pool,
    body: ExprId,
    moved: &[bool],
    vars: IndexMap<VarId, ExprId>,
) -> ExprId {
    let mut load = |pool: &mut Pool, operand: u32, dtype, index: Vec<ExprId>| {
        let index = match moved[operand as usize] {
            true => permuted(&index),
            false => index,
        };
        pool.load(operand, dtype, index)
    };
    let mut with = Substitution {
        vars,
        load: &mut load,
        acc: None,
    };
    into.import(from, body, &mut with)
}

fn compute(old: &Compute, moved: &[bool], result: bool) -> Compute {
    let axes = match result {
        true => permuted(&old.axes),
        false => old.axes.clone(),
    };
    let shape: Vec<_> = axes.iter().map(|axis| axis.extent.clone()).collect();
    let mut new = Compute::begin(shapes(&old.operands, moved), old.dtype, &shape);
    let vars = axes
        .iter()
        .map(|axis| axis.var)
        .zip(new.indices())
        .collect();
    new.body = import(&mut new.pool, &old.pool, old.body, moved, vars);
    new.equal.clone_from(&old.equal);
    new
}

fn contract(contract: &mut Contract, moved: &[bool], result: bool) {
    for side in [&mut contract.a, &mut contract.b] {
        if moved[side.operand as usize] {
            permute_side(side);
        }
    }
    let epilogue = &mut contract.epilogue;
    epilogue.operands = shapes(&epilogue.operands, moved);
    // The contraction's axes are variables of this pool, and an epilogue holds no folds: variables
    // keep their numbers.
    let old = epilogue.pool.clone();
    let pool = &mut epilogue.pool;
    let vars = (0..old.num_vars() as u32).map(VarId);
    let vars = vars.map(|var| (var, pool.var_expr(var))).collect();
    epilogue.body = import(pool, &old, epilogue.body, moved, vars);
    if result {
        contract.out = permuted(&contract.out);
        epilogue.axes = permuted(&epilogue.axes);
    }
}

fn permute_side(side: &mut ContractOperand) {
    let order = order(side.index.len());
    side.index = permuted(&side.index);
    let padded = std::mem::take(&mut side.padded);
    side.padded = (0..order.len())
        .filter(|&position| padded.contains(&order[position]))
        .collect();
}
