//! Instructions of kernels as instructions of PTX.

use alula_kernel::{Block, BufferId, Inst, Kernel, Loop, LoopKind, Rhs, ValueId};
use alula_tensor::{DType, Dim, Scalar, ScalarOp};

use super::EmitError;
use super::cast;
use super::ops::{self, Operand};
use super::printer::Printer;
use super::repr::{Repr, literal, memory};

/// What is known of a value.
#[derive(Clone, Debug)]
struct Value {
    register: String,
    constant: Option<Scalar>,
    natural: bool,
}

/// Prints the body of a kernel.
pub(super) struct Body<'k> {
    kernel: &'k Kernel,
    pub(super) printer: Printer,
    /// Dims that are passed, in order.
    pub(super) dims: Vec<Dim>,
    values: Vec<Option<Value>>,
    /// Registers with the addresses of parameters and of local and shared arrays.
    addresses: Vec<(BufferId, String)>,
}

impl<'k> Body<'k> {
    pub(super) fn new(kernel: &'k Kernel) -> Body<'k> {
        Body {
            kernel,
            printer: Printer::default(),
            dims: Vec::new(),
            values: vec![None; kernel.dtypes.len()],
            addresses: Vec::new(),
        }
    }

    /// The grid axes and the body; `point` is the register with the point's number.
    pub(super) fn print(&mut self, point: String, lane: Option<String>) -> Result<(), EmitError> {
        let kernel = self.kernel;
        let mut rest = point;
        for (position, axis) in kernel.grid.iter().enumerate().rev() {
            let mut register = rest.clone();
            if position > 0 {
                let extent = self.dim(&axis.extent);
                let operands = format!("{rest}, {extent}");
                register = self.printer.op(Repr::Long, "rem.s64", &operands);
                rest = self.printer.op(Repr::Long, "div.s64", &operands);
            }
            self.set(
                axis.var,
                Value {
                    register,
                    constant: None,
                    natural: true,
                },
            );
        }
        if let (Some(var), Some(register)) = (kernel.lane, lane) {
            self.set(
                var,
                Value {
                    register,
                    constant: None,
                    natural: true,
                },
            );
        }
        self.block(&kernel.body)
    }

    fn unsupported(&self, what: impl Into<String>) -> EmitError {
        EmitError::Unsupported {
            kernel: self.kernel.name.clone(),
            what: what.into(),
        }
    }

    fn set(&mut self, id: ValueId, value: Value) {
        self.values[id.0 as usize] = Some(value);
    }

    fn value(&self, id: ValueId) -> &Value {
        self.values[id.0 as usize]
            .as_ref()
            .expect("a verified kernel defines values first")
    }

    fn register(&self, id: ValueId) -> String {
        self.value(id).register.clone()
    }

    fn repr(&self, dtype: DType) -> Result<Repr, EmitError> {
        Repr::of(dtype).ok_or_else(|| self.unsupported(format!("values of {dtype}")))
    }

    /// A register with a dim's value.
    fn dim(&mut self, dim: &Dim) -> String {
        if let Some(value) = dim.as_const() {
            return self.printer.op(Repr::Long, "mov.b64", &value.to_string());
        }
        let known = self.dims.iter().position(|other| other == dim);
        let position = known.unwrap_or_else(|| {
            self.dims.push(dim.clone());
            self.dims.len() - 1
        });
        self.printer
            .op(Repr::Long, "ld.param.s64", &format!("[dim{position}]"))
    }

    fn block(&mut self, block: &Block) -> Result<(), EmitError> {
        for inst in &block.0 {
            match inst {
                Inst::Let { id, rhs } => self.define(*id, rhs)?,
                Inst::Store {
                    buffer,
                    index,
                    value,
                } => self.store(*buffer, *index, *value)?,
                Inst::Loop(inner) => self.inner_loop(inner)?,
                Inst::If { cond, then } => {
                    let (cond, label) = (self.register(*cond), self.printer.label());
                    self.printer.line(&format!("@!{cond} bra $endif{label}"));
                    self.block(then)?;
                    self.printer.place(&format!("$endif{label}"));
                }
                Inst::Barrier => self.printer.line("bar.sync 0"),
            }
        }
        Ok(())
    }

    fn define(&mut self, id: ValueId, rhs: &Rhs) -> Result<(), EmitError> {
        let dtype = self.kernel.dtype(id);
        let mut natural = false;
        let register = match rhs {
            Rhs::Const(constant) => return self.constant(id, dtype, constant.0),
            Rhs::Dim(dim) => self.dim(dim),
            Rhs::Apply { op, operands } => {
                let of = self.kernel.dtype(operands[operands.len() - 1]);
                let listed: Vec<Operand> = operands
                    .iter()
                    .map(|&operand| {
                        let Value {
                            register,
                            constant,
                            natural,
                        } = self.value(operand).clone();
                        Operand {
                            register,
                            constant,
                            natural,
                        }
                    })
                    .collect();
                natural = of == DType::I64 && is_natural(*op, &listed);
                ops::apply(&mut self.printer, *op, of, &listed)
                    .ok_or_else(|| self.unsupported(format!("{op} of {of}")))?
            }
            Rhs::Cast(from) => {
                let (value, from) = (self.register(*from), self.kernel.dtype(*from));
                cast::cast(&mut self.printer, &value, from, dtype)
                    .ok_or_else(|| self.unsupported(format!("casts from {from} to {dtype}")))?
            }
            Rhs::Bitcast(from) => {
                let (value, from) = (self.register(*from), self.kernel.dtype(*from));
                cast::bitcast(&mut self.printer, &value, from, dtype)
                    .ok_or_else(|| self.unsupported(format!("bitcasts from {from} to {dtype}")))?
            }
            Rhs::Load { buffer, index } => self.load(*buffer, *index)?,
        };
        self.set(
            id,
            Value {
                register,
                constant: None,
                natural,
            },
        );
        Ok(())
    }

    fn constant(&mut self, id: ValueId, dtype: DType, value: Scalar) -> Result<(), EmitError> {
        let repr = self.repr(dtype)?;
        let register = if repr == Repr::Pred {
            let one = self.printer.op(Repr::Word, "mov.b32", "1");
            let name = if value.is_true() {
                "setp.eq.s32"
            } else {
                "setp.ne.s32"
            };
            self.printer.op(Repr::Pred, name, &format!("{one}, 1"))
        } else {
            let name = format!("mov.{}", repr.bits());
            self.printer.op(repr, &name, &literal(value, dtype))
        };
        let natural = value.as_int().is_some_and(|value| value >= 0);
        self.set(
            id,
            Value {
                register,
                constant: Some(value),
                natural,
            },
        );
        Ok(())
    }

    /// The state space and address of an element.
    fn address(
        &mut self,
        buffer: BufferId,
        index: ValueId,
    ) -> Result<(&'static str, String), EmitError> {
        let (space, base) = match buffer {
            BufferId::Param(_) => ("global", None),
            BufferId::Local(n) => ("local", Some(format!("local{n}"))),
            BufferId::Shared(n) => ("shared", Some(format!("shared{n}"))),
        };
        let known = self.addresses.iter().find(|(other, _)| *other == buffer);
        let base = match (known, base) {
            (Some((_, register)), _) => register.clone(),
            (None, Some(name)) => self.printer.op(Repr::Long, "mov.b64", &name),
            (None, None) => return Err(self.unsupported("a buffer that does not exist")),
        };
        let bytes = self.kernel.buffer_dtype(buffer).size_bytes();
        let index = self.register(index);
        let operands = format!("{index}, {bytes}, {base}");
        Ok((space, self.printer.op(Repr::Long, "mad.lo.s64", &operands)))
    }

    /// Notes the register with a parameter's address.
    pub(super) fn set_address(&mut self, buffer: BufferId, register: String) {
        self.addresses.push((buffer, register));
    }

    fn load(&mut self, buffer: BufferId, index: ValueId) -> Result<String, EmitError> {
        let dtype = self.kernel.buffer_dtype(buffer);
        let repr = self.repr(dtype)?;
        let (space, address) = self.address(buffer, index)?;
        let name = format!("ld.{space}.{}", memory(dtype));
        let held = if repr == Repr::Pred { Repr::Word } else { repr };
        let loaded = self.printer.op(held, &name, &format!("[{address}]"));
        Ok(if repr == Repr::Pred {
            self.printer
                .op(Repr::Pred, "setp.ne.s32", &format!("{loaded}, 0"))
        } else {
            loaded
        })
    }

    fn store(&mut self, buffer: BufferId, index: ValueId, value: ValueId) -> Result<(), EmitError> {
        let dtype = self.kernel.buffer_dtype(buffer);
        let repr = self.repr(dtype)?;
        let mut value = self.register(value);
        if repr == Repr::Pred {
            value = self
                .printer
                .op(Repr::Word, "selp.b32", &format!("1, 0, {value}"));
        }
        let (space, address) = self.address(buffer, index)?;
        // Stores take the low bits, whatever the sign.
        let ty = match dtype.size_bytes() {
            1 => "u8",
            2 if repr == Repr::Word => "u16",
            _ => memory(dtype),
        };
        self.printer
            .line(&format!("st.{space}.{ty} [{address}], {value}"));
        Ok(())
    }

    fn inner_loop(&mut self, inner: &Loop) -> Result<(), EmitError> {
        if let LoopKind::Lanes(width) = inner.kind {
            return Err(self.unsupported(format!("a loop of {width} lanes")));
        }
        let mut accumulators = Vec::new();
        for carried in &inner.carried {
            let repr = self.repr(self.kernel.dtype(carried.acc))?;
            let init = self.register(carried.init);
            let register = self.copy(repr, &init);
            self.set(
                carried.acc,
                Value {
                    register: register.clone(),
                    constant: None,
                    natural: false,
                },
            );
            accumulators.push((repr, register));
        }
        let extent = self.register(inner.extent);
        let var = self.printer.op(Repr::Long, "mov.b64", "0");
        self.set(
            inner.var,
            Value {
                register: var.clone(),
                constant: None,
                natural: true,
            },
        );
        let label = self.printer.label();
        self.printer.place(&format!("$loop{label}"));
        let done = self
            .printer
            .op(Repr::Pred, "setp.ge.s64", &format!("{var}, {extent}"));
        self.printer.line(&format!("@{done} bra $done{label}"));
        self.block(&inner.body)?;
        let mut next: Vec<String> = inner
            .carried
            .iter()
            .map(|carried| self.register(carried.next))
            .collect();
        // Updates happen all at once: an accumulator that is another one's next is copied first.
        for register in &mut next {
            if let Some((repr, _)) = accumulators.iter().find(|(_, acc)| acc == register) {
                *register = self.copy(*repr, register);
            }
        }
        for ((repr, accumulator), next) in accumulators.iter().zip(&next) {
            self.printer
                .line(&format!("mov.{} {accumulator}, {next}", repr.bits()));
        }
        self.printer.line(&format!("add.s64 {var}, {var}, 1"));
        self.printer.line(&format!("bra $loop{label}"));
        self.printer.place(&format!("$done{label}"));
        for (carried, (_, register)) in inner.carried.iter().zip(accumulators) {
            self.set(
                carried.result,
                Value {
                    register,
                    constant: None,
                    natural: false,
                },
            );
        }
        Ok(())
    }

    fn copy(&mut self, repr: Repr, register: &str) -> String {
        self.printer
            .op(repr, &format!("mov.{}", repr.bits()), register)
    }
}

/// Whether an operator on indices is never negative.
fn is_natural(op: ScalarOp, operands: &[Operand]) -> bool {
    let all = operands.iter().all(|operand| operand.natural);
    let positive = operands
        .last()
        .and_then(|operand| operand.constant.and_then(Scalar::as_int))
        .is_some_and(|divisor| divisor > 0);
    match op {
        ScalarOp::Add | ScalarOp::Mul | ScalarOp::Min | ScalarOp::Div | ScalarOp::FloorDiv => all,
        ScalarOp::Rem => operands[0].natural,
        ScalarOp::FloorMod => positive || all,
        ScalarOp::Max => operands.iter().any(|operand| operand.natural),
        ScalarOp::Select => operands[1..].iter().all(|operand| operand.natural),
        _ => false,
    }
}
