//! Quantization on registers of lanes: quotients by a constant that are rounded to narrow integers.
//!
//! A division takes as long as ten other instructions. Where its quotient is only rounded and
//! converted, with saturation, to an integer of at most 16 bits, it is made by multiplying with the
//! reciprocal, and corrected twice by its exact remainder. With `r` the reciprocal of `d` to the
//! nearest, the first correction makes `q` one of the two floats around `x / d`, and the second
//! then makes it `x / d` to the nearest (Markstein, 1990): the same steps come out, bit for bit.
//! `x` is brought to `[-2^20 d, 2^20 d]` first, for remainders of infinities are none; steps
//! outside saturate either way. Quotients whose remainder underflows round to 0 either way.

use std::collections::{BTreeMap, BTreeSet};

use alula_kernel::{Inst, Loop, Rhs, ValueId};
use alula_tensor::{DType, ScalarOp};
use iced_x86::{Code, Instruction};

use super::super::repr::is_signed;
use super::assembler::{Rm, zmm};
use super::body::{Body, Place};

/// Divisors between these, in magnitude, have reciprocals and remainders in range.
const DIVISORS: [f32; 2] = [1e-18, 1e18];
/// By how many divisors a dividend is bounded.
const REACH: f32 = (1 << 20) as f32;

/// Constants that are added to steps, at most: zero points.
const ZEROS: f32 = (1 << 16) as f32;

/// What a loop over lanes quantizes.
#[derive(Default)]
pub(super) struct Steps {
    /// Roundings to nearest that are only converted to narrow integers: the conversion rounds.
    rounded: BTreeSet<ValueId>,
    /// Quotients by a constant that are only rounded and saturated, with the divisor.
    quotients: BTreeMap<ValueId, f32>,
}

/// How every reader of a value takes it.
#[derive(Clone, Copy)]
struct Taken {
    /// Converted to a narrow integer, whatever else is done before.
    is_saturated: bool,
    /// Converted at once.
    is_converted: bool,
    /// Rounded to nearest at once.
    is_rounded: bool,
}

impl Steps {
    /// Finds them; `dtype` is that of a value, `constant` its bits if it has some.
    pub(super) fn find(
        of: &Loop,
        dtype: &dyn Fn(ValueId) -> DType,
        constant: &dyn Fn(ValueId) -> Option<u32>,
    ) -> Steps {
        let number = |value: ValueId| constant(value).map(f32::from_bits);
        let none = Taken {
            is_saturated: false,
            is_converted: false,
            is_rounded: false,
        };
        let mut taken = BTreeMap::<ValueId, Taken>::new();
        let mut note = |value: ValueId, by: Taken| {
            let all = taken.entry(value).or_insert(by);
            all.is_saturated &= by.is_saturated;
            all.is_converted &= by.is_converted;
            all.is_rounded &= by.is_rounded;
            *all
        };
        of.carried.iter().for_each(|c| _ = note(c.next, none));
        let mut steps = Steps::default();
        // Readers come last, so that all of them are known before what they read.
        for inst in of.body.0.iter().rev() {
            let (id, rhs) = match inst {
                Inst::Let { id, rhs } => (*id, rhs),
                Inst::Store { value, .. } => {
                    note(*value, none);
                    continue;
                }
                Inst::Loop(_) | Inst::If { .. } | Inst::Barrier => continue,
            };
            // What nobody reads is read by nobody else.
            let own = note(id, none_read());
            match rhs {
                Rhs::Cast(value) => {
                    let is_converted = dtype(*value) == DType::F32 && is_narrow(dtype(id));
                    let by = Taken {
                        is_saturated: is_converted,
                        is_converted,
                        is_rounded: false,
                    };
                    note(*value, by);
                }
                Rhs::Apply { op, operands } if dtype(id) == DType::F32 => {
                    let is_saturated = own.is_saturated
                        && match (op, &operands[..]) {
                            (ScalarOp::Round, _) => true,
                            (ScalarOp::Max | ScalarOp::Min, [_, y]) => {
                                number(*y).is_some_and(|y| !y.is_nan())
                            }
                            (ScalarOp::Add | ScalarOp::Sub, [_, y]) => {
                                number(*y).is_some_and(|y| y.abs() <= ZEROS)
                            }
                            _ => false,
                        };
                    let by = Taken {
                        is_saturated,
                        is_rounded: *op == ScalarOp::Round,
                        ..none
                    };
                    note(operands[0], by);
                    operands[1..].iter().for_each(|&y| _ = note(y, none));
                    match op {
                        ScalarOp::Round if own.is_converted => _ = steps.rounded.insert(id),
                        ScalarOp::Div if own.is_rounded && own.is_saturated => {
                            let divisor = number(operands[1]);
                            let range = DIVISORS[0]..=DIVISORS[1];
                            if let Some(divisor) = divisor.filter(|d| range.contains(&d.abs())) {
                                steps.quotients.insert(id, divisor);
                            }
                        }
                        _ => {}
                    }
                }
                Rhs::Apply { operands, .. } => operands.iter().for_each(|&x| _ = note(x, none)),
                Rhs::Bitcast(value) => _ = note(*value, none),
                Rhs::Load { .. } | Rhs::Const(_) | Rhs::Dim(_) => {}
            }
        }
        steps
    }

