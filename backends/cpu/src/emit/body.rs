//! Blocks of instructions: values and branches, in scalar code and in groups of lanes alike.

use alula_kernel::{Block, Inst, Rhs, ValueId};
use alula_tensor::{DType, Scalar, ScalarOp};
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::EmitError;
use super::printer::{Printer, Stride, Val};
use super::repr::{Form, QUAD, Repr};
use super::{cast, ops};

impl<'k> Printer<'k, '_> {
    /// Prints instructions in order.
    pub(super) fn block(&mut self, block: &'k Block) -> Result<(), EmitError> {
        for inst in &block.0 {
            match inst {
                Inst::Let { id, rhs } => {
                    let value = self.rhs(*id, rhs)?;
                    self.set(*id, value)?;
                }
                Inst::Store {
                    buffer,
                    index,
                    value,
                } => self.store(*buffer, *index, *value)?,
                Inst::Loop(inner) => self.print_loop(inner)?,
                Inst::If { cond, then } => self.branch(*cond, then)?,
                // A grid point is one lane here.
                Inst::Barrier => {}
            }
        }
        Ok(())
    }

    fn branch(&mut self, cond: ValueId, then: &'k Block) -> Result<(), EmitError> {
        let cond = self.uniform(cond)?;
        let (taken, after) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(cond, taken, &[], after, &[]);
        self.b.switch_to_block(taken);
        self.block(then)?;
        self.b.ins().jump(after, &[]);
        self.b.switch_to_block(after);
        Ok(())
    }

    pub(super) fn rhs(&mut self, id: ValueId, rhs: &Rhs) -> Result<Val, EmitError> {
        let dtype = self.dtype(id)?;
        match rhs {
            Rhs::Const(literal) => Ok(Val::Uniform(self.literal(dtype, literal.0)?)),
            Rhs::Dim(dim) => Ok(Val::Uniform(self.dim(dim)?)),
            Rhs::Apply { op, operands } => self.apply(*op, operands),
            Rhs::Cast(value) => self.convert(*value, dtype, false),
            Rhs::Bitcast(value) => self.convert(*value, dtype, true),
            Rhs::Load { buffer, index } => self.load(*buffer, *index),
        }
    }

    /// A constant of a dtype.
    pub(super) fn literal(&mut self, dtype: DType, value: Scalar) -> Result<Value, EmitError> {
        let repr = self.repr(dtype)?;
        Ok(match repr {
            Repr::F32 | Repr::F64 => ops::float(&mut self.b, Form::Scalar, repr, value.to_f64()),
            Repr::Bool => ops::constant(&mut self.b, types::I8, i64::from(value.is_true())),
            Repr::I32 | Repr::I64 => {
                let bits = match value {
                    Scalar::Int(value) => value as i64,
                    Scalar::Float(_) => {
                        let mut bytes = [0; 8];
                        value.store(dtype, &mut bytes);
                        i64::from_le_bytes(bytes)
                    }
                };
                ops::int(&mut self.b, Form::Scalar, repr, bits)
            }
        })
    }

    fn apply(&mut self, op: ScalarOp, operands: &[ValueId]) -> Result<Val, EmitError> {
        let Some(last) = operands.last().filter(|_| operands.len() == op.arity()) else {
            return Err(self.malformed(format!("{op} of {} operands", operands.len())));
        };
        let dtype = self.dtype(*last)?;
        let values = operands
            .iter()
            .map(|&v| self.get(v))
            .collect::<Result<Vec<_>, _>>()?;
        let scalars: Option<Vec<Value>> = values
            .iter()
            .map(|value| {
                if let Val::Uniform(v) = value {
                    Some(*v)
                } else {
                    None
                }
            })
            .collect();
        if let Some(scalars) = scalars {
            return Ok(Val::Uniform(self.scalar(op, dtype, &scalars)?));
        }
        if dtype == DType::I64
            && let Some(value) = self.affine(op, &values)
        {
            return Ok(value);
        }
        if let Some(parts) = self.vector(op, dtype, operands, &values)? {
            return Ok(Val::Lanes(parts));
        }
        self.lane_by_lane(op, dtype, operands)
    }

    /// An operator on single values.
    pub(super) fn scalar(
        &mut self,
        op: ScalarOp,
        dtype: DType,
        args: &[Value],
    ) -> Result<Value, EmitError> {
        ops::apply(&mut self.b, Form::Scalar, op, dtype, args)
            .ok_or_else(|| self.unsupported(format!("{op} of {dtype}")))
    }

    /// Sums, differences and multiples of affine values are affine.
    fn affine(&mut self, op: ScalarOp, values: &[Val]) -> Option<Val> {
        let part = |value: &Val| match value {
            Val::Uniform(base) => Some((*base, Stride::Const(0))),
            Val::Affine { base, stride } => Some((*base, *stride)),
            Val::Lanes(_) => None,
        };
        let ((x, x_step), (y, y_step)) = (part(values.first()?)?, part(values.get(1)?)?);
        let base = match op {
            ScalarOp::Add => self.b.ins().iadd(x, y),
            ScalarOp::Sub => self.b.ins().isub(x, y),
            ScalarOp::Mul if matches!(values, [Val::Uniform(_), _] | [_, Val::Uniform(_)]) => {
                self.b.ins().imul(x, y)
            }
            _ => return None,
        };
        let stride = match (op, x_step, y_step) {
            (ScalarOp::Add, Stride::Const(a), Stride::Const(c)) => Stride::Const(a.wrapping_add(c)),
            (ScalarOp::Sub, Stride::Const(a), Stride::Const(c)) => Stride::Const(a.wrapping_sub(c)),
            (ScalarOp::Add, ..) | (ScalarOp::Sub, ..) => {
                let (a, c) = (self.stride(x_step), self.stride(y_step));
                Stride::Value(match op {
                    ScalarOp::Add => self.b.ins().iadd(a, c),
                    _ => self.b.ins().isub(a, c),
                })
            }
            _ => {
                let (factor, step) = if matches!(values[0], Val::Uniform(_)) {
                    (x, y_step)
                } else {
                    (y, x_step)
                };
                match (ops::as_iconst(&self.b, factor), step) {
                    (Some(factor), Stride::Const(step)) => Stride::Const(factor.wrapping_mul(step)),
                    (_, step) => {
                        let step = self.stride(step);
                        Stride::Value(self.b.ins().imul(factor, step))
                    }
                }
            }
        };
        Some(Val::Affine { base, stride })
    }

    /// The operator on every quad; `None` where there is no vector form.
    fn vector(
        &mut self,
        op: ScalarOp,
        dtype: DType,
        operands: &[ValueId],
        values: &[Val],
    ) -> Result<Option<Vec<Value>>, EmitError> {
        let repr = self.repr(dtype)?;
        if let (ScalarOp::Shl | ScalarOp::Shr, Some(Val::Uniform(amount))) = (op, values.get(1)) {
            let parts = self.lanes(operands[0])?;
            let shifted = parts
                .into_iter()
                .map(|part| ops::shift(&mut self.b, Form::Vector, op, dtype, part, *amount));
            return Ok(Some(shifted.collect()));
        }
        let args = operands
            .iter()
            .map(|&v| self.lanes(v))
            .collect::<Result<Vec<_>, _>>()?;
        let per_quad = repr.parts();
        let mut result = Vec::new();
        for quad in 0..self.quads {
            let range = quad * per_quad..(quad + 1) * per_quad;
            if op == ScalarOp::Select {
                let (x, y) = (&args[1][range.clone()], &args[2][range]);
                result.extend(cast::select_quad(&mut self.b, repr, args[0][quad], x, y));
                continue;
            }
            let mut parts = Vec::with_capacity(per_quad);
            for part in range {
                let args: Vec<Value> = args.iter().map(|arg| arg[part]).collect();
                match ops::apply(&mut self.b, Form::Vector, op, dtype, &args) {
                    Some(value) => parts.push(value),
                    None => return Ok(None),
                }
            }
            if op.is_predicate() {
                result.push(cast::narrow_mask(&mut self.b, &parts));
            } else {
                result.extend(parts);
            }
        }
        Ok(Some(result))
    }

    /// The scalar form on each lane.
    fn lane_by_lane(
        &mut self,
        op: ScalarOp,
        dtype: DType,
        operands: &[ValueId],
    ) -> Result<Val, EmitError> {
        let args = operands
            .iter()
            .map(|&v| self.scalars(v))
            .collect::<Result<Vec<_>, _>>()?;
        let mut results = Vec::new();
        for lane in 0..self.quads * QUAD as usize {
            let args: Vec<Value> = args.iter().map(|arg| arg[lane]).collect();
            results.push(self.scalar(op, dtype, &args)?);
        }
        let repr = self.repr(op.result(dtype))?;
        Ok(Val::Lanes(self.pack(repr, &results)))
    }

    fn convert(&mut self, value: ValueId, to: DType, bits: bool) -> Result<Val, EmitError> {
        let from = self.dtype(value)?;
        let name = if bits { "a bitcast" } else { "a cast" };
        let refused = || format!("{name} from {from} to {to}");
        if let Val::Uniform(scalar) = self.get(value)? {
            let result = self.convert_scalar(from, to, bits, scalar);
            return result
                .map(Val::Uniform)
                .ok_or_else(|| self.unsupported(refused()));
        }
        let per_quad = self.repr(from)?.parts();
        let parts = self.lanes(value)?;
        let quads: Option<Vec<Vec<Value>>> = parts
            .chunks(per_quad)
            .map(|quad| match bits {
                false => cast::quad(&mut self.b, from, to, quad),
                true => quad
                    .iter()
                    .map(|&v| cast::reinterpret(&mut self.b, Form::Vector, from, to, v))
                    .collect(),
            })
            .collect();
        if let Some(quads) = quads {
            return Ok(Val::Lanes(quads.concat()));
        }
        let mut results = Vec::new();
        for scalar in self.scalars(value)? {
            let result = self.convert_scalar(from, to, bits, scalar);
            results.push(result.ok_or_else(|| self.unsupported(refused()))?);
        }
        let repr = self.repr(to)?;
        Ok(Val::Lanes(self.pack(repr, &results)))
    }

    fn convert_scalar(&mut self, from: DType, to: DType, bits: bool, v: Value) -> Option<Value> {
        match bits {
            true => cast::reinterpret(&mut self.b, Form::Scalar, from, to, v),
            false => cast::scalar(&mut self.b, from, to, v),
        }
    }
}
