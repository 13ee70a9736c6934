//! Quantization on registers of lanes: quotients by a constant that are rounded to narrow integers.
//!
//! A division takes as long as ten other instructions. Where its quotient is only rounded and
//! converted, with saturation, to an integer of at most 16 bits, it is made by multiplying with the
//! reciprocal, and corrected by its exact remainder. With `r` the reciprocal of `d` to the nearest,
//! the first correction makes `q` one of the two floats around `x / d`, and a second one then makes
//! it `x / d` to the nearest (Markstein, 1990): the same steps come out, bit for bit. `x` is
//! brought to where steps saturate either way first, for remainders of infinities are none.
//! Quotients whose remainder underflows round to 0 either way.
//!
//! One correction leaves an error of about 2^-46, so that `q` is not the nearest float only where
//! `x / d` is that close to the middle of two; and another step comes out only where one of these
//! is half-way between integers. Those few `x` are tried when the loop is printed: where all come
//! out right, as for nearly every divisor, the second correction is left out.

use std::collections::{BTreeMap, BTreeSet};

use alula_kernel::{Inst, Loop, Rhs, ValueId};
use alula_tensor::{DType, ScalarOp};
use iced_x86::{Code, Instruction};

use super::super::repr::is_signed;
use super::assembler::{Rm, zmm};
use super::body::{Body, Place};

/// Divisors between these, in magnitude, have reciprocals and remainders in range.
const DIVISORS: [f32; 2] = [1e-18, 1e18];
/// Steps for which one correction is tried, at most.
const TRIED: f32 = 1024.0;
/// Below this magnitude, floats convert to `i32` as they are.
const CONVERTED: f64 = 2e9;
/// Constants that are added to steps, at most: zero points.
const ZEROS: f32 = (1 << 16) as f32;

/// What a loop over lanes quantizes.
#[derive(Default)]
pub(super) struct Steps {
    /// Roundings to nearest that are only converted to narrow integers: the conversion rounds.
    rounded: BTreeSet<ValueId>,
    /// Quotients by a constant that are only rounded and saturated.
    quotients: BTreeMap<ValueId, Quotient>,
    /// Narrow integers that are stored, or raised to a constant, at once: less than the least of
    /// the dtype may stand for it.
    raised: BTreeSet<ValueId>,
    /// Narrow integers that are stored, if need be bounded by constants before: more than the
    /// greatest of the dtype may stand for it.
    stored: BTreeSet<ValueId>,
}

/// A quotient by a constant that is rounded and saturated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quotient {
    divisor: f32,
    /// The magnitude from which on it makes no difference how great it is.
    reach: f32,
}

impl Quotient {
    /// The quotient, and how it is made.
    fn corrected(self, x: f32, corrections: usize) -> f32 {
        let inverse = 1.0 / self.divisor;
        let mut quotient = x * inverse;
        for _ in 0..corrections {
            let remainder = quotient.mul_add(self.divisor, -x);
            quotient = (-remainder).mul_add(inverse, quotient);
        }
        quotient
    }

    /// How often it is corrected: once, if that rounds as the quotient does next to each middle
    /// between two floats of which one is half-way between integers.
    fn corrections(self) -> usize {
        if self.reach > TRIED {
            return 2;
        }
        let rounds_alike = |x: f32| {
            let [right, quick] = [x / self.divisor, self.corrected(x, 1)];
            right.round_ties_even() == quick.round_ties_even()
        };
        let is_right = |steps: u32| {
            let half_way = steps as f32 + 0.5;
            [half_way.next_down(), half_way.next_up()]
                .into_iter()
                .all(|next| {
                    // Exact: 25 bits by 24.
                    let middle = f64::midpoint(next.into(), half_way.into());
                    let x = (middle * f64::from(self.divisor)) as f32;
                    [x.next_down(), x, x.next_up()]
                        .into_iter()
                        .all(rounds_alike)
                })
        };
        match (0..=self.reach as u32).all(is_right) {
            true => 1,
            false => 2,
        }
    }
}

