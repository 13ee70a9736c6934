//! Instructions as statements.

use std::collections::BTreeMap;

use alula_kernel::{Block, BufferId, Inst, Kernel, Loop, LoopKind, Rhs, ValueId};
use alula_tensor::{DType, Dim, Scalar, ScalarOp};

use super::EmitError;
use super::cast;
use super::functions::Functions;
use super::memory::{Buffer, local_name};
use super::ops::{self, Operand};
use super::repr::{Repr, literal};

/// What is known of a value.
#[derive(Clone, Debug)]
struct Value {
    text: String,
    repr: Repr,
    constant: Option<Scalar>,
    natural: bool,
}

/// Prints the body of a kernel.
pub(super) struct Body<'k> {
    pub(super) kernel: &'k Kernel,
    pub(super) buffers: &'k [Buffer],
    pub(super) wide: Vec<bool>,
    pub(super) functions: Functions,
    /// Dims that are passed, in order.
    pub(super) dims: Vec<Dim>,
    values: Vec<Option<Value>>,
    /// Operands of sums and differences of floats.
    sums: BTreeMap<ValueId, [ValueId; 2]>,
    lines: String,
    depth: usize,
}

impl<'k> Body<'k> {
    pub(super) fn new(kernel: &'k Kernel, buffers: &'k [Buffer], wide: Vec<bool>) -> Body<'k> {
        Body {
            kernel,
            buffers,
            wide,
            functions: Functions::default(),
            dims: Vec::new(),
            values: vec![None; kernel.dtypes.len()],
            sums: BTreeMap::new(),
            lines: String::new(),
            depth: 2,
        }
    }

    /// Statements for the grid axes and the body.
    pub(super) fn print(&mut self) -> Result<String, EmitError> {
        let kernel = self.kernel;
        let mut rest = "point".to_owned();
        for (position, axis) in kernel.grid.iter().enumerate().rev() {
            let name = format!("v{}", axis.var.0);
            if position == 0 {
                self.line(&format!("let {name} = {rest};"));
            } else {
                // Nothing runs in a grid without points, but the text must be valid.
                let extent = match axis.extent.as_const() {
                    Some(0) => "1i".to_owned(),
                    _ => self.dim(&axis.extent),
                };
                self.line(&format!("let {name} = {rest} % {extent};"));
                self.line(&format!("let rest{position} = {rest} / {extent};"));
                rest = format!("rest{position}");
            }
            self.set(axis.var, Value::index(name));
        }
        if let Some(lane) = kernel.lane {
            self.set(lane, Value::index("i32(lane)".to_owned()));
        }
        self.block(&kernel.body)?;
        Ok(std::mem::take(&mut self.lines))
    }

    fn unsupported(&self, what: impl Into<String>) -> EmitError {
        EmitError::Unsupported {
            kernel: self.kernel.name.clone(),
            what: what.into(),
        }
    }

    fn line(&mut self, text: &str) {
        self.lines.push_str(&"  ".repeat(self.depth));
        self.lines.push_str(text);
        self.lines.push('\n');
    }

    fn set(&mut self, id: ValueId, value: Value) {
        self.values[id.0 as usize] = Some(value);
    }

    fn repr(&self, id: ValueId) -> Result<Repr, EmitError> {
        let dtype = self.kernel.dtype(id);
        Repr::of(dtype, self.wide[id.0 as usize])
            .ok_or_else(|| self.unsupported(format!("values of {dtype}")))
    }

    fn value(&self, id: ValueId) -> &Value {
        self.values[id.0 as usize]
            .as_ref()
            .expect("a verified kernel defines values first")
    }

    /// A value as an expression of a repr that holds its dtype.
    fn text(&self, id: ValueId, repr: Repr) -> String {
        let value = self.value(id);
        match value.constant {
            Some(constant) => literal(constant, repr),
            None => cast::resize(&value.text, value.repr, repr),
        }
    }

    /// A value as a 32-bit index.
    fn index(&self, id: ValueId) -> String {
        self.text(id, Repr::I32)
    }

    /// A dim's place in the uniform array.
    fn dim(&mut self, dim: &Dim) -> String {
        if let Some(value) = dim.as_const().filter(|&value| i32::try_from(value).is_ok()) {
            return literal(Scalar::Int(i128::from(value)), Repr::I32);
        }
        let known = self.dims.iter().position(|other| other == dim);
        let position = known.unwrap_or_else(|| {
            self.dims.push(dim.clone());
            self.dims.len() - 1
        });
        size(2 + self.buffers.len() + position)
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
                    let cond = self.text(*cond, Repr::Bool);
                    self.line(&format!("if ({cond}) {{"));
                    self.nested(then)?;
                    self.line("}");
                }
                Inst::Barrier => {
                    self.line("workgroupBarrier();");
                    self.line("storageBarrier();");
                }
            }
        }
        Ok(())
    }

    fn nested(&mut self, block: &Block) -> Result<(), EmitError> {
        self.depth += 1;
        let done = self.block(block);
        self.depth -= 1;
        done
    }

    fn define(&mut self, id: ValueId, rhs: &Rhs) -> Result<(), EmitError> {
        let (dtype, repr) = (self.kernel.dtype(id), self.repr(id)?);
        let mut natural = false;
        let text = match rhs {
            Rhs::Const(constant) => return self.constant(id, constant.0, repr),
            Rhs::Dim(dim) => self.dim(dim),
            Rhs::Apply { op, operands } => {
                if repr == Repr::F32
                    && let (ScalarOp::Add | ScalarOp::Sub, &[a, b]) = (op, operands.as_slice())
                {
                    self.sums.insert(id, [a, b]);
                }
                let (text, is_natural) = match self.apply(dtype, repr, *op, operands)? {
                    Applied::Constant(value) => return self.constant(id, value, repr),
                    Applied::Text(text, natural) => (text, natural),
                };
                natural = is_natural;
                text
            }
            Rhs::Cast(from) => {
                let value = self.value(*from).clone();
                if let Some(constant) = value.constant {
                    return self.constant(id, constant.cast(dtype), repr);
                }
                let from = (self.kernel.dtype(*from), value.repr);
                cast::cast(&mut self.functions, &value.text, from, (dtype, repr))
            }
            Rhs::Bitcast(from) => {
                let value = self.value(*from);
                let text = match value.constant {
                    // A constant is made opaque: its bits may be no constant of the new type.
                    Some(_) => {
                        let zero = match value.repr {
                            Repr::I32 => " | bitcast<i32>(zero)",
                            Repr::U32 => " | zero",
                            _ => "",
                        };
                        format!("({}{zero})", value.text)
                    }
                    None => value.text.clone(),
                };
                cast::bitcast(&text, value.repr, (dtype, repr))
            }
            Rhs::Load { buffer, index } => self.load(*buffer, *index)?,
        };
        let name = format!("v{}", id.0);
        self.line(&format!("let {name} = {text};"));
        self.set(
            id,
            Value {
                text: name,
                repr,
                constant: None,
                natural,
            },
        );
        Ok(())
    }

    fn constant(&mut self, id: ValueId, value: Scalar, repr: Repr) -> Result<(), EmitError> {
        let natural = value.as_int().is_some_and(|value| value >= 0);
        let text = literal(value, repr);
        self.set(
            id,
            Value {
                text,
                repr,
                constant: Some(value),
                natural,
            },
        );
        Ok(())
    }

    fn apply(
        &mut self,
        result: DType,
        result_repr: Repr,
        op: ScalarOp,
        operands: &[ValueId],
    ) -> Result<Applied, EmitError> {
        let last = operands[operands.len() - 1];
        let dtype = self.kernel.dtype(last);
        let typed = &operands[usize::from(op == ScalarOp::Select)..];
        let any_wide = typed
            .iter()
            .any(|&operand| self.value(operand).repr.is_wide());
        let repr = match (dtype, result) {
            (DType::I64, DType::I64) => result_repr,
            (DType::I64, _) if any_wide => Repr::I64,
            _ => self.repr(last)?,
        };
        let listed: Vec<Operand> = operands
            .iter()
            .enumerate()
            .map(|(position, &id)| {
                let value = self.value(id);
                let is_cond = op == ScalarOp::Select && position == 0;
                Operand {
                    text: self.text(id, if is_cond { Repr::Bool } else { repr }),
                    constant: value.constant,
                    natural: value.natural,
                    id: id.0,
                }
            })
            .collect();
        let mut listed = listed;
        if repr == Repr::F32 && matches!(op, ScalarOp::Add | ScalarOp::Sub) {
            for (position, other) in [(0, 1), (1, 0)] {
                if self.cancels(operands[position], operands[other]) {
                    self.functions.need("opaque");
                    listed[position].text = format!("opaque({})", listed[position].text);
                }
            }
        }
        // Drivers take x - x for 0 and x / x for 1, which infinities and NaN do not give.
        let is_same = operands.len() == 2 && operands[0] == operands[1];
        if repr == Repr::F32 && is_same && matches!(op, ScalarOp::Sub | ScalarOp::Div) {
            self.functions.need("opaque");
            listed[1].text = format!("opaque({})", listed[1].text);
        }
        if let Some(value) = ops::fold(op, dtype, &listed) {
            return Ok(Applied::Constant(value));
        }
        let natural = dtype == DType::I64 && is_natural(op, &listed);
        ops::apply(&mut self.functions, op, dtype, repr, &listed)
            .map(|text| Applied::Text(text, natural))
            .ok_or_else(|| self.unsupported(format!("{op} of {dtype}")))
    }

    /// Whether a sum to which `other` is added or from which it is taken holds it, or a constant as
    /// it is one: drivers simplify `(a + b) - b` to `a`, which rounding is meant to prevent.
    fn cancels(&self, sum: ValueId, other: ValueId) -> bool {
        let is_constant = |id: ValueId| self.value(id).constant.is_some();
        self.sums.get(&sum).is_some_and(|parts| {
            parts
                .iter()
                .any(|&part| part == other || is_constant(part) && is_constant(other))
        })
    }

    fn load(&mut self, buffer: BufferId, index: ValueId) -> Result<String, EmitError> {
        let index = self.index(index);
        match (buffer, local_name(self.kernel, buffer)) {
            (_, Some(name)) => Ok(format!("{name}[{index}]")),
            (BufferId::Param(position), _) => {
                let position = position as usize;
                Ok(self.buffers[position].load(&element(position, &index)))
            }
            _ => Err(self.unsupported("a buffer that does not exist")),
        }
    }

    fn store(&mut self, buffer: BufferId, index: ValueId, value: ValueId) -> Result<(), EmitError> {
        let dtype = self.kernel.buffer_dtype(buffer);
        let repr =
            Repr::of(dtype, true).ok_or_else(|| self.unsupported(format!("stores of {dtype}")))?;
        let (index, value) = (self.index(index), self.text(value, repr));
        match (buffer, local_name(self.kernel, buffer)) {
            (_, Some(name)) => self.line(&format!("{name}[{index}] = {value};")),
            (BufferId::Param(position), _) => {
                let position = position as usize;
                let buffer = &self.buffers[position];
                for line in buffer.store(&element(position, &index), &value) {
                    self.line(&line);
                }
            }
            _ => return Err(self.unsupported("a buffer that does not exist")),
        }
        Ok(())
    }

    fn inner_loop(&mut self, inner: &Loop) -> Result<(), EmitError> {
        if let LoopKind::Lanes(width) = inner.kind {
            return Err(self.unsupported(format!("a loop of {width} lanes")));
        }
        for carried in &inner.carried {
            let repr = self.repr(carried.acc)?;
            let init = self.text(carried.init, repr);
            self.line(&format!(
                "var a{}: {} = {init};",
                carried.acc.0,
                repr.name()
            ));
        }
        let (extent, var) = (self.index(inner.extent), inner.var.0);
        self.line(&format!(
            "for (var k{var} = 0i; k{var} < {extent}; k{var} += 1i) {{"
        ));
        self.set(inner.var, Value::index(format!("k{var}")));
        self.depth += 1;
        for carried in &inner.carried {
            // A copy: updates happen all at once.
            let (name, repr) = (format!("v{}", carried.acc.0), self.repr(carried.acc)?);
            self.line(&format!("let {name} = a{};", carried.acc.0));
            self.set(
                carried.acc,
                Value {
                    text: name,
                    repr,
                    constant: None,
                    natural: false,
                },
            );
        }
        self.block(&inner.body)?;
        for carried in &inner.carried {
            let next = self.text(carried.next, self.repr(carried.acc)?);
            self.line(&format!("a{} = {next};", carried.acc.0));
        }
        self.depth -= 1;
        self.line("}");
        for carried in &inner.carried {
            let repr = self.repr(carried.acc)?;
            let text = format!("a{}", carried.acc.0);
            self.set(
                carried.result,
                Value {
                    text,
                    repr,
                    constant: None,
                    natural: false,
                },
            );
        }
        Ok(())
    }
}

enum Applied {
    Constant(Scalar),
    /// And whether it is never negative.
    Text(String, bool),
}

impl Value {
    fn index(text: String) -> Value {
        Value {
            text,
            repr: Repr::I32,
            constant: None,
            natural: true,
        }
    }
}

/// An element of a parameter within its binding.
fn element(position: usize, index: &str) -> String {
    format!("{index} + {}", size(2 + position))
}

/// An element of the uniform array.
pub(super) fn size(position: usize) -> String {
    let component = ["x", "y", "z", "w"][position % 4];
    format!("sizes[{}].{component}", position / 4)
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
