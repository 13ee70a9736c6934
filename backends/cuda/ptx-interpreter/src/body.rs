//! Names and registers of one kernel while its instructions are decoded.
//!
//! Checks that each operand's register fits the instruction's type (PTX ISA, "Operand Type
//! Checking"): sizes agree, floats and integers do not mix, untyped registers go with either.

use std::collections::BTreeMap;

use crate::error::ParseError;
use crate::float;
use crate::module::Param;
use crate::operand::Operand;
use crate::program::{Address, Instruction, Pred, PredUse, Reg, Special};
use crate::types::{Kind, Space, Type};

/// Most bytes of kernel parameters.
const PARAM_MAX: usize = 32_764;

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Symbol {
    Register(Reg, Type),
    Predicate(Pred),
    /// A variable: its space and the register that holds its address.
    Variable(Space, Reg),
}

/// State of the kernel being decoded.
#[derive(Default)]
pub(crate) struct Body {
    pub(crate) scopes: Vec<BTreeMap<String, Symbol>>,
    pub(crate) register_names: Vec<String>,
    pub(crate) pred_names: Vec<String>,
    pub(crate) constants: BTreeMap<u64, Reg>,
    /// Address registers of dynamic shared arrays and their alignment.
    pub(crate) dynamic: Vec<(Reg, usize)>,
    pub(crate) specials: Vec<(Reg, Special)>,
    pub(crate) labels: BTreeMap<String, u32>,
    /// Branches whose label is not known yet: instruction, name, line.
    pub(crate) jumps: Vec<(usize, String, u32)>,
    pub(crate) code: Vec<Instruction>,
    pub(crate) params: Vec<Param>,
    pub(crate) param_bytes: usize,
    pub(crate) shared_bytes: usize,
    pub(crate) local_bytes: usize,
    pub(crate) reads: Vec<Reg>,
    pub(crate) pred_reads: Vec<Pred>,
    pub(crate) line: u32,
    /// Whether special registers may be sources: `mov` and `cvt` alone read them.
    pub(crate) reads_special: bool,
}