/// How every reader of a value takes it.
#[derive(Clone, Copy)]
struct Taken {
    /// The magnitude from which on conversion to a narrow integer saturates, whatever else is
    /// done before.
    reach: f32,
    /// Converted at once.
    is_converted: bool,
    /// Rounded to nearest at once.
    is_rounded: bool,
    /// Stored as it is, or raised to a constant at once.
    is_raised: bool,
    /// Stored as it is, or bounded by constants and then stored.
    is_stored: bool,
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
            reach: f32::INFINITY,
            is_converted: false,
            is_rounded: false,
            is_raised: false,
            is_stored: false,
        };
        let mut taken = BTreeMap::<ValueId, Taken>::new();
        let mut note = |value: ValueId, by: Taken| {
            let all = taken.entry(value).or_insert(by);
            all.reach = all.reach.max(by.reach);
            all.is_converted &= by.is_converted;
            all.is_rounded &= by.is_rounded;
            all.is_raised &= by.is_raised;
            all.is_stored &= by.is_stored;
            *all
        };
        of.carried.iter().for_each(|c| _ = note(c.next, none));
        let mut steps = Steps::default();
        // Readers come last, so that all of them are known before what they read.
        for inst in of.body.0.iter().rev() {
            let (id, rhs) = match inst {
                Inst::Let { id, rhs } => (*id, rhs),
                Inst::Store { value, .. } => {
                    let by = Taken {
                        is_raised: true,
                        is_stored: true,
                        ..none
                    };
                    note(*value, by);
                    continue;
                }
                Inst::Loop(_) | Inst::If { .. } | Inst::Barrier => continue,
            };
            // What nobody reads is read by nobody else.
            let own = note(id, none_read());
            match rhs {
                Rhs::Cast(value) => {
                    let is_converted = dtype(*value) == DType::F32 && is_narrow(dtype(id));
                    let reach = match is_converted {
                        true => (1_u32 << dtype(id).bits()) as f32,
                        false => f32::INFINITY,
                    };
                    let by = Taken {
                        reach,
                        is_converted,
                        ..none
                    };
                    note(*value, by);
                    // Stores saturate at whole bytes.
                    let is_whole = dtype(id).bits().is_multiple_of(8);
                    if is_converted && own.is_raised && is_whole {
                        steps.raised.insert(id);
                    }
                    if is_converted && own.is_stored && is_whole {
                        steps.stored.insert(id);
                    }
                }
                Rhs::Apply { op, operands } if dtype(id) == DType::F32 => {
                    let reach = match (op, &operands[..]) {
                        (ScalarOp::Round, _) => Some(own.reach),
                        (ScalarOp::Max | ScalarOp::Min, [_, y]) => {
                            let y = number(*y).filter(|y| !y.is_nan());
                            y.map(|_| own.reach)
                        }
                        (ScalarOp::Add | ScalarOp::Sub, [_, y]) => {
                            let y = number(*y).filter(|y| y.abs() <= ZEROS);
                            y.map(|y| own.reach + y.abs().ceil())
                        }
                        _ => None,
                    };
                    let by = Taken {
                        reach: reach.unwrap_or(f32::INFINITY),
                        is_rounded: *op == ScalarOp::Round,
                        ..none
                    };
                    note(operands[0], by);
                    operands[1..].iter().for_each(|&y| _ = note(y, none));
                    match op {
                        ScalarOp::Round if own.is_converted => _ = steps.rounded.insert(id),
                        ScalarOp::Div if own.is_rounded && own.reach.is_finite() => {
                            let divisor = number(operands[1]);
                            let range = DIVISORS[0]..=DIVISORS[1];
                            if let Some(divisor) = divisor.filter(|d| range.contains(&d.abs())) {
                                let reach = own.reach;
                                steps.quotients.insert(id, Quotient { divisor, reach });
                            }
                        }
                        _ => {}
                    }
                }
                Rhs::Apply {
                    op: op @ (ScalarOp::Max | ScalarOp::Min),
                    operands,
                } if is_narrow(dtype(id)) && constant(operands[1]).is_some() => {
                    let by = Taken {
                        is_raised: *op == ScalarOp::Max,
                        is_stored: own.is_stored,
                        ..none
                    };
                    note(operands[0], by);
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

    /// A quotient that is rounded and saturated.
    pub(super) fn quotient(&self, value: ValueId) -> Option<Quotient> {
        self.quotients.get(&value).copied()
    }

    /// Whether less than the least of its dtype may stand for it, in what is stored or raised.
    fn is_raised(&self, value: ValueId) -> bool {
        self.raised.contains(&value)
    }

    /// Whether more than the greatest of its dtype may stand for it, in what is stored.
    fn is_stored(&self, value: ValueId) -> bool {
        self.stored.contains(&value)
    }
}

/// Before any reader is known.
fn none_read() -> Taken {
    Taken {
        reach: 0.0,
        is_converted: true,
        is_rounded: true,
        is_raised: true,
        is_stored: true,
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
        by: Quotient,
    ) -> Result<Place, String> {
        const MAX: Code = Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae;
        const MIN: Code = Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae;
        const MUL: Code = Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er;
        const TIMES_LESS: Code = Code::EVEX_Vfmsub132ps_zmm_k1z_zmm_zmmm512b32_er;
        const LESS_PRODUCT: Code = Code::EVEX_Vfnmadd231ps_zmm_k1z_zmm_zmmm512b32_er;
        let Quotient { divisor, reach } = by;
        let is_in_reach = self.plan.reach.of(x) / f64::from(divisor.abs()) < CONVERTED;
        let quotient = self.zmm()?;
        let (bounded, is_taken) = match is_in_reach {
            true => self.reg(copy, x)?,
            false => {
                let (source, bounded) = (self.rm(copy, x)?, self.zmm()?);
                let reach = divisor.abs() * reach;
                let (least, most) = (self.bits((-reach).to_bits()), self.bits(reach.to_bits()));
                // The instructions give their second operand where either is NaN.
                self.asm.copy(quotient, least, None);
                self.asm.binary(MAX, quotient, quotient, source, None);
                self.asm.copy(bounded, most, None);
                self.asm
                    .binary(MIN, bounded, bounded, Rm::Reg(quotient), None);
                (bounded, true)
            }
        };
        let (inverse, of) = (
            self.bits((1.0 / divisor).to_bits()),
            self.bits(divisor.to_bits()),
        );
        self.asm.binary(MUL, quotient, bounded, inverse, None);
        let remainder = self.zmm()?;
        for _ in 0..by.corrections() {
            self.asm.copy(remainder, Rm::Reg(quotient), None);
            self.asm.binary(TIMES_LESS, remainder, bounded, of, None);
            self.asm
                .binary(LESS_PRODUCT, quotient, remainder, inverse, None);
        }
        self.release(Place::Zmm(remainder));
        self.release_if(is_taken, Place::Zmm(bounded));
        self.used(copy, x);
        Ok(Place::Zmm(quotient))
    }

    /// Converts to a narrow integer: saturates, takes NaN to 0, and rounds as `code` does. Where
    /// the value is known to be a number in reach of the conversion, integers are bounded, and only
    /// as far as their readers do not do that.
    pub(super) fn narrowed(
        &mut self,
        copy: usize,
        id: ValueId,
        v: ValueId,
        code: Code,
    ) -> Result<Place, String> {
        const MIN: Code = Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae;
        const MAX: Code = Code::EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32;
        const LEAST: Code = Code::EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32;
        const COMPARE: Code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
        const ORDERED: u32 = 0x07;
        let to = self.plan.dtype(id);
        let (least, most) = match (is_signed(to), to.bits()) {
            (true, bits) => (-(1_i32 << (bits - 1)), (1_i32 << (bits - 1)) - 1),
            (false, bits) => (0, (1_i32 << bits) - 1),
        };
        if self.plan.reach.of(v) < CONVERTED {
            let source = self.rm(copy, v)?;
            let target = self.zmm()?;
            self.asm.unary(code, target, source);
            if !is_signed(to) || !self.plan.steps.is_raised(id) {
                let least = self.bits(least as u32);
                self.asm.binary(MAX, target, target, least, None);
            }
            if !self.plan.steps.is_stored(id) {
                let most = self.bits(most as u32);
                self.asm.binary(LEAST, target, target, most, None);
            }
            self.used(copy, v);
            return Ok(Place::Zmm(target));
        }
        let (a, is_taken) = self.reg(copy, v)?;
        let (target, numbers) = (self.zmm()?, self.mask()?);
        self.asm.compare(COMPARE, numbers, a, Rm::Reg(a), ORDERED);
        // What is too small for the conversion becomes the least integer.
        let most = self.bits((most as f32).to_bits());
        self.asm.copy(target, most, None);
        self.asm.binary(MIN, target, target, Rm::Reg(a), None);
        let inst = Instruction::with2(code, zmm(target), zmm(target));
        self.asm.push_masked(inst, Some(numbers), true);
        if !is_signed(to) || !self.plan.steps.is_raised(id) {
            let least = self.bits(least as u32);
            self.asm.binary(MAX, target, target, least, None);
        }
        self.release(Place::Mask(numbers));
        self.release_if(is_taken, Place::Zmm(a));
        self.used(copy, v);
        Ok(Place::Zmm(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Divisors of many mantissas and sizes, of both signs.
    fn divisors() -> impl Iterator<Item = f32> {
        let mut state = 0x9E37_79B9_u32;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let exponent = 90 + (state >> 4) % 60;
            f32::from_bits(state & 0x8000_0000 | exponent << 23 | state >> 9)
        })
    }

    #[test]
    fn corrected_quotients_round_as_quotients_do() {
        for divisor in divisors().take(400) {
            let quotient = Quotient {
                divisor,
                reach: 256.0,
            };
            let corrections = quotient.corrections();
            for step in -256..=256 {
                // Where rounding changes, and its neighbours.
                let x = (step as f32 + 0.5) * divisor;
                for x in [x.next_down().next_down(), x.next_down(), x, x.next_up()] {
                    let [right, made] = [x / divisor, quotient.corrected(x, corrections)];
                    let same = right.round_ties_even() == made.round_ties_even();
                    assert!(same, "{x:e} / {divisor:e}: {right} and {made}");
                }
            }
        }
    }

    #[test]
    fn far_steps_are_corrected_twice() {
        let corrections = |reach| {
            let divisor = 0.1;
            Quotient { divisor, reach }.corrections()
        };
        assert_eq!((corrections(256.0), corrections(65536.0)), (1, 2));
    }
}
