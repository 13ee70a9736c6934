//! What a choice of layouts costs, in some unit near a nanosecond over four elements.
//!
//! The figures say how much more a strided access costs than a contiguous one; they are the same
//! for every item. Extents that are not known count as [`UNKNOWN_EXTENT`].

use std::collections::{BTreeMap, BTreeSet};

use alula_ir::ValueId;
use alula_kernel::{Affine, Compute, Contract, Expr, ExprId, Pool, Role, VarId};
use alula_tensor::Dim;

use super::cut::{NEVER, Problem};
use super::order;
use crate::cluster::{Item, Work, dependencies, reachable};

/// Extent assumed for a symbolic one.
const UNKNOWN_EXTENT: i64 = 64;
/// A load in a loop whose neighbours in the loop are not neighbours in memory.
const STRIDED_LOAD: u64 = 8;
/// An element of the left side of a contraction that must be packed first, for each tap.
const PACKED: u64 = 3;
/// The same of a byte: which are copied one by one.
const PACKED_BYTE: u64 = 8;
/// An element that a contraction stores by columns.
const STRIDED_STORE: u64 = 2;
/// A tap of a depthwise convolution whose columns, not channels, are adjacent.
const PLANE_TAP: u64 = 1;
/// A tap of a depthwise convolution of which input and output differ in order.
const MIXED_TAP: u64 = 16;

/// Costs by label of the result, then of an operand.
type Table = [[u64; 2]; 2];

/// The costs of all items for the values numbered in `values`.
pub(super) fn problem(items: &[Item], values: &BTreeMap<ValueId, usize>) -> Problem {
    let mut costs = Costs {
        values,
        problem: Problem {
            single: vec![[0; 2]; values.len()],
            pairs: Vec::new(),
        },
    };
    for item in items {
        let Some(&result) = item.results.first() else {
            continue;
        };
        let operands: Vec<ValueId> = item.reads().collect();
        match &item.work {
            Work::Compute(compute) => costs.loads(compute, &operands, result),
            Work::Contract(contract) => costs.contract(contract, &operands, result),
            Work::View => {
                let apart = [[0, NEVER], [NEVER, 0]];
                costs.pair(result, operands[0], apart);
            }
            Work::Kernel(_) | Work::Host(_) | Work::Control | Work::Dims(_) => {}
        }
    }
    costs.problem
}

struct Costs<'v> {
    values: &'v BTreeMap<ValueId, usize>,
    problem: Problem,
}

