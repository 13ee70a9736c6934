//! Contractions: matrix products and convolutions of every kind as one definition.
//!
//! `acc[batch, m, n] = sum over k of (a[..] - a_zero) * (b[..] - b_zero)`, where each index of
//! `a` and `b` is affine in the axes, and elements of `a` outside its extents count as zero
//! (padding: they contribute nothing, before zero points). Then `result[out] = epilogue(acc)`.

use alula_tensor::DType;

use crate::{Affine, Compute, ExprId, FoldOp, Operand, VarId};

/// What an axis does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// In `a`, `b` and the result.
    Batch,
    /// In `a` and the result.
    M,
    /// In `b` and the result.
    N,
    /// In `a` and `b`, summed.
    K,
}

/// An axis of a contraction; its extent is the variable's.
#[derive(Clone, Debug, PartialEq)]
pub struct ContractAxis {
    /// The variable, in the epilogue's pool.
    pub var: VarId,
    /// What it does.
    pub role: Role,
}

/// One side of the product.
#[derive(Clone, Debug, PartialEq)]
pub struct ContractOperand {
    /// Position in the epilogue's operands.
    pub operand: u32,
    /// One affine index per axis of the operand.
    pub index: Vec<Affine>,
    /// Position of a zero point: a scalar, or one value per N index (for `b`).
    pub zero_point: Option<u32>,
    /// Axes of the operand (positions in `index`) that may leave the extents: padded with zeros.
    pub padded: Vec<usize>,
}

/// A contraction with its epilogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// Every axis: batch, M, N and K in any order.
    pub axes: Vec<ContractAxis>,
    /// The left side: activations.
    pub a: ContractOperand,
    /// The right side: usually weights.
    pub b: ContractOperand,
    /// Dtype of products and sums.
    pub acc: DType,
    /// Where an accumulated value goes: for each output axis an affine index in batch, M and N
    /// variables. Together they cover each output element once.
    pub out: Vec<Affine>,
    /// Operands, output axes, dtype, and the value stored, in terms of [`crate::Expr::Acc`] and
    /// loads at the *output* axes' variables.
    pub epilogue: Compute,
}

impl Contract {
    /// The axes of one role, in order.
    pub fn axes_of(&self, role: Role) -> Vec<VarId> {
        self.axes
            .iter()
            .filter(|axis| axis.role == role)
            .map(|axis| axis.var)
            .collect()
    }

    /// The same result as one plain definition: the meaning of a contraction, and its naive form
    /// for targets without micro-kernels.
    ///
    /// Returns `None` when an output index is not one variable, or `group * size + variable`.
    pub fn to_compute(&self) -> Option<Compute> {
        let mut compute = Compute::begin(
            self.epilogue.operands.clone(),
            self.epilogue.dtype,
            &self.epilogue.shape(),
        );
        let mut vars = indexmap::IndexMap::new();
        for (axis, index) in self.out.iter().enumerate() {
            let position = compute.pool.var_expr(compute.axes[axis].var);
            self.solve(&mut compute, index, position, &mut vars)?;
        }
        let mut k_vars = Vec::new();
        for var in self.axes_of(Role::K) {
            let fresh = compute.pool.var(self.epilogue.pool.extent(var).clone());
            k_vars.push(fresh);
            let id = compute.pool.var_expr(fresh);
            vars.insert(var, id);
        }
        let (a, guard) = self.side(&mut compute, &self.a, &vars);
        let (b, _) = self.side(&mut compute, &self.b, &vars);
        let product = compute.pool.mul(a, b);
        let zero = compute
            .pool
            .constant(self.acc, alula_tensor::Scalar::Int(0));
        let product = compute.pool.select(guard, product, zero);
        let sum = compute.pool.fold(FoldOp::Add, k_vars, product);
        let out_vars = self
            .epilogue
            .axes
            .iter()
            .zip(&compute.axes.clone())
            .map(|(from, to)| (from.var, compute.pool.var_expr(to.var)))
            .collect();
        let body = compute.pool.import(
            &self.epilogue.pool,
            self.epilogue.body,
            &mut crate::Substitution {
                vars: out_vars,
                load: &mut |pool, operand, dtype, index| pool.load(operand, dtype, index),
                acc: Some(sum),
            },
        );
        compute.equal.clone_from(&self.epilogue.equal);
        Some(compute.finish(body))
    }

