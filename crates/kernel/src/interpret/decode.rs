//! Kernels prepared for execution: functions chosen, dims evaluated, ids checked.

use alula_tensor::{DType, Dim, Scalar, ScalarOp, Symbol};

use super::InterpretError;
use super::value::{self, Binary, Unary};
use crate::{BufferId, Inst, Kernel, LoopKind, Rhs, ValueId};

/// A register number.
pub(super) type Reg = u32;

/// A prepared instruction.
pub(super) enum Op {
    Set {
        dst: Reg,
        bits: u64,
    },
    Unary {
        dst: Reg,
        a: Reg,
        function: Unary,
    },
    Binary {
        dst: Reg,
        a: Reg,
        b: Reg,
        function: Binary,
    },
    Select {
        dst: Reg,
        cond: Reg,
        a: Reg,
        b: Reg,
    },
    EvalUnary {
        dst: Reg,
        a: Reg,
        op: ScalarOp,
        dtype: DType,
    },
    EvalBinary {
        dst: Reg,
        a: Reg,
        b: Reg,
        op: ScalarOp,
        dtype: DType,
    },
    EvalTernary {
        dst: Reg,
        operands: [Reg; 3],
        op: ScalarOp,
        dtype: DType,
    },
    Cast {
        dst: Reg,
        a: Reg,
        from: DType,
        to: DType,
    },
    Bitcast {
        dst: Reg,
        a: Reg,
        to: DType,
    },
    Load {
        dst: Reg,
        buffer: BufferId,
        index: Reg,
    },
    Store {
        buffer: BufferId,
        index: Reg,
        value: Reg,
    },
    Loop(Box<LoopOp>),
    If {
        cond: Reg,
        then: Vec<Op>,
        has_barrier: bool,
    },
    Barrier,
}

/// A prepared loop.
pub(super) struct LoopOp {
    pub(super) var: Reg,
    pub(super) extent: Reg,
    /// 1 for a serial loop.
    pub(super) width: usize,
    pub(super) carried: Vec<CarriedOp>,
    pub(super) body: Vec<Op>,
    pub(super) has_barrier: bool,
}

/// A prepared carried value.
pub(super) struct CarriedOp {
    pub(super) acc: Reg,
    pub(super) init: Reg,
    pub(super) next: Reg,
    pub(super) result: Reg,
    /// The identity and the combining operator, in `Lanes` loops.
    pub(super) combine: Option<(u64, ScalarOp, DType)>,
}

impl Op {
    pub(super) fn has_barrier(&self) -> bool {
        match self {
            Op::Barrier => true,
            Op::Loop(inner) => inner.has_barrier,
            Op::If { has_barrier, .. } => *has_barrier,
            Op::Set { .. }
            | Op::Unary { .. }
            | Op::Binary { .. }
            | Op::Select { .. }
            | Op::EvalUnary { .. }
            | Op::EvalBinary { .. }
            | Op::EvalTernary { .. }
            | Op::Cast { .. }
            | Op::Bitcast { .. }
            | Op::Load { .. }
            | Op::Store { .. } => false,
        }
    }
}

/// Prepares kernels.
pub(super) struct Decoder<'k> {
    pub(super) kernel: &'k Kernel,
    pub(super) symbols: &'k dyn Fn(&Symbol) -> Option<i64>,
}

