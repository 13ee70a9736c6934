//! Naive evaluation of definitions.

use alula_tensor::{DType, Scalar, ScalarOp, Symbol, Tensor};

use super::InterpretError;
use crate::{Compute, Expr, ExprId, FoldOp, VarId};

/// Greatest nesting of expressions; deeper ones are refused rather than overflow the stack.
const DEPTH_MAX: u32 = 2_000;

/// Computes every element of a definition's result.
///
/// Only the chosen side of a `select` is evaluated, so a definition that loads outside an operand
/// on the other side is accepted here; kernels must clamp. Values that do not depend on the index
/// that changed are kept.
///
/// # Errors
/// Operands that are not what the definition says, unbound symbols, loads outside an operand.
pub fn evaluate(
    compute: &Compute,
    operands: &[&Tensor],
    symbols: &dyn Fn(&Symbol) -> Option<i64>,
) -> Result<Tensor, InterpretError> {
    check_operands(compute, operands, symbols)?;
    let pool = &compute.pool;
    let extents = (0..pool.num_vars())
        .map(|var| Ok(pool.extent(VarId(var as u32)).eval(symbols)?))
        .collect::<Result<Vec<i64>, InterpretError>>();
    let mut shape = Vec::new();
    for axis in &compute.axes {
        shape.push(usize::try_from(axis.extent.eval(symbols)?).unwrap_or(0));
    }
    let mut result = Tensor::zeros(compute.dtype, &shape)?;
    let count = result.len();
    let mut evaluator = Evaluator {
        compute,
        operands,
        symbols,
        extents: extents?,
        free: free_vars(compute),
        values: vec![0; pool.num_vars()],
        changed: vec![1; pool.num_vars()],
        memo: vec![(0, Scalar::Int(0)); pool.len()],
        clock: 1,
        depth: 0,
    };
    let size = compute.dtype.size_bytes();
    let mut position = vec![0_usize; shape.len()];
    for element in 0..count {
        let value = evaluator.value(compute.body)?.cast(compute.dtype);
        value.store(
            compute.dtype,
            &mut result.bytes_mut()[element * size..(element + 1) * size],
        );
        for axis in (0..shape.len()).rev() {
            position[axis] = (position[axis] + 1) % shape[axis];
            evaluator.set(compute.axes[axis].var, position[axis] as i64);
            if position[axis] != 0 {
                break;
            }
        }
    }
    Ok(result)
}

fn check_operands(
    compute: &Compute,
    operands: &[&Tensor],
    symbols: &dyn Fn(&Symbol) -> Option<i64>,
) -> Result<(), InterpretError> {
    if operands.len() != compute.operands.len() {
        let (wanted, given) = (compute.operands.len(), operands.len());
        return Err(InterpretError::Count {
            name: "definition".to_owned(),
            wanted,
            given,
        });
    }
    for (position, (spec, tensor)) in compute.operands.iter().zip(operands).enumerate() {
        let shape = spec
            .shape
            .iter()
            .map(|dim| dim.eval(symbols))
            .collect::<Result<Vec<i64>, _>>()?;
        let given: Vec<i64> = tensor.shape().iter().map(|&extent| extent as i64).collect();
        if shape != given || spec.dtype != tensor.dtype() {
            return Err(InterpretError::Operand {
                operand: position,
                wanted: format!("{}{shape:?}", spec.dtype),
                given: format!("{}{given:?}", tensor.dtype()),
            });
        }
    }
    Ok(())
}

/// The free variables of each expression.
fn free_vars(compute: &Compute) -> Vec<Vec<VarId>> {
    let pool = &compute.pool;
    let mut free: Vec<Vec<VarId>> = Vec::with_capacity(pool.len());
    for id in 0..pool.len() as u32 {
        let mut vars = Vec::new();
        pool.for_each_operand(ExprId(id), |operand| vars.extend(&free[operand.0 as usize]));
        match &pool.node(ExprId(id)).expr {
            Expr::Var(var) => vars.push(*var),
            Expr::Fold { vars: bound, .. } => vars.retain(|var| !bound.contains(var)),
            Expr::Const(_)
            | Expr::Dim(_)
            | Expr::Load { .. }
            | Expr::Apply { .. }
            | Expr::Cast(_)
            | Expr::Acc => {}
        }
        vars.sort_unstable();
        vars.dedup();
        free.push(vars);
    }
    free
}

struct Evaluator<'c> {
    compute: &'c Compute,
    operands: &'c [&'c Tensor],
    symbols: &'c dyn Fn(&Symbol) -> Option<i64>,
    extents: Vec<i64>,
    free: Vec<Vec<VarId>>,
    /// Current value of each variable, and when it last changed.
    values: Vec<i64>,
    changed: Vec<u64>,
    /// Last value of each expression, and when it was computed; 0 is never.
    memo: Vec<(u64, Scalar)>,
    clock: u64,
    depth: u32,
}