    /// Expresses batch, M and N variables by the output position.
    fn solve(
        &self,
        compute: &mut Compute,
        index: &Affine,
        position: ExprId,
        vars: &mut indexmap::IndexMap<VarId, ExprId>,
    ) -> Option<()> {
        if !index.offset.is(0) {
            return None;
        }
        // Terms from the greatest stride down: each but the last is a quotient.
        let mut terms: Vec<_> = index.terms.iter().collect();
        terms.sort_by_key(|(_, stride)| std::cmp::Reverse(stride.is(1)));
        let pool = &mut compute.pool;
        match terms.as_slice() {
            [] => Some(()),
            [(var, stride)] if stride.is(1) => {
                vars.insert(**var, position).map_or(Some(()), |_| None)
            }
            [(inner, one), (outer, size)]
                if one.is(1) && self.epilogue.pool.extent(**inner) == *size =>
            {
                let divisor = pool.dim((*size).clone());
                let quotient = pool.apply(alula_tensor::ScalarOp::FloorDiv, &[position, divisor]);
                let rest = pool.apply(alula_tensor::ScalarOp::FloorMod, &[position, divisor]);
                vars.insert(**outer, quotient);
                vars.insert(**inner, rest);
                Some(())
            }
            _ => None,
        }
    }

    /// One side's element less its zero point, in the accumulator's dtype, and whether it counts.
    fn side(
        &self,
        compute: &mut Compute,
        side: &ContractOperand,
        vars: &indexmap::IndexMap<VarId, ExprId>,
    ) -> (ExprId, ExprId) {
        let dtype = compute.operands[side.operand as usize].dtype;
        let index = side
            .index
            .iter()
            .map(|affine| self.position(compute, affine, vars))
            .collect();
        let (guard, index) = compute.clamp_inside(side.operand as usize, index, &side.padded);
        let value = compute.pool.load(side.operand, dtype, index);
        let mut value = compute.pool.cast(value, self.acc);
        if let Some(zero_point) = side.zero_point {
            let Operand { dtype, shape } = compute.operands[zero_point as usize].clone();
            // A zero point per column is indexed by the N variable.
            let index = match shape.len() {
                0 => Vec::new(),
                _ if shape[0].is(1) => vec![compute.pool.int(0)],
                _ => vec![vars[&self.axes_of(Role::N)[0]]],
            };
            let zero = compute.pool.load(zero_point, dtype, index);
            let zero = compute.pool.cast(zero, self.acc);
            value = compute.pool.sub(value, zero);
        }
        (value, guard)
    }

    fn position(
        &self,
        compute: &mut Compute,
        index: &Affine,
        vars: &indexmap::IndexMap<VarId, ExprId>,
    ) -> ExprId {
        let mut sum = compute.pool.dim(index.offset.clone());
        for (var, coefficient) in &index.terms {
            let factor = compute.pool.dim(coefficient.clone());
            let term = compute.pool.mul(vars[var], factor);
            sum = compute.pool.add(sum, term);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use alula_tensor::{DType, Dim};

    use super::{Contract, ContractAxis, ContractOperand, Role};
    use crate::{Affine, Compute, Operand};

    /// `[M, K] x [K, N]`.
    fn matmul() -> Contract {
        let dims = |a: &str, b: &str| vec![Dim::named(a), Dim::named(b)];
        let operands = vec![
            Operand {
                dtype: DType::F32,
                shape: dims("M", "K"),
            },
            Operand {
                dtype: DType::F32,
                shape: dims("K", "N"),
            },
        ];
        let mut epilogue = Compute::begin(operands, DType::F32, &dims("M", "N"));
        let (m, n) = (
            epilogue.pool.var(Dim::named("M")),
            epilogue.pool.var(Dim::named("N")),
        );
        let k = epilogue.pool.var(Dim::named("K"));
        let acc = epilogue.pool.acc(DType::F32);
        let side = |operand, index: [crate::VarId; 2]| ContractOperand {
            operand,
            index: index.map(Affine::var).to_vec(),
            zero_point: None,
            padded: Vec::new(),
        };
        let axis = |var, role| ContractAxis { var, role };
        Contract {
            axes: vec![axis(m, Role::M), axis(n, Role::N), axis(k, Role::K)],
            a: side(0, [m, k]),
            b: side(1, [k, n]),
            acc: DType::F32,
            out: vec![Affine::var(m), Affine::var(n)],
            epilogue: epilogue.finish(acc),
        }
    }

    #[test]
    fn a_matrix_product_is_one_fold() {
        let compute = matmul().to_compute().expect("output indices are variables");
        let body = &compute.pool.node(compute.body).expr;
        assert!(
            matches!(body, crate::Expr::Fold { vars, .. } if vars.len() == 1),
            "{body:?}"
        );
    }
}