impl Decoder<'_> {
    pub(super) fn block(&self, insts: &[Inst]) -> Result<Vec<Op>, InterpretError> {
        insts.iter().map(|inst| self.inst(inst)).collect()
    }

    pub(super) fn dim(&self, dim: &Dim) -> Result<i64, InterpretError> {
        Ok(dim.eval(self.symbols)?)
    }

    pub(super) fn reg(&self, value: ValueId) -> Result<Reg, InterpretError> {
        if (value.0 as usize) < self.kernel.dtypes.len() {
            Ok(value.0)
        } else {
            Err(InterpretError::Malformed(format!(
                "value %{} does not exist",
                value.0
            )))
        }
    }

    fn buffer(&self, buffer: BufferId) -> Result<BufferId, InterpretError> {
        let (position, count) = match buffer {
            BufferId::Param(position) => (position, self.kernel.params.len()),
            BufferId::Local(position) | BufferId::Shared(position) => {
                (position, self.kernel.locals.len())
            }
        };
        if (position as usize) < count {
            Ok(buffer)
        } else {
            Err(InterpretError::Malformed(format!(
                "buffer {buffer:?} does not exist"
            )))
        }
    }

    fn inst(&self, inst: &Inst) -> Result<Op, InterpretError> {
        Ok(match inst {
            Inst::Let { id, rhs } => self.rhs(*id, rhs)?,
            Inst::Store {
                buffer,
                index,
                value,
            } => Op::Store {
                buffer: self.buffer(*buffer)?,
                index: self.reg(*index)?,
                value: self.reg(*value)?,
            },
            Inst::Loop(inner) => {
                let body = self.block(&inner.body.0)?;
                let width = match inner.kind {
                    LoopKind::Serial => 1,
                    LoopKind::Lanes(width) => width.max(1) as usize,
                };
                let has_barrier = body.iter().any(Op::has_barrier);
                let carried = inner
                    .carried
                    .iter()
                    .map(|c| self.carried(c))
                    .collect::<Result<_, _>>()?;
                let (var, extent) = (self.reg(inner.var)?, self.reg(inner.extent)?);
                Op::Loop(Box::new(LoopOp {
                    var,
                    extent,
                    width,
                    carried,
                    body,
                    has_barrier,
                }))
            }
            Inst::If { cond, then } => {
                let then = self.block(&then.0)?;
                let has_barrier = then.iter().any(Op::has_barrier);
                Op::If {
                    cond: self.reg(*cond)?,
                    then,
                    has_barrier,
                }
            }
            Inst::Barrier => Op::Barrier,
        })
    }

    fn carried(&self, carried: &crate::Carried) -> Result<CarriedOp, InterpretError> {
        let acc = self.reg(carried.acc)?;
        let dtype = self.kernel.dtype(carried.acc);
        let combine = carried.combine.map(|op| {
            (
                value::from_scalar(dtype, op.identity(dtype)),
                op.scalar_op(),
                dtype,
            )
        });
        Ok(CarriedOp {
            acc,
            init: self.reg(carried.init)?,
            next: self.reg(carried.next)?,
            result: self.reg(carried.result)?,
            combine,
        })
    }

    fn rhs(&self, id: ValueId, rhs: &Rhs) -> Result<Op, InterpretError> {
        let dst = self.reg(id)?;
        let to = self.kernel.dtype(id);
        Ok(match rhs {
            Rhs::Const(literal) => Op::Set {
                dst,
                bits: value::from_scalar(to, literal.0),
            },
            Rhs::Dim(dim) => Op::Set {
                dst,
                bits: self.dim(dim)? as u64,
            },
            Rhs::Apply { op, operands } => self.apply(dst, *op, operands)?,
            Rhs::Cast(a) => {
                let from = self.kernel.dtypes[self.reg(*a)? as usize];
                match value::cast(from, to) {
                    Some(function) => Op::Unary {
                        dst,
                        a: a.0,
                        function,
                    },
                    None => Op::Cast {
                        dst,
                        a: a.0,
                        from,
                        to,
                    },
                }
            }
            Rhs::Bitcast(a) => Op::Bitcast {
                dst,
                a: self.reg(*a)?,
                to,
            },
            Rhs::Load { buffer, index } => Op::Load {
                dst,
                buffer: self.buffer(*buffer)?,
                index: self.reg(*index)?,
            },
        })
    }

    fn apply(&self, dst: Reg, op: ScalarOp, operands: &[ValueId]) -> Result<Op, InterpretError> {
        if operands.len() != op.arity() {
            return Err(InterpretError::Malformed(format!(
                "{op} of {} operands",
                operands.len()
            )));
        }
        let regs = operands
            .iter()
            .map(|&v| self.reg(v))
            .collect::<Result<Vec<Reg>, _>>()?;
        let dtypes: Vec<DType> = operands.iter().map(|&v| self.kernel.dtype(v)).collect();
        let dtype = dtypes[dtypes.len() - 1];
        if !op.accepts(dtype.class()) || dtypes[op.first_typed()] != dtype {
            return Err(InterpretError::Malformed(format!("{op} of {dtypes:?}")));
        }
        Ok(match *regs {
            [a] => match value::unary(op, dtype) {
                Some(function) => Op::Unary { dst, a, function },
                None => Op::EvalUnary { dst, a, op, dtype },
            },
            [a, b] => match value::binary(op, dtype) {
                Some(function) => Op::Binary {
                    dst,
                    a,
                    b,
                    function,
                },
                None => Op::EvalBinary {
                    dst,
                    a,
                    b,
                    op,
                    dtype,
                },
            },
            [cond, a, b] if op == ScalarOp::Select => Op::Select { dst, cond, a, b },
            [a, b, c] => Op::EvalTernary {
                dst,
                operands: [a, b, c],
                op,
                dtype,
            },
            _ => return Err(InterpretError::Malformed(format!("{op} has no such arity"))),
        })
    }
}

/// Applies a binary operator by its definition.
pub(super) fn eval_binary(op: ScalarOp, dtype: DType, a: u64, b: u64) -> u64 {
    let operands: [Scalar; 2] = [value::to_scalar(dtype, a), value::to_scalar(dtype, b)];
    value::from_scalar(op.result(dtype), op.eval(dtype, &operands))
}

/// Applies a ternary operator by its definition.
pub(super) fn eval_ternary(op: ScalarOp, dtype: DType, operands: [u64; 3]) -> u64 {
    let operands = operands.map(|bits| value::to_scalar(dtype, bits));
    value::from_scalar(op.result(dtype), op.eval(dtype, &operands))
}

/// Applies a unary operator by its definition.
pub(super) fn eval_unary(op: ScalarOp, dtype: DType, a: u64) -> u64 {
    let result = op.eval(dtype, &[value::to_scalar(dtype, a)]);
    value::from_scalar(op.result(dtype), result)
}