impl Evaluator<'_> {
    fn set(&mut self, var: VarId, value: i64) {
        if self.values[var.0 as usize] != value {
            self.clock += 1;
            self.values[var.0 as usize] = value;
            self.changed[var.0 as usize] = self.clock;
        }
    }

    fn value(&mut self, id: ExprId) -> Result<Scalar, InterpretError> {
        let (when, value) = self.memo[id.0 as usize];
        let fresh = self.free[id.0 as usize]
            .iter()
            .all(|var| self.changed[var.0 as usize] <= when);
        if when > 0 && fresh {
            return Ok(value);
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let text = format!("expressions nest deeper than {DEPTH_MAX}");
            return Err(InterpretError::Malformed(text));
        }
        let value = self.compute(id)?;
        self.depth -= 1;
        self.memo[id.0 as usize] = (self.clock, value);
        Ok(value)
    }

    fn compute(&mut self, id: ExprId) -> Result<Scalar, InterpretError> {
        let compute = self.compute;
        let node = compute.pool.node(id);
        Ok(match &node.expr {
            Expr::Const(literal) => literal.0,
            Expr::Dim(dim) => Scalar::Int(i128::from(dim.eval(self.symbols)?)),
            Expr::Var(var) => Scalar::Int(i128::from(self.values[var.0 as usize])),
            Expr::Load { operand, index } => self.load(*operand as usize, index)?,
            Expr::Apply { op, operands } => match operands.as_slice() {
                [cond, a, b] if *op == ScalarOp::Select => {
                    let chosen = if self.value(*cond)?.is_true() { a } else { b };
                    self.value(*chosen)?
                }
                operands => {
                    let dtype = compute.pool.dtype(operands[0]);
                    let mut values = Vec::with_capacity(3);
                    for &operand in operands {
                        values.push(self.value(operand)?);
                    }
                    op.eval(dtype, &values)
                }
            },
            Expr::Cast(value) => self.value(*value)?.cast(node.dtype),
            Expr::Fold { op, vars, body } => self.fold(*op, vars, *body, node.dtype)?,
            Expr::Acc => {
                return Err(InterpretError::Malformed(
                    "acc outside a contraction".to_owned(),
                ));
            }
        })
    }

    fn load(&mut self, operand: usize, index: &[ExprId]) -> Result<Scalar, InterpretError> {
        let tensor = self.operands.get(operand).copied().ok_or_else(|| {
            InterpretError::Malformed(format!("load from operand {operand}, which is not there"))
        })?;
        if index.len() != tensor.rank() {
            let text = format!("operand {operand} is loaded with {} indices", index.len());
            return Err(InterpretError::Malformed(text));
        }
        if tensor.is_empty() {
            return Ok(Scalar::Int(0).cast(tensor.dtype()));
        }
        let mut linear = 0;
        for (&expr, &extent) in index.iter().zip(tensor.shape()) {
            let value = self.value(expr)?.as_int().unwrap_or(-1);
            if value < 0 || value >= extent as i128 {
                return Err(InterpretError::OutOfBounds {
                    access: "load",
                    buffer: format!("operand {operand}"),
                    index: value as i64,
                    elements: extent,
                });
            }
            linear = linear * extent + value as usize;
        }
        tensor
            .get(linear)
            .ok_or_else(|| InterpretError::Malformed("load of a string".to_owned()))
    }

    fn fold(
        &mut self,
        op: FoldOp,
        vars: &[VarId],
        body: ExprId,
        dtype: DType,
    ) -> Result<Scalar, InterpretError> {
        let mut total = op.identity(dtype);
        let extents: Vec<i64> = vars
            .iter()
            .map(|var| self.extents[var.0 as usize])
            .collect();
        if extents.iter().any(|&extent| extent <= 0) {
            return Ok(total);
        }
        let outside: Vec<i64> = vars.iter().map(|var| self.values[var.0 as usize]).collect();
        let mut position = vec![0_i64; vars.len()];
        loop {
            for (&var, &value) in vars.iter().zip(&position) {
                self.set(var, value);
            }
            let value = self.value(body)?;
            total = op.scalar_op().eval(dtype, &[total, value]);
            let mut axis = vars.len();
            loop {
                if axis == 0 {
                    for (&var, &value) in vars.iter().zip(&outside) {
                        self.set(var, value);
                    }
                    return Ok(total);
                }
                axis -= 1;
                position[axis] += 1;
                if position[axis] < extents[axis] {
                    break;
                }
                position[axis] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alula_tensor::{Dim, ScalarOp};

    use super::*;
    use crate::Operand;

    /// Softmax over the last axis, as one definition.
    fn softmax() -> Compute {
        let shape = vec![Dim::named("N"), Dim::new(4)];
        let x = Operand {
            dtype: DType::F32,
            shape: shape.clone(),
        };
        let mut compute = Compute::begin(vec![x], DType::F32, &shape);
        let index = compute.indices();
        let k = compute.pool.var(4_i64);
        let k_index = compute.pool.var_expr(k);
        let (at, at_k) = (
            compute.load(0, index.clone()),
            compute.load(0, vec![index[0], k_index]),
        );
        let pool = &mut compute.pool;
        let top = pool.fold(FoldOp::Max, vec![k], at_k);
        let shifted = |pool: &mut crate::Pool, value| {
            let difference = pool.sub(value, top);
            pool.unary(ScalarOp::Exp, difference)
        };
        let each = shifted(pool, at_k);
        let sum = pool.fold(FoldOp::Add, vec![k], each);
        let own = shifted(pool, at);
        let share = pool.div(own, sum);
        compute.finish(share)
    }

    #[test]
    fn softmax_sums_to_one() {
        let x = Tensor::from_slice(&[2, 4], &[1.0_f32, 2.0, 3.0, 4.0, -1.0, 0.0, 0.0, 5.0])
            .expect("eight elements");
        let y = evaluate(&softmax(), &[&x], &|_| Some(2)).expect("evaluates");
        for row in y.to_f64s().chunks(4) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{row:?}");
        }
        let expected = (3.0_f64.exp() / (0..4).map(|k| f64::from(k).exp()).sum::<f64>()) as f32;
        assert!((y.to_f64s()[3] - f64::from(expected)).abs() < 1e-6);
    }

    #[test]
    fn wrong_operands_are_refused() {
        let x = Tensor::from_slice(&[2, 3], &[0.0_f32; 6]).expect("six elements");
        let error = evaluate(&softmax(), &[&x], &|_| Some(2)).expect_err("wrong shape");
        assert!(
            matches!(error, InterpretError::Operand { operand: 0, .. }),
            "{error}"
        );
    }
}