impl Costs<'_> {
    /// Adds the costs of two values' labels; one that cannot be chosen is row-major.
    fn pair(&mut self, result: ValueId, operand: ValueId, cost: Table) {
        let single = &mut self.problem.single;
        match (self.values.get(&result), self.values.get(&operand)) {
            (Some(&a), Some(&b)) if a == b => {}
            (Some(&a), Some(&b)) => self.problem.pairs.push((a, b, cost)),
            (Some(&a), None) => {
                for label in 0..2 {
                    single[a][label] += cost[label][0];
                }
            }
            (None, Some(&b)) => {
                for label in 0..2 {
                    single[b][label] += cost[0][label];
                }
            }
            (None, None) => {}
        }
    }

    /// The loads of a definition, or of an epilogue.
    fn loads(&mut self, compute: &Compute, operands: &[ValueId], result: ValueId) {
        let pool = &compute.pool;
        let depends = dependencies(pool, compute.body);
        let inner = [false, true].map(|last| innermost(compute, last));
        let mut tables: Vec<Table> = vec![[[0; 2]; 2]; operands.len()];
        let mut fold_vars = BTreeSet::new();
        for (_, expr) in reachable(pool, compute.body) {
            if let Expr::Fold { vars, .. } = expr {
                fold_vars.extend(vars.last().copied());
            }
        }
        for (id, expr) in reachable(pool, compute.body) {
            let Expr::Load { operand, index } = expr else {
                continue;
            };
            let shape = &compute.operands[*operand as usize].shape;
            let times: u64 = depends[&id]
                .iter()
                .map(|&var| extent(pool.extent(var)))
                .product();
            let wasted = times.saturating_mul(STRIDED_LOAD).min(NEVER >> 16);
            for (inner, row) in inner.iter().zip(&mut tables[*operand as usize]) {
                for (label, cost) in row.iter_mut().enumerate() {
                    let load = Load {
                        pool,
                        depends: &depends,
                        index,
                        shape,
                        last: label == 1,
                    };
                    let far = inner.is_some_and(|var| load.step(var) == Step::Far);
                    if far && fold_vars.iter().all(|&var| load.step(var) != Step::One) {
                        *cost += wasted;
                    }
                }
            }
        }
        for (&operand, table) in operands.iter().zip(tables) {
            self.pair(result, operand, table);
        }
    }

    fn contract(&mut self, contract: &Contract, operands: &[ValueId], result: ValueId) {
        let pool = &contract.epilogue.pool;
        let count = |roles: &[Role]| -> u64 {
            let axes = contract
                .axes
                .iter()
                .filter(|axis| roles.contains(&axis.role));
            let product = axes
                .map(|axis| extent(pool.extent(axis.var)))
                .product::<u64>();
            product.min(NEVER >> 16)
        };
        let wide = |role| -> Vec<VarId> {
            let mut vars = contract.axes_of(role);
            vars.retain(|&var| !pool.extent(var).is(1));
            vars
        };
        let (columns, rows) = (wide(Role::N), wide(Role::M));
        let left = operands[contract.a.operand as usize];
        let elements = count(&[Role::Batch, Role::M, Role::N]);
        let taps = wide(Role::K);
        let windowed = !contract.a.padded.is_empty()
            || contract.a.index.iter().any(|index| index.terms.len() > 1);
        if columns.is_empty() && windowed && wide(Role::Batch).len() == 1 {
            // Depthwise: its taps are all that is summed.
            let work = elements.saturating_mul(count(&[Role::K]));
            let table = [[PLANE_TAP, MIXED_TAP], [MIXED_TAP, 0]];
            self.pair(result, left, table.map(|row| row.map(|cost| cost * work)));
        } else {
            let packed = count(&[Role::Batch, Role::M, Role::K]);
            let operand = &contract.epilogue.operands[contract.a.operand as usize];
            let each = match operand.dtype.size_bytes() {
                1 => PACKED_BYTE,
                _ => PACKED,
            };
            let cost = [false, true].map(|last| {
                let inner = last_index(&contract.a.index, &operand.shape, last);
                let is_depth = inner.is_none_or(|index| {
                    index.terms.len() == 1
                        && index
                            .terms
                            .iter()
                            .all(|(var, one)| one.is(1) && taps.contains(var))
                });
                if is_depth { 0 } else { packed * each }
            });
            self.single(left, cost);
            let shape = contract.epilogue.shape();
            let cost = [false, true].map(|last| {
                let inner = last_index(&contract.out, &shape, last);
                let by_row =
                    inner.is_some_and(|index| index.terms.keys().any(|var| rows.contains(var)));
                if by_row { elements * STRIDED_STORE } else { 0 }
            });
            self.single(result, cost);
        }
        self.loads(&contract.epilogue, operands, result);
    }

    fn single(&mut self, value: ValueId, cost: [u64; 2]) {
        if let Some(&position) = self.values.get(&value) {
            for (sum, cost) in self.problem.single[position].iter_mut().zip(cost) {
                *sum += cost;
            }
        }
    }
}

fn extent(dim: &Dim) -> u64 {
    dim.as_const().unwrap_or(UNKNOWN_EXTENT).max(1) as u64
}

/// Axes in memory order, outermost first.
fn axes(rank: usize, last: bool) -> Vec<usize> {
    match last && rank > 2 {
        true => order(rank),
        false => (0..rank).collect(),
    }
}

/// The variable of the result's innermost axis that has more than one element.
fn innermost(compute: &Compute, last: bool) -> Option<VarId> {
    let mut axes = axes(compute.axes.len(), last);
    axes.retain(|&axis| !compute.axes[axis].extent.is(1));
    axes.last().map(|&axis| compute.axes[axis].var)
}

/// The index along the innermost axis of more than one element.
fn last_index<'i>(index: &'i [Affine], shape: &[Dim], last: bool) -> Option<&'i Affine> {
    let mut axes = axes(index.len(), last);
    axes.retain(|&axis| !shape[axis].is(1));
    axes.last().map(|&axis| &index[axis])
}

/// What a step of a variable is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    None,
    One,
    Far,
}

/// A load from a buffer in one order.
struct Load<'l> {
    pool: &'l Pool,
    depends: &'l BTreeMap<ExprId, BTreeSet<VarId>>,
    index: &'l [ExprId],
    shape: &'l [Dim],
    last: bool,
}

impl Load<'_> {
    fn step(&self, var: VarId) -> Step {
        let mut axes = axes(self.index.len(), self.last);
        axes.retain(|&axis| !self.shape[axis].is(1));
        let uses = |axis: usize| self.depends[&self.index[axis]].contains(&var);
        let Some((&inner, outer)) = axes.split_last() else {
            return Step::None;
        };
        if outer.iter().any(|&axis| uses(axis)) {
            return Step::Far;
        }
        if !uses(inner) {
            return Step::None;
        }
        match self.pool.coefficient(self.index[inner], var) {
            Some(step) if step.is(1) => Step::One,
            _ => Step::Far,
        }
    }
}
