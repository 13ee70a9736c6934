//! How loads of a loop walk through memory.

use std::collections::BTreeMap;

use alula_kernel::{Block, Inst, Kernel, Loop, Rhs, ValueId};
use alula_tensor::ScalarOp;

/// Whether no more loads of a loop are neighbours along the innermost grid axis than along the
/// loop. Loads from computed places count for neither.
pub(super) fn walks_along(kernel: &Kernel, fold: &Loop) -> bool {
    let mut lets = BTreeMap::new();
    outer(&kernel.body, &mut lets);
    let mut indices = Vec::new();
    inner(&fold.body, &mut lets, &mut indices);
    let row = kernel.grid.last().map(|axis| axis.var);
    let neighbours = |var: ValueId| {
        let count = indices
            .iter()
            .filter(|&&index| coefficient(&lets, index, var) == Some(1));
        count.count()
    };
    row.is_none_or(|row| neighbours(fold.var) >= neighbours(row))
}

/// What is computed outside of loops.
fn outer<'k>(block: &'k Block, lets: &mut BTreeMap<ValueId, &'k Rhs>) {
    for inst in &block.0 {
        if let Inst::Let { id, rhs } = inst {
            lets.insert(*id, rhs);
        }
    }
}

/// What is computed in a loop and those inside, and the indices of loads there.
fn inner<'k>(block: &'k Block, lets: &mut BTreeMap<ValueId, &'k Rhs>, indices: &mut Vec<ValueId>) {
    outer(block, lets);
    for inst in &block.0 {
        match inst {
            Inst::Let {
                rhs: Rhs::Load { index, .. },
                ..
            } => indices.push(*index),
            Inst::Loop(nested) => inner(&nested.body, lets, indices),
            Inst::If { then, .. } => inner(then, lets, indices),
            Inst::Let { .. } | Inst::Store { .. } | Inst::Barrier => {}
        }
    }
}

/// By how much an index grows with a variable, where that is a known number.
fn coefficient(lets: &BTreeMap<ValueId, &Rhs>, index: ValueId, var: ValueId) -> Option<i64> {
    if index == var {
        return Some(1);
    }
    match lets.get(&index) {
        // Loop variables, grid axes: another variable.
        None | Some(Rhs::Const(_) | Rhs::Dim(_)) => Some(0),
        Some(Rhs::Apply { op, operands }) => {
            let of = |operand: usize| coefficient(lets, operands[operand], var);
            match op {
                ScalarOp::Add => of(0)?.checked_add(of(1)?),
                ScalarOp::Sub => of(0)?.checked_sub(of(1)?),
                ScalarOp::Mul => match (of(0)?, of(1)?) {
                    (0, 0) => Some(0),
                    (grows, 0) => grows.checked_mul(constant(lets, operands[1])?),
                    (0, grows) => grows.checked_mul(constant(lets, operands[0])?),
                    _ => None,
                },
                _ => operands
                    .iter()
                    .all(|&operand| coefficient(lets, operand, var) == Some(0))
                    .then_some(0),
            }
        }
        Some(Rhs::Cast(_) | Rhs::Bitcast(_) | Rhs::Load { .. }) => None,
    }
}

fn constant(lets: &BTreeMap<ValueId, &Rhs>, value: ValueId) -> Option<i64> {
    match lets.get(&value)? {
        Rhs::Const(literal) => i64::try_from(literal.0.as_int()?).ok(),
        _ => None,
    }
}
