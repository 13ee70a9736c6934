//! Values that are stored in another dtype than they are computed in.
//!
//! After everything else: definitions compute what they did, round what they store and widen what
//! they load. Which values a target wants so is its own matter.

use std::collections::BTreeSet;

use alula_kernel::{Compute, Contract, Expr, ExprId, FoldOp, Pool, Substitution, VarId};
use alula_program::{Place, Plan, SlotId, Step, SymbolOrigin};
use alula_tensor::{DType, Dim, ScalarOp, ValueType};
use indexmap::IndexMap;

use crate::plan::KernelWork;

/// A value in planned memory that only launches touch, with its views and parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The slot that has the memory.
    pub root: usize,
    /// Where launches touch it: step and parameter, in order.
    pub uses: Vec<(usize, usize)>,
}

/// The values of a plan that may be stored in another dtype than `dtype`, which they have.
pub fn stored(plan: &Plan, dtype: DType) -> Vec<Stored> {
    let mut may = vec![true; plan.slots.len()];
    let mut uses = vec![Vec::new(); plan.slots.len()];
    for (position, slot) in plan.slots.iter().enumerate() {
        let root = plan.root(SlotId(position as u32));
        let is_planned = matches!(plan.slots[root].place, Place::Arena { .. });
        let is_typed = matches!(&slot.ty, ValueType::Tensor(ty) if ty.dtype == dtype);
        may[root] &= is_planned && is_typed;
    }
    for port in plan.inputs.iter().chain(&plan.outputs) {
        may[plan.root(port.slot)] = false;
    }
    for def in &plan.symbols {
        match def.origin {
            SymbolOrigin::Content { slot, .. } | SymbolOrigin::Extent { slot, .. } => {
                may[plan.root(slot)] = false;
            }
            SymbolOrigin::Input { .. } | SymbolOrigin::Defined(_) | SymbolOrigin::Outer => {}
        }
    }
    for (position, step) in plan.steps.iter().enumerate() {
        match step {
            Step::Launch { args, .. } => {
                for (param, slot) in args.iter().enumerate() {
                    uses[plan.root(*slot)].push((position, param));
                }
            }
            _ => step
                .slots()
                .into_iter()
                .for_each(|slot| may[plan.root(slot)] = false),
        }
    }
    let all = uses.into_iter().enumerate().zip(may);
    all.filter(|((_, uses), may)| *may && !uses.is_empty())
        .map(|((root, uses), _)| Stored { root, uses })
        .collect()
}

/// Gives a value's slots another dtype. `false`, and nothing is changed, where an offset within it
/// is no whole number of elements.
pub fn store_as(plan: &mut Plan, root: usize, dtype: DType) -> bool {
    let is_own = |position: usize, plan: &Plan| plan.root(SlotId(position as u32)) == root;
    let own: Vec<usize> = (0..plan.slots.len())
        .filter(|&position| is_own(position, plan))
        .collect();
    let mut changed = Vec::with_capacity(own.len());
    for &position in &own {
        let mut slot = plan.slots[position].clone();
        let ValueType::Tensor(ty) = &mut slot.ty else {
            return false;
        };
        let [old, new] = [ty.dtype, dtype].map(|dtype| Dim::from(dtype.size_bytes()));
        ty.dtype = dtype;
        // A part reaches from its first element to its last, whatever lies between them.
        let offset = match &mut slot.place {
            Place::Part { offset, .. } => Some(offset),
            _ => None,
        };
        for bytes in [Some(&mut slot.bytes), offset].into_iter().flatten() {
            let Some(elements) = bytes.exact_div(&old) else {
                return false;
            };
            *bytes = elements * new.clone();
        }
        changed.push(slot);
    }
    for (position, slot) in own.into_iter().zip(changed) {
        plan.slots[position] = slot;
    }
    true
}

/// The work with some of its parameters, which have another, stored as `dtype`; `None` for loops
/// that an operator wrote. What a definition computes and stores as bf16 is 0 where it is
/// subnormal, as processors round it.
pub fn work_stored_as(work: &KernelWork, params: &[usize], dtype: DType) -> Option<KernelWork> {
    match work {
        KernelWork::Compute(work) => {
            let work = compute_stored_as(work, params, dtype);
            Some(KernelWork::Compute(Box::new(work)))
        }
        KernelWork::Contract(work) => {
            let work = contract(work, params, dtype);
            Some(KernelWork::Contract(Box::new(work)))
        }
        KernelWork::Kernel(_) => None,
    }
}

/// Whether a definition only moves values of floats, or takes the greatest of some: it then gives
/// the same whether they are rounded before or after.
pub fn is_move(work: &KernelWork) -> bool {
    matches!(work, KernelWork::Compute(work) if moves(work))
}

