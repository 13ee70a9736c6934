//! Conversions on registers of lanes, by the rules of `Scalar::cast`.

use alula_kernel::ValueId;
use alula_tensor::{DType, DTypeClass};
use iced_x86::Code;

use super::super::repr::{Repr, is_signed};
use super::assembler::{Rm, Zmm};
use super::body::{Body, Place};

const COMPARE: Code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
const AND: Code = Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32;
const OR: Code = Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32;
const ADD: Code = Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32;
const SHL: Code = Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8;
const SHR: Code = Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8;

/// Conditions of comparisons, as instructions encode them.
const NOT_EQUAL: u32 = 0x04;
const UNORDERED: u32 = 0x03;
const GREATER_EQUAL: u32 = 0x1d;

impl Body<'_> {
    /// The value `id`: another one, converted.
    pub(super) fn cast(&mut self, copy: usize, id: ValueId, v: ValueId) -> Result<Place, String> {
        let (from, to) = (self.plan.dtype(v), self.plan.dtype(id));
        let refused = || Err(format!("a cast from {from} to {to}"));
        let is_plain = |dtype: DType| dtype == DType::F32 || dtype.is_integer();
        match (from, to) {
            (DType::Bool, _) if is_plain(to) => self.bool_as(copy, v, to),
            _ if from == to => self.alias(copy, v),
            (DType::BF16, DType::F32) => {
                let target = self.moved(copy, v)?;
                self.asm.unary_by(SHL, target, Rm::Reg(target), 16);
                Ok(Place::Zmm(target))
            }
            (DType::F32, DType::BF16) => self.round_to_bf16(copy, v),
            (_, DType::Bool) if is_plain(from) => self.as_bool(copy, v),
            _ if !is_plain(from) || !is_plain(to) => refused(),
            (DType::F32, _) => self.truncate(copy, id, v),
            (_, DType::F32) => {
                let code = match from {
                    DType::U32 => Code::EVEX_Vcvtudq2ps_zmm_k1z_zmmm512b32_er,
                    _ => Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er,
                };
                let source = self.rm(copy, v)?;
                self.used(copy, v);
                let target = self.zmm()?;
                self.asm.unary(code, target, source);
                Ok(Place::Zmm(target))
            }
            _ if Repr::of(to) == Some(Repr::I32) => {
                let place = self.alias(copy, v)?;
                self.wrap(to, place);
                Ok(place)
            }
            _ => refused(),
        }
    }

    /// The same bits as another dtype.
    pub(super) fn bitcast(&mut self, copy: usize, v: ValueId, to: DType) -> Result<Place, String> {
        let from = self.plan.dtype(v);
        let is_word = |dtype: DType| dtype.bits() == 32 && dtype.class() != DTypeClass::Bool;
        match is_word(from) && is_word(to) {
            true => self.alias(copy, v),
            false => Err(format!("a bitcast from {from} to {to}")),
        }
    }

    /// A copy to change.
    fn moved(&mut self, copy: usize, v: ValueId) -> Result<Zmm, String> {
        let source = self.rm(copy, v)?;
        let target = self.zmm()?;
        self.asm.copy(target, source, None);
        self.used(copy, v);
        Ok(target)
    }

    fn bool_as(&mut self, copy: usize, v: ValueId, to: DType) -> Result<Place, String> {
        let (by, is_taken) = self.condition(copy, v)?;
        let target = self.zmm()?;
        let one = match to {
            DType::F32 => self.bits(1.0_f32.to_bits()),
            _ => self.bits(1),
        };
        self.choose(target, by, one)?;
        self.release_if(is_taken, Place::Mask(by));
        self.used(copy, v);
        Ok(Place::Zmm(target))
    }

    fn as_bool(&mut self, copy: usize, v: ValueId) -> Result<Place, String> {
        let (a, is_taken) = self.reg(copy, v)?;
        let target = self.mask()?;
        match self.plan.dtype(v) {
            DType::F32 => {
                let zero = self.bits(0);
                self.asm.compare(COMPARE, target, a, zero, NOT_EQUAL);
            }
            _ => self.test(target, a),
        }
        self.release_if(is_taken, Place::Zmm(a));
        self.used(copy, v);
        Ok(Place::Mask(target))
    }

    /// Truncates, saturates at the range of the dtype, and takes NaN to 0.
    fn truncate(&mut self, copy: usize, id: ValueId, v: ValueId) -> Result<Place, String> {
        const SIGNED: Code = Code::EVEX_Vcvttps2dq_zmm_k1z_zmmm512b32_sae;
        const NEAREST: Code = Code::EVEX_Vcvtps2dq_zmm_k1z_zmmm512b32_er;
        let to = self.plan.dtype(id);
        if Repr::of(to) != Some(Repr::I32) {
            return Err(format!("a cast from f32 to {to}"));
        }
        if to.bits() <= 16 {
            let code = match self.plan.steps.is_rounded(v) {
                true => NEAREST,
                false => SIGNED,
            };
            return self.narrowed(copy, id, v, code);
        }
        let a = self.moved(copy, v)?;
        let target = self.zmm()?;
        if is_signed(to) {
            // The instruction gives the least integer where it has none.
            let by = self.mask()?;
            self.asm.unary(SIGNED, target, Rm::Reg(a));
            let limit = self.bits(2_147_483_648_f32.to_bits());
            self.asm.compare(COMPARE, by, a, limit, GREATER_EQUAL);
            let most = self.bits(i32::MAX as u32);
            self.asm.copy(target, most, Some(by));
            self.asm.compare(COMPARE, by, a, Rm::Reg(a), UNORDERED);
            let zero = self.bits(0);
            self.asm.copy(target, zero, Some(by));
            self.release(Place::Mask(by));
        } else {
            // A NaN and what is negative become 0; the instruction gives the greatest integer
            // where it has none.
            let zero = self.bits(0);
            self.asm.binary(
                Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
                a,
                a,
                zero,
                None,
            );
            self.asm.unary(
                Code::EVEX_Vcvttps2udq_zmm_k1z_zmmm512b32_sae,
                target,
                Rm::Reg(a),
            );
        }
        self.release(Place::Zmm(a));
        Ok(Place::Zmm(target))
    }

    /// To nearest even; NaN keeps its sign and becomes the quiet one.
    fn round_to_bf16(&mut self, copy: usize, v: ValueId) -> Result<Place, String> {
        let a = self.moved(copy, v)?;
        let (target, nan) = (self.zmm()?, self.mask()?);
        self.asm.compare(COMPARE, nan, a, Rm::Reg(a), UNORDERED);
        self.asm.unary_by(SHR, target, Rm::Reg(a), 16);
        let one = self.bits(1);
        self.asm.binary(AND, target, target, one, None);
        let half = self.bits(0x7fff);
        self.asm.binary(ADD, target, target, half, None);
        self.asm.binary(ADD, target, target, Rm::Reg(a), None);
        self.asm.unary_by(SHR, target, Rm::Reg(target), 16);
        self.asm.unary_by(SHR, a, Rm::Reg(a), 16);
        let sign = self.bits(0x8000);
        self.asm.binary(AND, a, a, sign, None);
        let quiet = self.bits(0x7fc0);
        self.asm.binary(OR, target, a, quiet, Some(nan));
        self.release(Place::Mask(nan));
        self.release(Place::Zmm(a));
        Ok(Place::Zmm(target))
    }
}
