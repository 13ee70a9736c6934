//! Affine index expressions: `offset + sum of coefficient * variable`.

use std::collections::BTreeMap;

use alula_tensor::{Dim, ScalarOp};
use serde::{Deserialize, Serialize};

use crate::{Expr, ExprId, Pool, VarId};

/// `offset + sum of coefficient * variable`; coefficients that are 0 are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affine {
    /// Coefficients by variable.
    pub terms: BTreeMap<VarId, Dim>,
    /// The part without variables.
    pub offset: Dim,
}

impl Affine {
    /// An index that is the same everywhere.
    pub fn constant(offset: impl Into<Dim>) -> Affine {
        Affine {
            terms: BTreeMap::new(),
            offset: offset.into(),
        }
    }

    /// One variable.
    pub fn var(var: VarId) -> Affine {
        Affine {
            terms: BTreeMap::from([(var, Dim::new(1))]),
            offset: Dim::new(0),
        }
    }

    /// The sum.
    pub fn plus(mut self, other: &Affine) -> Affine {
        self.offset = self.offset + other.offset.clone();
        for (&var, coefficient) in &other.terms {
            let sum = self.coefficient(var) + coefficient.clone();
            if sum.is(0) {
                self.terms.remove(&var);
            } else {
                self.terms.insert(var, sum);
            }
        }
        self
    }

    /// Every part times `factor`.
    pub fn times(self, factor: &Dim) -> Affine {
        if factor.is(0) {
            return Affine::constant(0_i64);
        }
        let terms = self
            .terms
            .into_iter()
            .map(|(var, c)| (var, c * factor.clone()))
            .collect();
        Affine {
            terms,
            offset: self.offset * factor.clone(),
        }
    }

    /// The coefficient of a variable; 0 if absent.
    pub fn coefficient(&self, var: VarId) -> Dim {
        self.terms.get(&var).cloned().unwrap_or(Dim::new(0))
    }

    /// Whether no variable occurs.
    pub fn is_uniform(&self) -> bool {
        self.terms.is_empty()
    }
}

impl Pool {
    /// The expression as an affine one, if it is.
    pub fn as_affine(&self, id: ExprId) -> Option<Affine> {
        match &self.node(id).expr {
            Expr::Dim(dim) => Some(Affine::constant(dim.clone())),
            Expr::Const(literal) => {
                let value = i64::try_from(literal.0.as_int()?).ok()?;
                Some(Affine::constant(value))
            }
            Expr::Var(var) => Some(Affine::var(*var)),
            Expr::Apply {
                op: ScalarOp::Add,
                operands,
            } => Some(
                self.as_affine(operands[0])?
                    .plus(&self.as_affine(operands[1])?),
            ),
            Expr::Apply {
                op: ScalarOp::Sub,
                operands,
            } => {
                let subtrahend = self.as_affine(operands[1])?.times(&Dim::new(-1));
                Some(self.as_affine(operands[0])?.plus(&subtrahend))
            }
            Expr::Apply {
                op: ScalarOp::Mul,
                operands,
            } => {
                let (a, b) = (self.as_affine(operands[0])?, self.as_affine(operands[1])?);
                if b.is_uniform() {
                    Some(a.times(&b.offset))
                } else if a.is_uniform() {
                    Some(b.times(&a.offset))
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    /// How much an index grows with a variable, if that is the same everywhere, whatever its parts
    /// without the variable are. Where it loads or folds, that is not known.
    pub fn coefficient(&self, id: ExprId, var: VarId) -> Option<Dim> {
        self.coefficient_in(id, var, &mut BTreeMap::new())
    }

    /// As [`Pool::coefficient`]; what is known already is not looked into again.
    fn coefficient_in(
        &self,
        id: ExprId,
        var: VarId,
        known: &mut BTreeMap<ExprId, Option<Dim>>,
    ) -> Option<Dim> {
        if let Some(found) = known.get(&id) {
            return found.clone();
        }
        let found = match &self.node(id).expr {
            Expr::Var(own) => Some(Dim::from(usize::from(*own == var))),
            Expr::Dim(_) | Expr::Const(_) => Some(Dim::new(0)),
            Expr::Apply { op, operands } => {
                let mut part = |operand: &ExprId| self.coefficient_in(*operand, var, known);
                let parts: Option<Vec<Dim>> = operands.iter().map(&mut part).collect();
                parts.and_then(|parts| match (op, parts.as_slice()) {
                    (_, parts) if parts.iter().all(|part| part.is(0)) => Some(Dim::new(0)),
                    (ScalarOp::Add, [a, b]) => Some(a.clone() + b.clone()),
                    (ScalarOp::Sub, [a, b]) => Some(a.clone() - b.clone()),
                    (ScalarOp::Mul, [a, _]) if a.is(0) => self
                        .as_dim(operands[0])
                        .map(|a| parts[1].clone() * a.clone()),
                    (ScalarOp::Mul, [_, b]) if b.is(0) => self
                        .as_dim(operands[1])
                        .map(|b| parts[0].clone() * b.clone()),
                    _ => None,
                })
            }
            _ => None,
        };
        known.insert(id, found.clone());
        found
    }

    /// The affine index as an expression.
    pub fn affine(&mut self, index: &Affine) -> ExprId {
        let mut sum = None;
        for (&var, coefficient) in &index.terms {
            let (var, coefficient) = (self.var_expr(var), self.dim(coefficient.clone()));
            let term = self.mul(var, coefficient);
            sum = Some(match sum {
                None => term,
                Some(sum) => self.add(sum, term),
            });
        }
        match sum {
            None => self.dim(index.offset.clone()),
            Some(sum) if index.offset.is(0) => sum,
            Some(sum) => {
                let offset = self.dim(index.offset.clone());
                self.add(sum, offset)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alula_tensor::DType;

    use super::*;

    #[test]
    fn coefficients_stand_beside_what_is_not_affine() {
        let mut pool = Pool::new();
        let [h, c] = [6_i64, 4].map(|extent| pool.var(extent));
        let [row, channel] = [h, c].map(|var| pool.var_expr(var));
        let two = pool.dim(Dim::new(2));
        let within = pool.apply(ScalarOp::FloorMod, &[row, two]);
        let four = pool.dim(Dim::new(4));
        let first = pool.mul(within, four);
        let twice = pool.mul(channel, two);
        let index = pool.add(first, twice);
        assert_eq!(pool.coefficient(index, c), Some(Dim::new(2)));
        assert_eq!(pool.coefficient(index, h), None);
        let product = pool.mul(row, channel);
        assert_eq!(pool.coefficient(product, c), None);
        let loaded = pool.load(0, DType::I64, vec![channel]);
        assert_eq!(pool.coefficient(loaded, c), None);
        assert_eq!(pool.coefficient(loaded, h), None);
    }
}