fn moves(work: &Compute) -> bool {
    let (mut open, mut seen) = (vec![work.body], BTreeSet::new());
    while let Some(id) = open.pop() {
        let node = work.pool.node(id);
        // Positions and conditions may be computed.
        if !node.dtype.is_float() || !seen.insert(id) {
            continue;
        }
        let moves = match &node.expr {
            Expr::Load { .. } | Expr::Const(_) | Expr::Cast(_) => true,
            Expr::Apply { op, .. } => matches!(op, ScalarOp::Select | ScalarOp::Max),
            Expr::Fold { op, .. } => *op == FoldOp::Max,
            Expr::Dim(_) | Expr::Var(_) | Expr::Acc => false,
        };
        if !moves {
            return false;
        }
        work.pool.for_each_operand(id, |operand| open.push(operand));
    }
    true
}

/// Whether a definition loads neighbours of these operands for neighbours along the last axis of
/// its result, as far as can be told.
pub fn loads_neighbours(work: &KernelWork, operands: &[usize]) -> bool {
    let KernelWork::Compute(work) = work else {
        return false;
    };
    let (mut open, mut seen) = (vec![work.body], BTreeSet::new());
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        if let Expr::Load { operand, index } = &work.pool.node(id).expr
            && operands.contains(&(*operand as usize))
            && !are_neighbours(work, index)
        {
            return false;
        }
        work.pool.for_each_operand(id, |operand| open.push(operand));
    }
    true
}

fn are_neighbours(work: &Compute, index: &[ExprId]) -> bool {
    let (Some(axis), Some((&last, outer))) = (work.axes.last(), index.split_last()) else {
        return true;
    };
    let is = |id: ExprId, step: i64| {
        let own = work.pool.coefficient(id, axis.var);
        own.is_none_or(|own| own.is(step))
    };
    is(last, 1) && outer.iter().all(|&id| is(id, 0))
}

/// Copies an expression; loads of the operands among `params` are of `dtype`.
fn import(
    into: &mut Pool,
    from: &Pool,
    body: ExprId,
    vars: IndexMap<VarId, ExprId>,
    (params, dtype): (&[usize], DType),
) -> ExprId {
    let mut load = |pool: &mut Pool, operand: u32, of: DType, index: Vec<ExprId>| match params
        .contains(&(operand as usize))
    {
        true => {
            let narrow = pool.load(operand, dtype, index);
            pool.cast(narrow, of)
        }
        false => pool.load(operand, of, index),
    };
    let mut with = Substitution {
        vars,
        load: &mut load,
        acc: None,
    };
    into.import(from, body, &mut with)
}

/// Gives operands and the result of a definition their dtype.
fn retype(work: &mut Compute, params: &[usize], dtype: DType) {
    for &param in params {
        match work.operands.get_mut(param) {
            Some(operand) => operand.dtype = dtype,
            None => {
                work.body = work.pool.cast(work.body, dtype);
                work.dtype = dtype;
            }
        }
    }
}

/// `x` of f32, and 0 of its sign where it is subnormal: what a back end may know again.
fn without_subnormals(pool: &mut Pool, x: ExprId) -> ExprId {
    let least = pool.float(DType::F32, f64::from(f32::MIN_POSITIVE));
    let size = pool.unary(ScalarOp::Abs, x);
    let is_small = pool.apply(ScalarOp::Lt, &[size, least]);
    let nothing = pool.float(DType::F32, 0.0);
    let zero = pool.mul(x, nothing);
    pool.select(is_small, zero, x)
}

/// As [`work_stored_as`], of a definition.
pub fn compute_stored_as(old: &Compute, params: &[usize], dtype: DType) -> Compute {
    let mut new = Compute::begin(old.operands.clone(), old.dtype, &old.shape());
    let vars = old.axes.iter().map(|axis| axis.var);
    let vars = vars.zip(new.indices()).collect();
    new.body = import(&mut new.pool, &old.pool, old.body, vars, (params, dtype));
    new.equal.clone_from(&old.equal);
    if dtype == DType::BF16 && params.contains(&new.operands.len()) && !moves(old) {
        new.body = without_subnormals(&mut new.pool, new.body);
    }
    retype(&mut new, params, dtype);
    new
}

fn contract(old: &Contract, params: &[usize], dtype: DType) -> Contract {
    let mut new = old.clone();
    let epilogue = &mut new.epilogue;
    // As when buffers are laid out: an epilogue holds no folds, variables keep their numbers.
    let pool = &mut epilogue.pool;
    let vars = (0..old.epilogue.pool.num_vars() as u32).map(VarId);
    let vars = vars.map(|var| (var, pool.var_expr(var))).collect();
    let (from, body) = (&old.epilogue.pool, old.epilogue.body);
    epilogue.body = import(pool, from, body, vars, (params, dtype));
    retype(epilogue, params, dtype);
    new
}

#[cfg(test)]
mod tests;