impl Body {
    pub(crate) fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(self.line, message)
    }

    pub(crate) fn declare(&mut self, name: &str, symbol: Symbol) -> Result<(), ParseError> {
        let scope = self
            .scopes
            .last_mut()
            .expect("a kernel has an outermost scope");
        match scope.insert(name.to_owned(), symbol) {
            None => Ok(()),
            Some(_) => Err(self.error(format!("`{name}` is declared twice"))),
        }
    }

    pub(crate) fn declare_register(&mut self, name: &str, ty: Type) -> Result<(), ParseError> {
        let symbol = if ty == Type::Pred {
            self.pred_names.push(name.to_owned());
            Symbol::Predicate(self.pred_names.len() as Pred - 1)
        } else {
            Symbol::Register(self.fresh(name), ty)
        };
        self.declare(name, symbol)
    }

    fn fresh(&mut self, name: &str) -> Reg {
        self.register_names.push(name.to_owned());
        self.register_names.len() as Reg - 1
    }

    /// The register that holds `value` in every lane.
    pub(crate) fn constant(&mut self, value: u64) -> Reg {
        if let Some(reg) = self.constants.get(&value) {
            return *reg;
        }
        let reg = self.fresh("constant");
        self.constants.insert(value, reg);
        reg
    }

    /// A register for the address of a dynamic shared array, known once the body is read.
    fn dynamic_address(&mut self, name: &str, align: usize) -> Reg {
        let reg = self.fresh(name);
        self.dynamic.push((reg, align));
        reg
    }

    pub(crate) fn declare_param(
        &mut self,
        name: &str,
        size: usize,
        align: usize,
    ) -> Result<(), ParseError> {
        let offset = Self::place(&mut self.param_bytes, size, align);
        if self.param_bytes > PARAM_MAX {
            return Err(self.error(format!("parameters exceed {PARAM_MAX} bytes")));
        }
        let reg = self.constant(offset as u64);
        self.params.push(Param {
            name: name.to_owned(),
            size,
            offset,
        });
        self.declare(name, Symbol::Variable(Space::Param, reg))
    }

    /// Declares a shared array; one without a size is dynamic.
    pub(crate) fn declare_shared(
        &mut self,
        name: &str,
        bytes: Option<usize>,
        align: usize,
    ) -> Result<(), ParseError> {
        let reg = match bytes {
            Some(bytes) => {
                let at = Self::place(&mut self.shared_bytes, bytes, align);
                self.constant(at as u64)
            }
            None => self.dynamic_address(name, align),
        };
        self.declare(name, Symbol::Variable(Space::Shared, reg))
    }

    fn lookup(&self, name: &str) -> Result<Symbol, ParseError> {
        let found = self.scopes.iter().rev().find_map(|scope| scope.get(name));
        found
            .copied()
            .ok_or_else(|| self.error(format!("`{name}` is not declared")))
    }

    fn special(&mut self, name: &str) -> Option<Reg> {
        let axis = |name: &str| match name {
            "x" => Some(0),
            "y" => Some(1),
            "z" => Some(2),
            _ => None,
        };
        let special = match name.split_once('.') {
            Some(("%tid", a)) => Special::Tid(axis(a)?),
            Some(("%ntid", a)) => Special::Ntid(axis(a)?),
            Some(("%ctaid", a)) => Special::Ctaid(axis(a)?),
            Some(("%nctaid", a)) => Special::Nctaid(axis(a)?),
            Some(_) => return None,
            None => match name {
                "%laneid" => Special::Lane,
                "%warpid" => Special::Warp,
                "%nwarpid" => Special::Warps,
                "%lanemask_eq" => Special::LanemaskEq,
                "%lanemask_lt" => Special::LanemaskLt,
                "%lanemask_le" => Special::LanemaskLe,
                "%lanemask_gt" => Special::LanemaskGt,
                "%lanemask_ge" => Special::LanemaskGe,
                "%dynamic_smem_size" => Special::DynamicShared,
                "%total_smem_size" => Special::TotalShared,
                _ => return None,
            },
        };
        if let Some((reg, _)) = self.specials.iter().find(|(_, s)| *s == special) {
            return Some(*reg);
        }
        let reg = self.fresh(name);
        self.specials.push((reg, special));
        Some(reg)
    }

    /// A source of exactly the type's width.
    pub(crate) fn source(&mut self, operand: &Operand, ty: Type) -> Result<Reg, ParseError> {
        self.source_of(operand, ty, false).map(|(reg, _)| reg)
    }

    /// A source that may be wider than the type, as in `st` and `cvt`; its low bits count.
    pub(crate) fn source_wide(&mut self, operand: &Operand, ty: Type) -> Result<Reg, ParseError> {
        self.source_of(operand, ty, true).map(|(reg, _)| reg)
    }

    fn source_of(
        &mut self,
        operand: &Operand,
        ty: Type,
        wider: bool,
    ) -> Result<(Reg, Type), ParseError> {
        match operand {
            Operand::Name("WARP_SZ") => Ok((self.constant(32), ty)),
            Operand::Name(name) => {
                if let Some(reg) = self.special(name) {
                    if !self.reads_special {
                        return Err(self.error(format!("`{name}` can only be moved or converted")));
                    }
                    if ty.bits() != 32 || ty.is_float() {
                        return Err(self.error(format!("`{name}` is 32 bits, read as {ty}")));
                    }
                    return Ok((reg, Type::U32));
                }
                match self.lookup(name)? {
                    Symbol::Register(reg, declared) => {
                        self.check(name, declared, ty, wider)?;
                        self.reads.push(reg);
                        Ok((reg, declared))
                    }
                    Symbol::Variable(_, reg) if matches!(ty.bits(), 32 | 64) => Ok((reg, ty)),
                    Symbol::Variable(..) => {
                        Err(self.error(format!("address of `{name}` does not fit {ty}")))
                    }
                    Symbol::Predicate(_) => {
                        Err(self.error(format!("predicate `{name}` used as {ty}")))
                    }
                }
            }
            Operand::Int(..) | Operand::Float(..) => {
                let value = self.immediate(operand, ty)?;
                Ok((self.constant(value), ty))
            }
            _ => Err(self.error(format!("expected a register or constant of type {ty}"))),
        }
    }

    /// The bits of a literal at a type.
    pub(crate) fn immediate(&self, operand: &Operand, ty: Type) -> Result<u64, ParseError> {
        let misfit = |what: &str| self.error(format!("{what} literal does not fit {ty}"));
        match *operand {
            Operand::Int(value, negative) => {
                if ty.is_float() {
                    return Err(misfit("integer"));
                }
                let fits = if negative {
                    value <= ty.mask() / 2 + 1
                } else {
                    value <= ty.mask()
                };
                let bits = if negative {
                    value.wrapping_neg()
                } else {
                    value
                };
                // 64-bit hexadecimal spellings of negative 32-bit numbers are common.
                let extended =
                    !negative && ty.is_signed() && (value as i64) < 0 && value >= !(ty.mask() / 2);
                if fits || extended {
                    Ok(bits & ty.mask())
                } else {
                    Err(misfit("integer"))
                }
            }
            Operand::Float(value, single) => match ty {
                Type::F32 | Type::B32 if single.is_some() => Ok(u64::from(single.unwrap_or(0))),
                Type::F32 => Ok(float::F32.encode(value, float::Round::Nearest)),
                Type::F64 => Ok(value.to_bits()),
                Type::B64 if single.is_none() => Ok(value.to_bits()),
                _ => Err(misfit("float")),
            },
            _ => Err(self.error("expected a literal")),
        }
    }

    fn check(&self, name: &str, declared: Type, used: Type, wider: bool) -> Result<(), ParseError> {
        let size_ok = declared.bits() == used.bits() || (wider && declared.bits() > used.bits());
        let untyped = matches!(used, Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::Tf32);
        let kind_ok = declared.kind() == Kind::Bits
            || used.kind() == Kind::Bits
            || declared == used
            || (!untyped && declared.is_float() == used.is_float());
        if size_ok && kind_ok {
            return Ok(());
        }
        Err(self.error(format!(
            "register `{name}` is {declared}, the instruction wants {used}"
        )))
    }

    /// A destination of exactly the type's width.
    pub(crate) fn target(&mut self, operand: &Operand, ty: Type) -> Result<Reg, ParseError> {
        self.target_of(operand, ty, false)?
            .map(|(reg, _)| reg)
            .ok_or_else(|| self.error("the sink `_` cannot be the destination here"))
    }

    /// A destination that may be wider than the type, with its width; `None` is the sink.
    pub(crate) fn target_wide(
        &mut self,
        operand: &Operand,
        ty: Type,
    ) -> Result<Option<(Reg, u32)>, ParseError> {
        self.target_of(operand, ty, true)
    }

    fn target_of(
        &mut self,
        operand: &Operand,
        ty: Type,
        wider: bool,
    ) -> Result<Option<(Reg, u32)>, ParseError> {
        match operand {
            Operand::Name("_") => Ok(None),
            Operand::Name(name) => match self.lookup(name)? {
                Symbol::Register(reg, declared) => {
                    self.check(name, declared, ty, wider)?;
                    Ok(Some((reg, declared.bits())))
                }
                Symbol::Predicate(_) | Symbol::Variable(..) => {
                    Err(self.error(format!("`{name}` is not a register of type {ty}")))
                }
            },
            _ => Err(self.error("the destination must be a register")),
        }
    }

    pub(crate) fn pred_source(&mut self, operand: &Operand) -> Result<PredUse, ParseError> {
        let (name, negated) = match operand {
            Operand::Name(name) => (*name, false),
            Operand::Not(name) => (*name, true),
            _ => return Err(self.error("expected a predicate")),
        };
        match self.lookup(name)? {
            Symbol::Predicate(pred) => {
                self.pred_reads.push(pred);
                Ok((pred, negated))
            }
            _ => Err(self.error(format!("`{name}` is not a predicate"))),
        }
    }

    /// A predicate destination; `None` is the sink.
    pub(crate) fn pred_target(&mut self, name: &str) -> Result<Option<Pred>, ParseError> {
        if name == "_" {
            return Ok(None);
        }
        match self.lookup(name)? {
            Symbol::Predicate(pred) => Ok(Some(pred)),
            _ => Err(self.error(format!("`{name}` is not a predicate"))),
        }
    }

    pub(crate) fn address(
        &mut self,
        operand: &Operand,
        space: Space,
    ) -> Result<Address, ParseError> {
        let Operand::Address(base, offset) = operand else {
            return Err(self.error("expected an address in brackets"));
        };
        let base = match base {
            None => self.constant(0),
            Some(name) => match self.lookup(name)? {
                Symbol::Register(reg, ty) => {
                    let fits = ty.bits() == 64
                        || (ty.bits() == 32 && !matches!(space, Space::Generic | Space::Global));
                    if !fits || ty.is_float() {
                        let message = format!("register `{name}` ({ty}) cannot address {space}");
                        return Err(self.error(message));
                    }
                    self.reads.push(reg);
                    reg
                }
                Symbol::Variable(declared, reg) if declared == space => reg,
                Symbol::Variable(declared, _) => {
                    let message = format!("`{name}` is in {declared} space, not {space}");
                    return Err(self.error(message));
                }
                Symbol::Predicate(_) => {
                    return Err(self.error(format!("predicate `{name}` used as an address")));
                }
            },
        };
        Ok(Address {
            space,
            base,
            offset: *offset,
        })
    }

    /// Adds `bytes` at `align` to a running size and returns where they start.
    pub(crate) fn place(size: &mut usize, bytes: usize, align: usize) -> usize {
        let at = size.next_multiple_of(align.max(1));
        *size = at + bytes;
        at
    }
}
