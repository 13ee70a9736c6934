//! Scalar operators on registers of lanes. Meaning is that of `ScalarOp::eval`, on every input.

use alula_kernel::ValueId;
use alula_tensor::{DType, ScalarOp};
use iced_x86::{Code, Instruction};

use super::super::repr::{Repr, is_signed};
use super::assembler::{Rm, Zmm, mask};
use super::body::{Body, Place};

/// Conditions of comparisons of floats, as instructions encode them.
const EQUAL: u32 = 0x00;
const UNORDERED: u32 = 0x03;
const NOT_EQUAL: u32 = 0x04;
const LESS: u32 = 0x11;
const LESS_EQUAL: u32 = 0x12;
const GREATER_EQUAL: u32 = 0x1d;
const GREATER: u32 = 0x1e;

const COMPARE: Code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
const BLEND: Code = Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32;
const AND: Code = Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32;
const XOR: Code = Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32;
const SUB: Code = Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32;

/// The condition of a comparison of floats.
fn condition(op: ScalarOp) -> Option<u32> {
    Some(match op {
        ScalarOp::Eq => EQUAL,
        ScalarOp::Ne => NOT_EQUAL,
        ScalarOp::Lt => LESS,
        ScalarOp::Le => LESS_EQUAL,
        ScalarOp::Gt => GREATER,
        ScalarOp::Ge => GREATER_EQUAL,
        _ => return None,
    })
}

/// The one instruction for an operator of two operands.
pub(super) fn binary(op: ScalarOp, dtype: DType) -> Option<Code> {
    let is_float = dtype == DType::F32;
    Some(match (op, is_float) {
        (ScalarOp::Add, true) => Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
        (ScalarOp::Sub, true) => Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
        (ScalarOp::Mul, true) => Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
        (ScalarOp::Div, true) => Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
        (ScalarOp::Add, false) => Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32,
        (ScalarOp::Sub, false) => SUB,
        (ScalarOp::Mul, false) => Code::EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32,
        (ScalarOp::And, false) => AND,
        (ScalarOp::Or, false) => Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32,
        (ScalarOp::Xor, false) => XOR,
        (ScalarOp::Min, false) if is_signed(dtype) => Code::EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32,
        (ScalarOp::Min, false) => Code::EVEX_Vpminud_zmm_k1z_zmm_zmmm512b32,
        (ScalarOp::Max, false) if is_signed(dtype) => Code::EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32,
        (ScalarOp::Max, false) => Code::EVEX_Vpmaxud_zmm_k1z_zmm_zmmm512b32,
        _ => return None,
    })
}

/// How `vrndscaleps` rounds.
fn rounding(op: ScalarOp) -> Option<u32> {
    Some(match op {
        ScalarOp::Round => 0x08,
        ScalarOp::Floor => 0x09,
        ScalarOp::Ceil => 0x0a,
        ScalarOp::Trunc => 0x0b,
        _ => return None,
    })
}

