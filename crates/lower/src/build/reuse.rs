//! Expensive values that one loop computes and a later one needs again.
//!
//! In `exp(x - max) / sum of exp(x - max)` the sum's loop computes, for each index, what the
//! output's loop needs at the same index. With a constant extent the values are kept in a local
//! array instead: exact, as they are the same values.

use alula_kernel::{Expr, ExprId, Pool, VarId};

use super::access::{Linear, free_vars, reachable};
use super::nest::{LoopPlan, op_work};

/// Greatest number of elements kept.
const ELEMENTS_MAX: i64 = 4096;

/// Least cost of an operator whose values are kept, in scalar operations.
const COST_MIN: u64 = 12;

/// A value kept by one loop for another.
pub(super) struct Reuse {
    /// What the fold's loop computes.
    pub(super) source: ExprId,
    /// The fold's variable.
    pub(super) source_var: VarId,
    /// The same at the output axis' variable.
    pub(super) target: ExprId,
    /// The output axis' variable.
    pub(super) target_var: VarId,
    /// Extent of both variables.
    pub(super) elements: u32,
}

/// Finds values of folds that loops over output axes need again.
pub(super) fn find(linear: &mut Linear, grid: &[VarId], loops: &[LoopPlan]) -> Vec<Reuse> {
    let mut found: Vec<Reuse> = Vec::new();
    let before = linear.reachable();
    for (position, plan) in loops.iter().enumerate() {
        let extent = linear.pool.extent(plan.var).as_const();
        let Some(extent) = extent.filter(|extent| (2..=ELEMENTS_MAX).contains(extent)) else {
            continue;
        };
        // Around a lanes loop, each lane would need its own array.
        if loops[..position].iter().any(|outer| outer.width > 1) {
            break;
        }
        let outer = loops[..position].iter().map(|plan| plan.var);
        let outer: Vec<VarId> = grid.iter().copied().chain(outer).collect();
        for (source, source_var) in candidates(&linear.pool, &before, extent, &outer) {
            if found.iter().any(|reuse| reuse.source == source) {
                continue;
            }
            let target = replace(&mut linear.pool, source, source_var, plan.var);
            if before.binary_search(&target).is_ok() {
                let (target_var, elements) = (plan.var, extent as u32);
                found.push(Reuse {
                    source,
                    source_var,
                    target,
                    target_var,
                    elements,
                });
            }
        }
    }
    found
}

/// Expensive values inside folds over one variable of this extent, outermost expressions first,
/// that depend on nothing else but `outer`.
fn candidates(
    pool: &Pool,
    reachable_now: &[ExprId],
    extent: i64,
    outer: &[VarId],
) -> Vec<(ExprId, VarId)> {
    let free = free_vars(pool);
    let mut found = Vec::new();
    for &fold in reachable_now {
        let Expr::Fold { vars, body, .. } = &pool.node(fold).expr else {
            continue;
        };
        let [var] = vars.as_slice() else {
            continue;
        };
        let is_outside = free[fold.0 as usize].iter().all(|v| outer.contains(v));
        if !pool.extent(*var).is(extent) || !is_outside {
            continue;
        }
        for id in reachable(pool, &[*body]).into_iter().rev() {
            let Expr::Apply { op, .. } = &pool.node(id).expr else {
                continue;
            };
            let vars = &free[id.0 as usize];
            let is_row = vars.contains(var) && vars.iter().all(|v| v == var || outer.contains(v));
            if op_work(*op) >= COST_MIN && is_row {
                found.push((id, *var));
            }
        }
    }
    found
}

/// The expression with one variable in place of another.
fn replace(pool: &mut Pool, root: ExprId, from: VarId, to: VarId) -> ExprId {
    let list = reachable(pool, &[root]);
    let mut copies: Vec<(ExprId, ExprId)> = Vec::new();
    for id in list {
        let copy = |id: &ExprId| {
            copies
                .binary_search_by_key(id, |&(old, _)| old)
                .map_or(*id, |at| copies[at].1)
        };
        let node = pool.node(id).clone();
        let new = match &node.expr {
            Expr::Const(_) | Expr::Dim(_) | Expr::Acc => id,
            Expr::Var(var) => pool.var_expr(if *var == from { to } else { *var }),
            Expr::Load { operand, index } => {
                let index = index.iter().map(copy).collect();
                pool.load(*operand, node.dtype, index)
            }
            Expr::Apply { op, operands } => {
                let operands: Vec<ExprId> = operands.iter().map(copy).collect();
                pool.apply(*op, &operands)
            }
            Expr::Cast(value) => {
                let value = copy(value);
                pool.cast(value, node.dtype)
            }
            Expr::Fold { vars, .. } if vars.contains(&from) => id,
            Expr::Fold { op, vars, body } => {
                let body = copy(body);
                pool.fold(*op, vars.clone(), body)
            }
        };
        copies.push((id, new));
    }
    copies.last().map_or(root, |&(_, new)| new)
}
