//! How much there is to compute, as a dim: what a launch is measured by before it starts.
//!
//! Counted are scalar evaluations: points of the result, and for each fold the points of the
//! variables that it depends on, since it is computed in the outermost loop where these are known.
//! One evaluation may be some dozen instructions, and vectors do several at once: the count tells
//! seconds from years, no more.

use std::collections::BTreeSet;

use alula_tensor::Dim;

use crate::{Block, Compute, Contract, Expr, ExprId, Inst, Kernel, Pool, Rhs, Role, VarId};

/// Products that micro-kernels do in the time of one evaluation.
const PRODUCTS: i64 = 16;

impl Compute {
    /// Scalar evaluations of the whole result.
    pub fn work(&self) -> Dim {
        let points: Dim = self.axes.iter().map(|axis| axis.extent.clone()).product();
        points + folds(&self.pool, self.body)
    }
}

impl Contract {
    /// Scalar evaluations of the whole result; a sixteenth of its products.
    pub fn work(&self) -> Dim {
        let extents = |is_k: bool| -> Dim {
            let axes = self
                .axes
                .iter()
                .filter(|axis| (axis.role == Role::K) == is_k);
            axes.map(|axis| self.epilogue.pool.extent(axis.var).clone())
                .product()
        };
        extents(false) * extents(true).ceil_div(&Dim::new(PRODUCTS)) + self.epilogue.work()
    }
}

impl Kernel {
    /// Iterations of the innermost loops. A loop whose extent is computed counts as one iteration.
    pub fn work(&self) -> Dim {
        let mut extents = vec![None; self.dtypes.len()];
        self.num_points() * block(&self.body, &mut extents)
    }
}

/// What one run of a block takes. `extents` are dims that values are known to be.
fn block(body: &Block, extents: &mut [Option<Dim>]) -> Dim {
    let mut inner = Dim::new(0);
    for inst in &body.0 {
        match inst {
            Inst::Let { id, rhs } => {
                extents[id.0 as usize] = match rhs {
                    Rhs::Dim(dim) => Some(dim.clone()),
                    Rhs::Const(value) => value.0.as_int().map(|n| Dim::new(n as i64)),
                    Rhs::Apply { .. } | Rhs::Cast(_) | Rhs::Bitcast(_) | Rhs::Load { .. } => None,
                };
            }
            Inst::Loop(inside) => {
                let extent = extents[inside.extent.0 as usize].clone();
                inner = inner + extent.unwrap_or(Dim::new(1)) * block(&inside.body, extents);
            }
            Inst::If { then, .. } => inner = inner + block(then, extents) - Dim::new(1),
            Inst::Store { .. } | Inst::Barrier => {}
        }
    }
    inner + Dim::new(1)
}

/// Evaluations of the bodies of all folds below an expression.
fn folds(pool: &Pool, root: ExprId) -> Dim {
    let mut is_used = vec![false; root.0 as usize + 1];
    is_used[root.0 as usize] = true;
    let mut has_folds = false;
    for id in (0..=root.0).rev() {
        if is_used[id as usize] {
            has_folds |= matches!(pool.node(ExprId(id)).expr, Expr::Fold { .. });
            pool.for_each_operand(ExprId(id), |operand| is_used[operand.0 as usize] = true);
        }
    }
    let mut work = Dim::new(0);
    if !has_folds {
        return work;
    }
    let mut free: Vec<BTreeSet<VarId>> = Vec::with_capacity(is_used.len());
    for (id, is_used) in is_used.into_iter().enumerate() {
        let mut own = BTreeSet::new();
        if is_used {
            let id = ExprId(id as u32);
            pool.for_each_operand(id, |operand| own.extend(&free[operand.0 as usize]));
            match &pool.node(id).expr {
                Expr::Var(var) => {
                    own.insert(*var);
                }
                Expr::Fold { vars, .. } => {
                    own.extend(vars);
                    let points: Dim = own.iter().map(|var| pool.extent(*var).clone()).product();
                    work = work + points;
                    own.retain(|var| !vars.contains(var));
                }
                Expr::Const(_)
                | Expr::Dim(_)
                | Expr::Load { .. }
                | Expr::Apply { .. }
                | Expr::Cast(_)
                | Expr::Acc => {}
            }
        }
        free.push(own);
    }
    work
}

#[cfg(test)]
mod tests {
    use alula_tensor::{DType, ScalarOp};

    use super::*;
    use crate::{FoldOp, Operand};

    fn rows() -> Compute {
        let shape = vec![Dim::named("N"), Dim::named("C")];
        let operand = Operand {
            dtype: DType::F32,
            shape: shape.clone(),
        };
        Compute::begin(vec![operand], DType::F32, &shape)
    }

    #[test]
    fn a_fold_counts_once_for_each_row_that_it_depends_on() {
        let mut compute = rows();
        let index = compute.indices();
        let k = compute.pool.var(Dim::named("C"));
        let at = compute.pool.var_expr(k);
        let element = compute.load(0, vec![index[0], at]);
        let sum = compute.pool.fold(FoldOp::Add, vec![k], element);
        let own = compute.load(0, index);
        let body = compute.pool.apply(ScalarOp::Div, &[own, sum]);
        assert_eq!(compute.finish(body).work().to_string(), "2*C*N");
    }

    #[test]
    fn a_fold_of_every_element_counts_for_each() {
        let mut compute = rows();
        let index = compute.indices();
        let k = compute.pool.var(Dim::named("C"));
        let at = compute.pool.var_expr(k);
        let at = compute.pool.add(at, index[1]);
        let element = compute.load(0, vec![index[0], at]);
        let sum = compute.pool.fold(FoldOp::Add, vec![k], element);
        assert_eq!(compute.finish(sum).work().to_string(), "C*C*N + C*N");
    }
}
