//! Scalar operators on lanes of integers, which are kept normalised as `repr` says.

use alula_kernel::ValueId;
use alula_tensor::{DType, ScalarOp};
use iced_x86::Code;

use super::super::repr::is_signed;
use super::assembler::Rm;
use super::body::{Body, Place};
use super::ops::binary;

const AND: Code = Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32;
const XOR: Code = Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32;
const SUB: Code = Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32;
const SHL: Code = Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8;
const SHR: Code = Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8;
const SAR: Code = Code::EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8;

/// The condition of a comparison of integers.
fn integer_condition(op: ScalarOp) -> Option<u32> {
    Some(match op {
        ScalarOp::Eq => 0,
        ScalarOp::Lt => 1,
        ScalarOp::Le => 2,
        ScalarOp::Ne => 4,
        ScalarOp::Ge => 5,
        ScalarOp::Gt => 6,
        _ => return None,
    })
}

impl Body<'_> {
    pub(super) fn integer(
        &mut self,
        copy: usize,
        id: ValueId,
        op: ScalarOp,
        dtype: DType,
        operands: &[ValueId],
    ) -> Result<Place, String> {
        let signed = is_signed(dtype);
        if let Some(condition) = integer_condition(op) {
            let code = match signed {
                true => Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8,
                false => Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8,
            };
            return self.compare(copy, code, condition, operands);
        }
        let place = match op {
            ScalarOp::Abs if signed => {
                let source = self.rm(copy, operands[0])?;
                self.used(copy, operands[0]);
                let target = self.zmm()?;
                self.asm
                    .unary(Code::EVEX_Vpabsd_zmm_k1z_zmmm512b32, target, source);
                Place::Zmm(target)
            }
            ScalarOp::Neg => {
                let (source, target) = (self.rm(copy, operands[0])?, self.zmm()?);
                let zero = self.bits(0);
                let from = self.zmm()?;
                self.asm.copy(from, zero, None);
                self.asm.binary(SUB, target, from, source, None);
                self.release(Place::Zmm(from));
                self.used(copy, operands[0]);
                Place::Zmm(target)
            }
            ScalarOp::Not => self.with_bits(copy, XOR, operands[0], u32::MAX)?,
            ScalarOp::Shl | ScalarOp::Shr => return self.shift(copy, op, dtype, operands),
            _ => match binary(op, dtype) {
                Some(code) => self.two(copy, id, code, operands)?,
                None => return Err(format!("{op} of {dtype}")),
            },
        };
        if !matches!(op, ScalarOp::Min | ScalarOp::Max) {
            self.wrap(dtype, place);
        }
        Ok(place)
    }

    fn shift(
        &mut self,
        copy: usize,
        op: ScalarOp,
        dtype: DType,
        operands: &[ValueId],
    ) -> Result<Place, String> {
        let amount = self.plan.constant(operands[1]);
        let limit = match op {
            ScalarOp::Shl => dtype.bits() - 1,
            _ => 31,
        };
        let Some(amount) = amount.filter(|&amount| amount <= limit) else {
            return Err("it shifts all bits out".to_owned());
        };
        let code = match (op, is_signed(dtype)) {
            (ScalarOp::Shl, _) => SHL,
            (_, true) => SAR,
            (_, false) => SHR,
        };
        let place = self.one_by(copy, code, operands[0], amount)?;
        if op == ScalarOp::Shl {
            self.wrap(dtype, place);
        }
        Ok(place)
    }

    /// Reduces an integer in each lane to its dtype's width.
    pub(super) fn wrap(&mut self, dtype: DType, place: Place) {
        let (bits, Place::Zmm(register)) = (dtype.bits(), place) else {
            return;
        };
        if bits >= 32 {
            return;
        }
        if is_signed(dtype) {
            self.asm
                .unary_by(SHL, register, Rm::Reg(register), 32 - bits);
            self.asm
                .unary_by(SAR, register, Rm::Reg(register), 32 - bits);
        } else {
            let low = self.bits((1 << bits) - 1);
            self.asm.binary(AND, register, register, low, None);
        }
    }
}
