//! Recognising epilogues that are built into the micro-kernels: bias, residual, clip.

use alula_kernel::{Affine, Contract, Expr, ExprId, Role, VarId};
use alula_tensor::{DType, Dim, ScalarOp};

use super::axes::{Maps, linear, through_result};
use super::plan::Layout;
use super::{BiasAxis, Epilogue};

/// What was found, and the bias as a function of the contraction's variables.
pub(super) struct Fused {
    pub(super) epilogue: Epilogue,
    pub(super) bias: Affine,
}

/// A term that is added to the sum.
struct Added {
    operand: u32,
    index: Affine,
}

/// Matches `clip(acc + bias + residual)`; `None` if there is anything else.
pub(super) fn find(maps: &Maps<'_>, layouts: &[Layout]) -> Option<Fused> {
    let contract = maps.contract;
    let pool = &contract.epilogue.pool;
    let (mut at, mut clip) = (contract.epilogue.body, None);
    while let Some((inner, low, high)) = clip_step(contract, at) {
        let (l, h) = clip.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        // The outer bounds win where they disagree, so that only nested bounds are taken.
        if low > h || high < l {
            return None;
        }
        clip = Some((low.max(l), high.min(h)));
        at = inner;
    }
    let mut added = Vec::new();
    loop {
        match &pool.node(at).expr {
            Expr::Acc => break,
            Expr::Apply {
                op: ScalarOp::Add,
                operands,
            } => {
                let (x, y) = (operands[0], operands[1]);
                if let Some(term) = load(contract, layouts, y) {
                    added.push(term);
                    at = x;
                } else {
                    added.push(load(contract, layouts, x)?);
                    at = y;
                }
            }
            _ => return None,
        }
    }
    let (mut bias, mut residual) = (None, None);
    let mut bias_index = Affine::constant(0_i64);
    // From the innermost addition outwards.
    for term in added.into_iter().rev() {
        if let (None, None, Some(axis)) = (&bias, &residual, bias_axis(maps, &term.index)) {
            bias = Some((term.operand, axis, term.index.offset.clone()));
            bias_index = term.index;
        } else if residual.is_none() && term.index == maps.c {
            residual = Some((term.operand, DType::F32));
        } else {
            return None;
        }
    }
    Some(Fused {
        epilogue: Epilogue::Fused {
            bias,
            residual,
            clip,
        },
        bias: bias_index,
    })
}

/// `max(x, low)` or `min(x, high)` with a constant.
fn clip_step(contract: &Contract, at: ExprId) -> Option<(ExprId, f32, f32)> {
    let pool = &contract.epilogue.pool;
    let Expr::Apply {
        op: op @ (ScalarOp::Max | ScalarOp::Min),
        operands,
    } = &pool.node(at).expr
    else {
        return None;
    };
    let constant = |id: ExprId| match &pool.node(id).expr {
        Expr::Const(literal) => Some(literal.0.to_f64() as f32).filter(|value| !value.is_nan()),
        _ => None,
    };
    let (x, bound) = match (constant(operands[0]), constant(operands[1])) {
        (_, Some(bound)) => (operands[0], bound),
        (Some(bound), None) => (operands[1], bound),
        (None, None) => return None,
    };
    Some(match op {
        ScalarOp::Max => (x, bound, f32::INFINITY),
        _ => (x, f32::NEG_INFINITY, bound),
    })
}

/// A load of an `f32` operand at an index that is linear in the contraction's variables.
fn load(contract: &Contract, layouts: &[Layout], at: ExprId) -> Option<Added> {
    let pool = &contract.epilogue.pool;
    let Expr::Load { operand, index } = &pool.node(at).expr else {
        return None;
    };
    if pool.dtype(at) != DType::F32 {
        return None;
    }
    let index: Option<Vec<Affine>> = index
        .iter()
        .map(|&id| Some(through_result(contract, &pool.as_affine(id)?)))
        .collect();
    let index = linear(contract, &index?, &layouts[*operand as usize], &[]);
    Some(Added {
        operand: *operand,
        index,
    })
}

/// The axis of a bias, if the term varies along columns only or along rows only, one element for
/// each (and in any way along the batch).
fn bias_axis(maps: &Maps<'_>, index: &Affine) -> Option<BiasAxis> {
    let batch = maps.contract.axes_of(Role::Batch);
    let mut vars = index.terms.keys().filter(|var| !batch.contains(var));
    let cols = maps.vars(Role::N);
    let (axis, axes) = if vars.all(|var| cols.contains(var)) {
        (BiasAxis::Cols, cols)
    } else {
        (BiasAxis::Rows, maps.vars(Role::M))
    };
    dense(maps, index, &axes).then_some(axis)
}

/// Whether neighbours along these axes, as one, are neighbours in memory.
fn dense(maps: &Maps<'_>, index: &Affine, axes: &[VarId]) -> bool {
    let batch = maps.contract.axes_of(Role::Batch);
    let mut step = Dim::new(1);
    for &var in axes.iter().rev() {
        if index.coefficient(var) != step {
            return false;
        }
        step = step * maps.extent(var).clone();
    }
    index
        .terms
        .keys()
        .all(|var| axes.contains(var) || batch.contains(var))
}
