//! What a well-formed definition or contraction is.
//!
//! [`verify_compute`] promises, and the builder of loops relies on:
//!
//! 1. Output axes run over distinct variables of the pool, of the extents that the axes say.
//! 2. Loads name an operand, with an `i64` index for each of its axes, and have its dtype. Nothing
//!    holds strings.
//! 3. Scalar operators get the number and dtypes of operands that
//!    [`ScalarOp::accepts`](alula_tensor::ScalarOp::accepts) allows and give the dtype that
//!    [`ScalarOp::result`](alula_tensor::ScalarOp::result) says. Dims and variables are `i64`;
//!    literals are values of their dtype.
//! 4. A fold has the dtype of its body and runs over distinct variables, none of which is an
//!    output axis.
//! 5. A variable is used only where it has a value: output axes everywhere, others inside of a
//!    fold over them.
//! 6. The accumulator is in contractions only, of the dtype that they add up in.
//! 7. The body has the result's dtype, or the one that the result is computed in.
//!
//! and [`verify_contract`], besides:
//!
//! 8. Axes have distinct variables. Indices of the left side are made of batch, M and K, those of
//!    the right side of batch, N and K, output positions of batch, M and N, one for each axis.
//! 9. Sides and zero points are operands of the epilogue; padded axes are axes of their side.

use std::collections::BTreeSet;

use alula_tensor::{DType, DTypeClass};

use crate::{Affine, Compute, Contract, ContractOperand, Expr, ExprId, Role, VarId, VerifyError};

/// Checks every rule; `name` is for messages.
///
/// # Errors
/// All findings.
pub fn verify_compute(name: &str, compute: &Compute) -> Result<(), Vec<VerifyError>> {
    let mut verifier = Verifier::new(name, compute, None);
    verifier.compute();
    verifier.finish()
}

/// Checks every rule; `name` is for messages.
///
/// # Errors
/// All findings.
pub fn verify_contract(name: &str, contract: &Contract) -> Result<(), Vec<VerifyError>> {
    let mut verifier = Verifier::new(name, &contract.epilogue, Some(contract.acc));
    verifier.compute();
    verifier.contract(contract);
    verifier.finish()
}

struct Verifier<'c> {
    name: &'c str,
    compute: &'c Compute,
    acc: Option<DType>,
    errors: Vec<VerifyError>,
}

