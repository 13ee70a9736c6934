//! Kernels as text.

use std::fmt::{self, Formatter, Write as _};

use alula_tensor::{DType, Scalar};

use crate::{Access, Block, BufferId, FoldOp, Inst, Kernel, Literal, Loop, LoopKind, Rhs, ValueId};

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut printer = Printer {
            kernel: self,
            names: vec![None; self.dtypes.len()],
            next: 0,
        };
        f.write_str(&printer.kernel().map_err(|_| fmt::Error)?)
    }
}

impl Access {
    /// The word in kernel text.
    pub const fn name(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::ReadWrite => "readwrite",
        }
    }
}

impl FoldOp {
    /// Every fold operator.
    pub const ALL: [FoldOp; 6] = [
        FoldOp::Add,
        FoldOp::Mul,
        FoldOp::Max,
        FoldOp::Min,
        FoldOp::And,
        FoldOp::Or,
    ];
}

struct Printer<'k> {
    kernel: &'k Kernel,
    /// Canonical number of each value, once it has appeared.
    names: Vec<Option<u32>>,
    next: u32,
}

impl Printer<'_> {
    fn kernel(&mut self) -> Result<String, fmt::Error> {
        let kernel = self.kernel;
        let mut text = String::new();
        write!(text, "kernel {}(", quoted(&kernel.name))?;
        for (position, param) in kernel.params.iter().enumerate() {
            let comma = if position > 0 { ", " } else { "" };
            let (name, dtype, access) = (&param.name, param.dtype, param.access.name());
            write!(text, "{comma}{name}: {dtype}[{}] {access}", param.elements)?;
            if let Some(bound) = param.bound {
                write!(text, " within {bound:?}")?;
            }
        }
        text.push(')');
        if !kernel.symbols.is_empty() {
            let names: Vec<&str> = kernel.symbols.iter().map(|symbol| symbol.name()).collect();
            write!(text, " symbols({})", names.join(", "))?;
        }
        text.push_str(" {\n");
        for local in &kernel.locals {
            writeln!(
                text,
                "  local {}: {}[{}]",
                local.name, local.dtype, local.elements
            )?;
        }
        for axis in &kernel.grid {
            writeln!(text, "  grid {} < {}", self.name(axis.var), axis.extent)?;
        }
        if let Some(lane) = kernel.lane {
            writeln!(text, "  lanes {} as {}", kernel.lanes, self.name(lane))?;
        }
        self.block(&mut text, &kernel.body, 1)?;
        text.push_str("}\n");
        Ok(text)
    }

    fn name(&mut self, value: ValueId) -> String {
        let Some(slot) = self.names.get_mut(value.0 as usize) else {
            return format!("%?{}", value.0);
        };
        let number = *slot.get_or_insert_with(|| {
            self.next += 1;
            self.next - 1
        });
        format!("%{number}")
    }

    fn dtype(&self, value: ValueId) -> &'static str {
        self.kernel
            .dtypes
            .get(value.0 as usize)
            .map_or("?", |dtype| dtype.name())
    }

    fn buffer(&self, buffer: BufferId) -> String {
        let local = |n: u32| {
            self.kernel
                .locals
                .get(n as usize)
                .map_or("?", |l| l.name.as_str())
        };
        match buffer {
            BufferId::Param(n) => self
                .kernel
                .params
                .get(n as usize)
                .map_or("?", |p| p.name.as_str())
                .to_owned(),
            BufferId::Local(n) => local(n).to_owned(),
            BufferId::Shared(n) => format!("shared {}", local(n)),
        }
    }

    fn block(&mut self, text: &mut String, block: &Block, depth: usize) -> fmt::Result {
        for inst in &block.0 {
            text.push_str(&"  ".repeat(depth));
            match inst {
                Inst::Let { id, rhs } => {
                    let rhs = self.rhs(*id, rhs);
                    writeln!(text, "{}: {} = {rhs}", self.name(*id), self.dtype(*id))?;
                }
                Inst::Store {
                    buffer,
                    index,
                    value,
                } => {
                    let (index, value) = (self.name(*index), self.name(*value));
                    writeln!(text, "store {}[{index}] = {value}", self.buffer(*buffer))?;
                }
                Inst::Loop(inner) => self.inner_loop(text, inner, depth)?,
                Inst::If { cond, then } => {
                    writeln!(text, "if {} {{", self.name(*cond))?;
                    self.block(text, then, depth + 1)?;
                    writeln!(text, "{}}}", "  ".repeat(depth))?;
                }
                Inst::Barrier => text.push_str("barrier\n"),
            }
        }
        Ok(())
    }

    /// The body is printed first: values that it defines are numbered after the header's own.
    fn inner_loop(&mut self, text: &mut String, inner: &Loop, depth: usize) -> fmt::Result {
        write!(
            text,
            "for {} < {}",
            self.name(inner.var),
            self.name(inner.extent)
        )?;
        if let LoopKind::Lanes(width) = inner.kind {
            write!(text, " lanes {width}")?;
        }
        let names: Vec<[String; 3]> = inner
            .carried
            .iter()
            .map(|c| [c.acc, c.init, c.result].map(|value| self.name(value)))
            .collect();
        let mut body = String::new();
        self.block(&mut body, &inner.body, depth + 1)?;
        for (position, (carried, [acc, init, result])) in
            inner.carried.iter().zip(names).enumerate()
        {
            text.push_str(if position == 0 { " carry (" } else { ", " });
            let (next, dtype) = (self.name(carried.next), self.dtype(carried.acc));
            write!(text, "{acc}: {dtype} = {init} then {next} into {result}")?;
            if let Some(op) = carried.combine {
                write!(text, " by {}", op.name())?;
            }
        }
        text.push_str(if inner.carried.is_empty() {
            " {\n"
        } else {
            ") {\n"
        });
        text.push_str(&body);
        writeln!(text, "{}}}", "  ".repeat(depth))
    }

    fn rhs(&mut self, id: ValueId, rhs: &Rhs) -> String {
        match rhs {
            Rhs::Const(literal) => {
                let dtype = self.kernel.dtypes.get(id.0 as usize).copied();
                format!("const {}", literal_text(dtype, *literal))
            }
            Rhs::Dim(dim) => format!("dim {dim}"),
            Rhs::Apply { op, operands } => {
                let names: Vec<String> = operands.iter().map(|&value| self.name(value)).collect();
                format!("{op} {}", names.join(", "))
            }
            Rhs::Cast(value) => format!("cast {}", self.name(*value)),
            Rhs::Bitcast(value) => format!("bitcast {}", self.name(*value)),
            Rhs::Load { buffer, index } => {
                format!("load {}[{}]", self.buffer(*buffer), self.name(*index))
            }
        }
    }
}

/// A literal of a dtype: `true`, `-3`, `0.5`, `inf`, `nan`; other NaNs with their bits.
pub(super) fn literal_text(dtype: Option<DType>, literal: Literal) -> String {
    match literal.0 {
        Scalar::Int(value) if dtype == Some(DType::Bool) => (value != 0).to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) if value.is_nan() && value.to_bits() != f64::NAN.to_bits() => {
            format!("nan:{:#x}", value.to_bits())
        }
        Scalar::Float(value) if value.is_nan() => "nan".to_owned(),
        Scalar::Float(value) => format!("{value:?}"),
    }
}

/// Whether a name needs no quotes.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn quoted(name: &str) -> String {
    if is_word(name) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}