    /// Whether a value is a rounding that its conversions do.
    pub(super) fn is_rounded(&self, value: ValueId) -> bool {
        self.rounded.contains(&value)
    }

    /// The divisor of a quotient that is rounded and saturated.
    pub(super) fn divisor(&self, value: ValueId) -> Option<f32> {
        self.quotients.get(&value).copied()
    }
}

/// Before any reader is known.
fn none_read() -> Taken {
    Taken {
        is_saturated: true,
        is_converted: true,
        is_rounded: true,
    }
}

/// Integers that saturate within the reach of quotients.
fn is_narrow(dtype: DType) -> bool {
    dtype.is_integer() && dtype.bits() <= 16
}

impl Body<'_> {
    /// `x / divisor`, for what rounds and saturates it.
    pub(super) fn quotient(
        &mut self,
        copy: usize,
        x: ValueId,
        divisor: f32,
    ) -> Result<Place, String> {
        const MAX: Code = Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae;
        const MIN: Code = Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae;
        const MUL: Code = Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er;
        const TIMES_LESS: Code = Code::EVEX_Vfmsub132ps_zmm_k1z_zmm_zmmm512b32_er;
        const LESS_PRODUCT: Code = Code::EVEX_Vfnmadd231ps_zmm_k1z_zmm_zmmm512b32_er;
        let source = self.rm(copy, x)?;
        let (bounded, quotient) = (self.zmm()?, self.zmm()?);
        let reach = divisor.abs() * REACH;
        let (least, most) = (self.bits((-reach).to_bits()), self.bits(reach.to_bits()));
        // The instructions give their second operand where either is NaN.
        self.asm.copy(quotient, least, None);
        self.asm.binary(MAX, quotient, quotient, source, None);
        self.asm.copy(bounded, most, None);
        self.asm
            .binary(MIN, bounded, bounded, Rm::Reg(quotient), None);
        self.used(copy, x);
        let (inverse, of) = (
            self.bits((1.0 / divisor).to_bits()),
            self.bits(divisor.to_bits()),
        );
        self.asm.binary(MUL, quotient, bounded, inverse, None);
        let remainder = self.zmm()?;
        for _ in 0..2 {
            self.asm.copy(remainder, Rm::Reg(quotient), None);
            self.asm.binary(TIMES_LESS, remainder, bounded, of, None);
            self.asm
                .binary(LESS_PRODUCT, quotient, remainder, inverse, None);
        }
        self.release(Place::Zmm(remainder));
        self.release(Place::Zmm(bounded));
        Ok(Place::Zmm(quotient))
    }

    /// Converts to a narrow integer: saturates, takes NaN to 0, and rounds as `code` does.
    pub(super) fn narrowed(
        &mut self,
        copy: usize,
        v: ValueId,
        to: DType,
        code: Code,
    ) -> Result<Place, String> {
        const MIN: Code = Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae;
        const MAX: Code = Code::EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32;
        const COMPARE: Code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
        const ORDERED: u32 = 0x07;
        let (least, most) = match (is_signed(to), to.bits()) {
            (true, bits) => (-(1_i32 << (bits - 1)), (1_i32 << (bits - 1)) - 1),
            (false, bits) => (0, (1_i32 << bits) - 1),
        };
        let (a, is_taken) = self.reg(copy, v)?;
        let (target, numbers) = (self.zmm()?, self.mask()?);
        self.asm.compare(COMPARE, numbers, a, Rm::Reg(a), ORDERED);
        // What is too small for the conversion becomes the least integer.
        let most = self.bits((most as f32).to_bits());
        self.asm.copy(target, most, None);
        self.asm.binary(MIN, target, target, Rm::Reg(a), None);
        let inst = Instruction::with2(code, zmm(target), zmm(target));
        self.asm.push_masked(inst, Some(numbers), true);
        let least = self.bits(least as u32);
        self.asm.binary(MAX, target, target, least, None);
        self.release(Place::Mask(numbers));
        self.release_if(is_taken, Place::Zmm(a));
        self.used(copy, v);
        Ok(Place::Zmm(target))
    }
}
