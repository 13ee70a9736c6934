//! Products with powers of two that are one instruction.
//!
//! Functions of f32 that are made of `e^x` (`alula_lower::legalize`) end by multiplying a value
//! near 1 with `2^n`, in two factors, since one may be out of range: nine instructions, where the
//! processor has one that takes `n` as a float. Results are the same, bit for bit: the first
//! factor leaves a normal number, so that only the second rounds.

use std::collections::{BTreeMap, BTreeSet};

use alula_kernel::{Inst, ValueId};
use alula_tensor::ScalarOp;

use super::pattern::{Pattern, operands};

/// 1.5 * 2^23: a sum with it has the nearest integer in its low bits.
const ANCHOR: u32 = 12_582_912_f32.to_bits();
/// Of the exponent of f32: where it begins, and what 0 is.
const MANTISSA_BITS: u32 = 23;
const BIAS: u32 = 127;

/// What a loop over lanes scales so.
#[derive(Default)]
pub(super) struct Scaled {
    /// Results, with the value and the power.
    results: BTreeMap<ValueId, [ValueId; 2]>,
    /// Values on the way to these, which nothing else needs.
    skipped: BTreeSet<ValueId>,
}

impl Scaled {
    pub(super) fn find(pattern: &Pattern<'_>) -> Scaled {
        // Powers as floats, by what they were before the anchor was taken away.
        let mut powers = BTreeMap::new();
        let mut scaled = Scaled::default();
        for inst in pattern.body() {
            let Inst::Let { id, rhs } = inst else {
                continue;
            };
            if let Some(&[shifted, anchor]) = operands(rhs, ScalarOp::Sub)
                && pattern.is(anchor, ANCHOR)
            {
                powers.insert(shifted, *id);
            }
            let factors = operands(rhs, ScalarOp::Mul);
            let found = factors.and_then(|factors| twice(pattern, factors));
            if let Some((value, shifted, between)) = found
                && let Some(&power) = powers.get(&shifted)
            {
                scaled.results.insert(*id, [value, power]);
                scaled.skipped.extend(between);
            }
        }
        scaled
    }

    /// The value and the power of a result.
    pub(super) fn operands(&self, result: ValueId) -> Option<&[ValueId; 2]> {
        self.results.get(&result)
    }

    /// Whether nothing is printed for a value.
    pub(super) fn skips(&self, value: ValueId) -> bool {
        self.skipped.contains(&value)
    }
}

/// The value and the shifted power of `(value * 2^(n >> 1)) * 2^(n - (n >> 1))`, and what is
/// between.
fn twice(pattern: &Pattern<'_>, factors: &[ValueId]) -> Option<(ValueId, ValueId, Vec<ValueId>)> {
    let &[product, second] = factors else {
        return None;
    };
    let &[value, first] = pattern.applied(product, ScalarOp::Mul)? else {
        return None;
    };
    let mut between = vec![product];
    let half = exponent(pattern, first, &mut between)?;
    let other = exponent(pattern, second, &mut between)?;
    let &[n, one] = operands(pattern.read(half, 2)?, ScalarOp::Shr)? else {
        return None;
    };
    let rest = pattern.applied(other, ScalarOp::Sub)?;
    let &[bits, anchor] = operands(pattern.read(n, 2)?, ScalarOp::Sub)? else {
        return None;
    };
    let shifted = pattern.bits_of(bits)?;
    between.extend([half, other, n, bits]);
    let fits = rest == [n, half] && pattern.is(one, 1) && pattern.is(anchor, ANCHOR);
    fits.then_some((value, shifted, between))
}

/// The `n` of `2^n` that is made of its bits.
fn exponent(pattern: &Pattern<'_>, power: ValueId, between: &mut Vec<ValueId>) -> Option<ValueId> {
    let bits = pattern.bits_of(power)?;
    let &[biased, by] = pattern.applied(bits, ScalarOp::Shl)? else {
        return None;
    };
    let &[n, bias] = pattern.applied(biased, ScalarOp::Add)? else {
        return None;
    };
    between.extend([power, bits, biased]);
    (pattern.is(by, MANTISSA_BITS) && pattern.is(bias, BIAS)).then_some(n)
}