impl<'c> Verifier<'c> {
    fn new(name: &'c str, compute: &'c Compute, acc: Option<DType>) -> Verifier<'c> {
        Verifier {
            name,
            compute,
            acc,
            errors: Vec::new(),
        }
    }

    fn finish(self) -> Result<(), Vec<VerifyError>> {
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(self.errors),
        }
    }

    fn error(&mut self, rule: u8, message: impl Into<String>) {
        self.errors.push(VerifyError {
            kernel: self.name.to_owned(),
            rule,
            message: message.into(),
        });
    }

    fn check(&mut self, rule: u8, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.error(rule, message());
        }
    }

    fn compute(&mut self) {
        let compute = self.compute;
        let mut axes = BTreeSet::new();
        for axis in &compute.axes {
            let number = axis.var.0;
            let is_there = (number as usize) < compute.pool.num_vars();
            self.check(1, is_there, || format!("there is no variable i{number}"));
            if is_there {
                let (own, said) = (compute.pool.extent(axis.var), &axis.extent);
                self.check(1, own == said, || {
                    format!("i{number} runs to {own}, its axis to {said}")
                });
            }
            self.check(1, axes.insert(axis.var), || {
                format!("i{number} is two axes")
            });
        }
        for (position, operand) in compute.operands.iter().enumerate() {
            self.check(2, operand.dtype != DType::String, || {
                format!("operand x{position} holds strings")
            });
        }
        let (body, dtype) = (compute.pool.dtype(compute.body), compute.dtype);
        self.check(7, body == dtype || body == dtype.compute(), || {
            format!("the body is {body}, the result {dtype}")
        });
        let free = self.expressions();
        let body = &free[compute.body.0 as usize];
        if let Some(var) = body.iter().find(|var| !axes.contains(var)) {
            self.error(5, format!("i{} has no value in the body", var.0));
        }
    }

    /// Checks what the body is made of; for each expression the variables that it needs.
    fn expressions(&mut self) -> Vec<BTreeSet<VarId>> {
        let pool = &self.compute.pool;
        let mut needed = vec![false; pool.len()];
        needed[self.compute.body.0 as usize] = true;
        for id in (0..=self.compute.body.0).rev() {
            if needed[id as usize] {
                pool.for_each_operand(ExprId(id), |operand| needed[operand.0 as usize] = true);
            }
        }
        let mut free: Vec<BTreeSet<VarId>> = vec![BTreeSet::new(); pool.len()];
        for id in (0..pool.len() as u32).filter(|id| needed[*id as usize]) {
            let mut own = BTreeSet::new();
            pool.for_each_operand(ExprId(id), |operand| {
                own.extend(free[operand.0 as usize].iter().copied());
            });
            self.expression(ExprId(id), &mut own);
            free[id as usize] = own;
        }
        free
    }

    fn expression(&mut self, id: ExprId, free: &mut BTreeSet<VarId>) {
        let compute = self.compute;
        let pool = &compute.pool;
        let node = pool.node(id);
        let dtype = node.dtype;
        self.check(2, dtype != DType::String, || {
            "a string is computed".to_owned()
        });
        match &node.expr {
            Expr::Const(literal) => {
                let fits = literal.0.cast(dtype) == literal.0 || dtype.is_float();
                self.check(3, fits, || format!("{:?} is no {dtype}", literal.0));
            }
            Expr::Dim(dim) => {
                self.check(3, dtype == DType::I64, || format!("dim {dim} is {dtype}"));
            }
            Expr::Var(var) => {
                let is_there = (var.0 as usize) < pool.num_vars();
                self.check(3, dtype == DType::I64, || format!("i{} is {dtype}", var.0));
                self.check(5, is_there, || format!("there is no variable i{}", var.0));
                free.insert(*var);
            }
            Expr::Load { operand, index } => {
                let Some(known) = compute.operands.get(*operand as usize) else {
                    return self.error(2, format!("there is no operand x{operand}"));
                };
                let (given, rank) = (index.len(), known.shape.len());
                self.check(2, given == rank, || {
                    format!("{given} indices into the {rank} axes of x{operand}")
                });
                self.check(2, known.dtype == dtype, || {
                    format!("x{operand} holds {}, {dtype} is loaded", known.dtype)
                });
                let are_numbers = index.iter().all(|id| pool.dtype(*id) == DType::I64);
                self.check(2, are_numbers, || {
                    format!("an index into x{operand} is not i64")
                });
            }
            Expr::Apply { op, operands } => {
                let (given, arity) = (operands.len(), op.arity());
                if given != arity {
                    return self.error(3, format!("{op} of {given} operands, not {arity}"));
                }
                let of = pool.dtype(operands[arity - 1]);
                let typed = &operands[op.first_typed()..];
                let agree = typed.iter().all(|id| pool.dtype(*id) == of);
                self.check(3, agree, || format!("{op} of operands of different dtypes"));
                let others = &operands[..op.first_typed()];
                let are_bools = others.iter().all(|id| pool.dtype(*id) == DType::Bool);
                self.check(3, are_bools, || format!("the condition of {op} is no bool"));
                self.check(3, op.accepts(of.class()), || format!("{op} of {of}"));
                self.check(3, op.result(of) == dtype, || {
                    format!("{op} of {of} is {}, not {dtype}", op.result(of))
                });
            }
            Expr::Cast(_) => {}
            Expr::Fold { op, vars, body } => {
                let of = pool.dtype(*body);
                self.check(4, of == dtype, || format!("a fold of {of} is {dtype}"));
                let is_number = dtype.class() != DTypeClass::Bool;
                let accepts = is_number || op.scalar_op().accepts(DTypeClass::Bool);
                self.check(4, accepts, || format!("fold {} of {dtype}", op.name()));
                for (position, var) in vars.iter().enumerate() {
                    let number = var.0;
                    let is_fresh = !vars[..position].contains(var)
                        && compute.axes.iter().all(|axis| axis.var != *var);
                    self.check(4, is_fresh, || {
                        format!("a fold over i{number}, which is taken")
                    });
                    let is_there = (number as usize) < pool.num_vars();
                    self.check(5, is_there, || format!("there is no variable i{number}"));
                    free.remove(var);
                }
            }
            Expr::Acc => match self.acc {
                Some(acc) => {
                    self.check(6, acc == dtype, || format!("acc is {dtype}, not {acc}"));
                }
                None => self.error(6, "acc is in no contraction"),
            },
        }
    }

    fn contract(&mut self, contract: &Contract) {
        let pool = &self.compute.pool;
        let mut seen = BTreeSet::new();
        for axis in &contract.axes {
            let number = axis.var.0;
            let is_there = (number as usize) < pool.num_vars();
            self.check(8, is_there, || format!("there is no variable i{number}"));
            self.check(8, seen.insert(axis.var), || {
                format!("i{number} is two axes")
            });
        }
        let of = |roles: [Role; 3]| -> BTreeSet<VarId> {
            let axes = contract
                .axes
                .iter()
                .filter(|axis| roles.contains(&axis.role));
            axes.map(|axis| axis.var).collect()
        };
        self.side("a", &contract.a, &of([Role::Batch, Role::M, Role::K]));
        self.side("b", &contract.b, &of([Role::Batch, Role::N, Role::K]));
        let (out, rank) = (contract.out.len(), self.compute.axes.len());
        self.check(8, out == rank, || {
            format!("{out} positions for {rank} output axes")
        });
        let within = of([Role::Batch, Role::M, Role::N]);
        for index in &contract.out {
            self.within("the output", index, &within);
        }
    }

    fn side(&mut self, name: &str, side: &ContractOperand, axes: &BTreeSet<VarId>) {
        let operands = &self.compute.operands;
        for index in &side.index {
            self.within(name, index, axes);
        }
        if let Some(zero_point) = side.zero_point {
            let is_there = (zero_point as usize) < operands.len();
            self.check(9, is_there, || format!("there is no operand x{zero_point}"));
        }
        let Some(operand) = operands.get(side.operand as usize) else {
            let number = side.operand;
            return self.error(9, format!("there is no operand x{number}"));
        };
        let (given, rank) = (side.index.len(), operand.shape.len());
        self.check(8, given == rank, || {
            format!("{given} indices into the {rank} axes of {name}")
        });
        let is_axis = side.padded.iter().all(|axis| *axis < rank);
        self.check(9, is_axis, || {
            format!("padded axes {:?} of {name} with {rank} axes", side.padded)
        });
    }

    fn within(&mut self, what: &str, index: &Affine, axes: &BTreeSet<VarId>) {
        if let Some(var) = index.terms.keys().find(|var| !axes.contains(var)) {
            let number = var.0;
            self.error(
                8,
                format!("an index of {what} uses i{number}, which is none of its axes"),
            );
        }
    }
}