impl Body<'_> {
    pub(super) fn operator(
        &mut self,
        copy: usize,
        id: ValueId,
        op: ScalarOp,
        operands: &[ValueId],
    ) -> Result<Place, String> {
        let dtype = self.plan.dtype(operands[operands.len() - 1]);
        if let Some((code, operands)) = self.plan.extremes.of(id) {
            return self.two(copy, id, code, operands);
        }
        if op == ScalarOp::Select && dtype != DType::Bool {
            return self.select(copy, operands);
        }
        match Repr::of(dtype) {
            Some(Repr::F32) => self.float(copy, id, op, operands),
            Some(Repr::I32) if dtype.is_integer() => self.integer(copy, id, op, dtype, operands),
            Some(Repr::Bool) => self.logic(copy, op, operands),
            _ => Err(format!("{op} of {dtype}")),
        }
    }

    fn float(
        &mut self,
        copy: usize,
        id: ValueId,
        op: ScalarOp,
        operands: &[ValueId],
    ) -> Result<Place, String> {
        let dtype = DType::F32;
        if let Some(condition) = condition(op) {
            return self.compare(copy, COMPARE, condition, operands);
        }
        if let Some(operands) = self.plan.scaled.operands(id) {
            let code = Code::EVEX_Vscalefps_zmm_k1z_zmm_zmmm512b32_er;
            return self.two(copy, id, code, operands);
        }
        if let Some(quotient) = self.plan.steps.quotient(id) {
            return self.quotient(copy, operands[0], quotient);
        }
        if self.plan.steps.is_rounded(id) {
            return self.alias(copy, operands[0]);
        }
        if let Some(code) = binary(op, dtype) {
            return self.two(copy, id, code, operands);
        }
        if let Some(how) = rounding(op) {
            let code = Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae;
            return self.one_by(copy, code, operands[0], how);
        }
        match op {
            ScalarOp::Fma => self.fma(copy, id, operands),
            ScalarOp::Min => self.extreme(
                copy,
                id,
                Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
                operands,
            ),
            ScalarOp::Max => self.extreme(
                copy,
                id,
                Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
                operands,
            ),
            ScalarOp::Neg => self.with_bits(copy, XOR, operands[0], 0x8000_0000),
            ScalarOp::Abs => self.with_bits(copy, AND, operands[0], 0x7fff_ffff),
            ScalarOp::Sqrt => {
                let source = self.rm(copy, operands[0])?;
                self.used(copy, operands[0]);
                let target = self.zmm()?;
                self.asm
                    .unary(Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er, target, source);
                Ok(Place::Zmm(target))
            }
            ScalarOp::IsNan => self.compare(copy, COMPARE, UNORDERED, &[operands[0], operands[0]]),
            ScalarOp::IsInf => {
                let (source, target) = (self.rm(copy, operands[0])?, self.mask()?);
                let magnitude = self.zmm()?;
                let bits = self.bits(0x7fff_ffff);
                self.asm.copy(magnitude, source, None);
                self.asm.binary(AND, magnitude, magnitude, bits, None);
                let infinity = self.bits(f32::INFINITY.to_bits());
                self.asm
                    .compare(COMPARE, target, magnitude, infinity, EQUAL);
                self.release(Place::Zmm(magnitude));
                self.used(copy, operands[0]);
                Ok(Place::Mask(target))
            }
            ScalarOp::Sign => self.sign(copy, operands[0]),
            _ => Err(format!("{op} of {dtype}")),
        }
    }

    /// One instruction of two operands; an accumulator is updated where it is.
    pub(super) fn two(
        &mut self,
        copy: usize,
        id: ValueId,
        code: Code,
        operands: &[ValueId],
    ) -> Result<Place, String> {
        let [x, y] = *operands else {
            return Err("an operator of two operands has others".to_owned());
        };
        let own = self
            .turns_into(copy, id, x)
            .or_else(|| self.turns_into(copy, id, y));
        let (a, is_taken) = self.reg(copy, x)?;
        let b = self.rm(copy, y)?;
        self.used(copy, x);
        self.used(copy, y);
        self.release_if(is_taken, Place::Zmm(a));
        let target = match own {
            Some(own) => own,
            None => self.zmm()?,
        };
        self.asm.binary(code, target, a, b, None);
        Ok(Place::Zmm(target))
    }

    pub(super) fn one_by(
        &mut self,
        copy: usize,
        code: Code,
        x: ValueId,
        by: u32,
    ) -> Result<Place, String> {
        let source = self.rm(copy, x)?;
        self.used(copy, x);
        let target = self.zmm()?;
        self.asm.unary_by(code, target, source, by);
        Ok(Place::Zmm(target))
    }

    pub(super) fn with_bits(
        &mut self,
        copy: usize,
        code: Code,
        x: ValueId,
        bits: u32,
    ) -> Result<Place, String> {
        let (a, is_taken) = self.reg(copy, x)?;
        let bits = self.bits(bits);
        self.used(copy, x);
        self.release_if(is_taken, Place::Zmm(a));
        let target = self.zmm()?;
        self.asm.binary(code, target, a, bits, None);
        Ok(Place::Zmm(target))
    }

    pub(super) fn compare(
        &mut self,
        copy: usize,
        code: Code,
        condition: u32,
        operands: &[ValueId],
    ) -> Result<Place, String> {
        let (a, is_taken) = self.reg(copy, operands[0])?;
        let b = self.rm(copy, operands[1])?;
        let target = self.mask()?;
        self.asm.compare(code, target, a, b, condition);
        self.release_if(is_taken, Place::Zmm(a));
        self.used(copy, operands[0]);
        if operands[0] != operands[1] || condition != UNORDERED {
            self.used(copy, operands[1]);
        }
        Ok(Place::Mask(target))
    }

    /// `a * b + c`: the register of what is not needed any more becomes the result.
    fn fma(&mut self, copy: usize, id: ValueId, operands: &[ValueId]) -> Result<Place, String> {
        let [x, y, z] = *operands else {
            return Err("an fma has three operands".to_owned());
        };
        let into_sum = self.turns_into(copy, id, z).or_else(|| self.last(copy, z));
        if self.last(copy, x).is_none()
            && let Some(target) = into_sum
        {
            let (a, is_taken) = self.reg(copy, x)?;
            let b = self.rm(copy, y)?;
            self.asm.binary(
                Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
                target,
                a,
                b,
                None,
            );
            self.release_if(is_taken, Place::Zmm(a));
            self.used(copy, x);
            self.used(copy, y);
            self.taken(copy, z);
            return Ok(Place::Zmm(target));
        }
        let target = match (self.last(copy, x), self.reg(copy, x)?) {
            (Some(target), _) => {
                self.taken(copy, x);
                target
            }
            (None, (target, true)) => target,
            (None, (a, false)) => {
                let target = self.zmm()?;
                self.asm.copy(target, Rm::Reg(a), None);
                self.used(copy, x);
                target
            }
        };
        let (b, is_taken) = self.reg(copy, y)?;
        let c = self.rm(copy, z)?;
        self.asm.binary(
            Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
            target,
            b,
            c,
            None,
        );
        self.release_if(is_taken, Place::Zmm(b));
        self.used(copy, y);
        self.used(copy, z);
        Ok(Place::Zmm(target))
    }

    /// The lesser or greater: the instruction gives its second operand when either is NaN, so that
    /// a NaN in the first of ours stays; one in the second needs another step.
    fn extreme(
        &mut self,
        copy: usize,
        id: ValueId,
        code: Code,
        operands: &[ValueId],
    ) -> Result<Place, String> {
        let (x, y) = (operands[0], operands[1]);
        let own = self.turns_into(copy, id, x);
        let (b, is_taken) = self.reg(copy, y)?;
        let a = self.rm(copy, x)?;
        let target = match own {
            Some(own) => own,
            None => self.zmm()?,
        };
        self.asm.binary(code, target, b, a, None);
        let is_number = self
            .plan
            .constant(y)
            .is_some_and(|bits| !f32::from_bits(bits).is_nan());
        if !is_number {
            let nan = self.mask()?;
            self.asm.compare(COMPARE, nan, b, Rm::Reg(b), UNORDERED);
            self.asm.copy(target, Rm::Reg(b), Some(nan));
            self.release(Place::Mask(nan));
        }
        self.release_if(is_taken, Place::Zmm(b));
        self.used(copy, x);
        self.used(copy, y);
        Ok(Place::Zmm(target))
    }

    fn sign(&mut self, copy: usize, x: ValueId) -> Result<Place, String> {
        let (a, is_taken) = self.reg(copy, x)?;
        let (target, by) = (self.zmm()?, self.mask()?);
        let zero = self.bits(0);
        self.asm.compare(COMPARE, by, a, zero, LESS);
        let minus = self.bits((-1.0_f32).to_bits());
        self.asm.binary(BLEND, target, a, minus, Some(by));
        self.asm.compare(COMPARE, by, a, zero, GREATER);
        let one = self.bits(1.0_f32.to_bits());
        self.asm.binary(BLEND, target, target, one, Some(by));
        self.release(Place::Mask(by));
        self.release_if(is_taken, Place::Zmm(a));
        self.used(copy, x);
        Ok(Place::Zmm(target))
    }

    fn select(&mut self, copy: usize, operands: &[ValueId]) -> Result<Place, String> {
        let [cond, x, y] = *operands else {
            return Err("a select has three operands".to_owned());
        };
        let (by, is_by_taken) = self.condition(copy, cond)?;
        let (b, is_taken) = self.reg(copy, y)?;
        let a = self.rm(copy, x)?;
        let target = self.zmm()?;
        self.asm.binary(BLEND, target, b, a, Some(by));
        if is_by_taken {
            self.release(Place::Mask(by));
        }
        self.release_if(is_taken, Place::Zmm(b));
        operands
            .iter()
            .for_each(|&operand| self.used(copy, operand));
        Ok(Place::Zmm(target))
    }

    fn logic(&mut self, copy: usize, op: ScalarOp, operands: &[ValueId]) -> Result<Place, String> {
        let code = match op {
            ScalarOp::And => Code::VEX_Kandw_kr_kr_kr,
            ScalarOp::Or => Code::VEX_Korw_kr_kr_kr,
            ScalarOp::Xor | ScalarOp::Ne => Code::VEX_Kxorw_kr_kr_kr,
            ScalarOp::Eq => Code::VEX_Kxnorw_kr_kr_kr,
            ScalarOp::Not => Code::VEX_Knotw_kr_kr,
            _ => return Err(format!("{op} of bool")),
        };
        let mut sources = Vec::new();
        for &operand in operands {
            sources.push(self.condition(copy, operand)?);
        }
        let target = self.mask()?;
        let registers: Vec<_> = sources.iter().map(|&(source, _)| mask(source)).collect();
        self.asm.push(match registers[..] {
            [a] => Instruction::with2(code, mask(target), a),
            [a, b] => Instruction::with3(code, mask(target), a, b),
            _ => return Err(format!("{op} of {} operands", operands.len())),
        });
        for (source, is_taken) in sources {
            self.release_if(is_taken, Place::Mask(source));
        }
        operands
            .iter()
            .for_each(|&operand| self.used(copy, operand));
        Ok(Place::Mask(target))
    }

    /// Combines two registers of partial values.
    pub(super) fn fold(
        &mut self,
        op: ScalarOp,
        dtype: DType,
        target: Zmm,
        other: Zmm,
    ) -> Result<(), String> {
        if let Some(code) = binary(op, dtype) {
            self.asm.binary(code, target, target, Rm::Reg(other), None);
            self.wrap(dtype, Place::Zmm(target));
            return Ok(());
        }
        let code = match (op, dtype) {
            (ScalarOp::Min, DType::F32) => Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
            (ScalarOp::Max, DType::F32) => Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
            _ => return Err(format!("it folds by {op} of {dtype}")),
        };
        let nan = self.mask()?;
        self.asm.binary(code, target, other, Rm::Reg(target), None);
        self.asm
            .compare(COMPARE, nan, other, Rm::Reg(other), UNORDERED);
        self.asm.copy(target, Rm::Reg(other), Some(nan));
        self.release(Place::Mask(nan));
        Ok(())
    }
}
