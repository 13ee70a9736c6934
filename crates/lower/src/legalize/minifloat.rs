//! Narrow floats to and from `f32`, on bits.

use alula_kernel::ValueId;
use alula_tensor::{DType, MiniFloat, ScalarOp, Specials};

use super::code::Code;

const F: DType = DType::F32;
const I: DType = DType::I32;

/// The `f32` value of a code (a non-negative `i32`), exact.
pub(super) fn decode(code: &mut Code<'_>, format: MiniFloat, bits: ValueId) -> ValueId {
    let magnitude_bits = format.exponent_bits + format.mantissa_bits;
    let mask = code.int(I, (1 << magnitude_bits) - 1);
    let magnitude = code.apply(ScalarOp::And, &[bits, mask]);
    let nan = code.float(F, f64::NAN);
    if !format.is_signed {
        // e8m0: powers of two from 2^-127, an f32 subnormal; all ones is NaN.
        let shift = code.int(I, 23);
        let power = code.apply(ScalarOp::Shl, &[magnitude, shift]);
        let (zero, least) = (code.int(I, 0), code.int(I, 1 << 22));
        let is_least = code.eq(magnitude, zero);
        let power = code.select(is_least, least, power);
        let value = code.bitcast(power, F);
        let is_nan = code.eq(magnitude, mask);
        return code.select(is_nan, nan, value);
    }
    // The fields moved to their f32 places are the value with another bias: one exact product
    // corrects it, subnormals included.
    let shift = code.int(I, i128::from(23 - format.mantissa_bits));
    let moved = code.apply(ScalarOp::Shl, &[magnitude, shift]);
    let moved = code.bitcast(moved, F);
    let scale = code.float(F, 2.0_f64.powi(127 - format.bias));
    let mut value = code.mul(moved, scale);
    match format.specials {
        Specials::Ieee => {
            let top = ((1_i128 << format.exponent_bits) - 1) << format.mantissa_bits;
            let (top, infinity) = (code.int(I, top), code.float(F, f64::INFINITY));
            let is_inf = code.eq(magnitude, top);
            value = code.select(is_inf, infinity, value);
            let is_nan = code.apply(ScalarOp::Gt, &[magnitude, top]);
            value = code.select(is_nan, nan, value);
        }
        Specials::AllOnesNan => {
            let is_nan = code.eq(magnitude, mask);
            value = code.select(is_nan, nan, value);
        }
        Specials::NegativeZeroNan | Specials::FiniteOnly => {}
    }
    let shift = code.int(I, i128::from(31 - magnitude_bits));
    let sign = code.apply(ScalarOp::Shl, &[bits, shift]);
    let sign = code.bitcast(sign, F);
    let signed = code.with_sign(value, sign);
    if format.specials == Specials::NegativeZeroNan {
        let negative_zero = code.int(I, 1 << magnitude_bits);
        let is_nan = code.eq(bits, negative_zero);
        return code.select(is_nan, nan, signed);
    }
    signed
}

/// The code (a non-negative `i32`) nearest to an `f32` value, ties to even; beyond the greatest
/// finite value infinity, or NaN where there is none.
pub(super) fn encode(code: &mut Code<'_>, format: MiniFloat, value: ValueId) -> ValueId {
    let bits = code.bitcast(value, I);
    let magnitude_mask = code.int(I, 0x7FFF_FFFF);
    let magnitude = code.apply(ScalarOp::And, &[bits, magnitude_mask]);
    let infinity = code.int(I, 0x7F80_0000);
    let is_nan = code.apply(ScalarOp::Gt, &[magnitude, infinity]);
    if !format.is_signed {
        return encode_power(code, bits, magnitude, is_nan);
    }
    let rounded = round(code, format, magnitude);
    let magnitude_bits = format.exponent_bits + format.mantissa_bits;
    let all = (1_i128 << magnitude_bits) - 1;
    let top = ((1_i128 << format.exponent_bits) - 1) << format.mantissa_bits;
    let quiet = if format.mantissa_bits == 0 {
        0
    } else {
        1 << (format.mantissa_bits - 1)
    };
    // Greatest finite code, the code beyond it, the code of NaN.
    let (max, beyond, nan) = match format.specials {
        Specials::Ieee => (top - 1, top, top | quiet),
        Specials::AllOnesNan => (all - 1, all, all),
        Specials::NegativeZeroNan => (all, 1 << magnitude_bits, 1 << magnitude_bits),
        Specials::FiniteOnly => (all, all, 0),
    };
    let (max, beyond, nan) = (code.int(I, max), code.int(I, beyond), code.int(I, nan));
    let is_beyond = code.apply(ScalarOp::Gt, &[rounded, max]);
    let unsigned = code.select(is_beyond, beyond, rounded);
    let shift = code.int(I, i128::from(31 - magnitude_bits));
    let sign = code.apply(ScalarOp::Shr, &[bits, shift]);
    let sign_bit = code.int(I, 1 << magnitude_bits);
    let sign = code.apply(ScalarOp::And, &[sign, sign_bit]);
    let signed = code.apply(ScalarOp::Or, &[unsigned, sign]);
    let mut result = code.select(is_nan, nan, signed);
    if format.specials == Specials::Ieee {
        let signed_nan = code.apply(ScalarOp::Or, &[nan, sign]);
        result = code.select(is_nan, signed_nan, signed);
    }
    if format.specials == Specials::NegativeZeroNan {
        let zero = code.int(I, 0);
        let is_zero = code.eq(rounded, zero);
        let finite = code.select(is_zero, zero, signed);
        let special = code.apply(ScalarOp::Or, &[is_beyond, is_nan]);
        result = code.select(special, nan, finite);
    }
    result
}

/// Rounds the bits of a magnitude to a code as if exponents had no upper bound.
fn round(code: &mut Code<'_>, format: MiniFloat, magnitude: ValueId) -> ValueId {
    let dropped = 23 - format.mantissa_bits;
    let (shift, one) = (code.int(I, i128::from(dropped)), code.int(I, 1));
    // Normal numbers: add half a unit less one, and one more if the kept part is odd.
    let rebias = code.int(I, -(i128::from(127 - format.bias) << 23));
    let based = code.add(magnitude, rebias);
    let kept = code.apply(ScalarOp::Shr, &[based, shift]);
    let odd = code.apply(ScalarOp::And, &[kept, one]);
    let half = code.int(I, (1 << (dropped - 1)) - 1);
    let raised = code.add(based, half);
    let raised = code.add(raised, odd);
    let normal = code.apply(ScalarOp::Shr, &[raised, shift]);
    // Subnormal ones: a sum with a number whose unit is the least one rounds them.
    let unit = 2.0_f64.powi(1 - format.bias - format.mantissa_bits as i32 + 23);
    let anchor = code.float(F, unit);
    let value = code.bitcast(magnitude, F);
    let sum = code.add(value, anchor);
    let (sum, anchor) = (code.bitcast(sum, I), code.bitcast(anchor, I));
    let subnormal = code.sub(sum, anchor);
    let least_normal = code.int(I, i128::from(128 - format.bias) << 23);
    let is_subnormal = code.lt(magnitude, least_normal);
    code.select(is_subnormal, subnormal, normal)
}

/// e8m0: the nearest power of two by logarithm; zero and negatives take the least code.
fn encode_power(
    code: &mut Code<'_>,
    bits: ValueId,
    magnitude: ValueId,
    is_nan: ValueId,
) -> ValueId {
    // Exponent and mantissa fields; the mantissa of sqrt(2) lies between these two codes.
    let (shift, fraction) = (code.int(I, 23), code.int(I, 0x7F_FFFF));
    let exponent = code.apply(ScalarOp::Shr, &[magnitude, shift]);
    let mantissa = code.apply(ScalarOp::And, &[magnitude, fraction]);
    let (root, subnormal_root) = (code.int(I, 0x35_04F3), code.int(I, 0x5A_8279));
    let (zero, one) = (code.int(I, 0), code.int(I, 1));
    let is_subnormal = code.eq(exponent, zero);
    let bound = code.select(is_subnormal, subnormal_root, root);
    let up = code.apply(ScalarOp::Gt, &[mantissa, bound]);
    let step = code.select(up, one, zero);
    let nearest = code.add(exponent, step);
    let nan = code.int(I, 255);
    let nearest = code.apply(ScalarOp::Min, &[nearest, nan]);
    let positive = code.apply(ScalarOp::Gt, &[bits, zero]);
    let result = code.select(positive, nearest, zero);
    code.select(is_nan, nan, result)
}

/// An `f64` value in `f32`, inexact ones to the neighbour with an odd last bit: rounding that
/// again to fewer bits rounds the `f64` value correctly.
pub(super) fn round_to_odd(code: &mut Code<'_>, value: ValueId) -> ValueId {
    let near = code.cast(value, F);
    let back = code.cast(near, DType::F64);
    let (near_size, size) = (
        code.unary(ScalarOp::Abs, back),
        code.unary(ScalarOp::Abs, value),
    );
    let below = code.lt(near_size, size);
    let above = code.apply(ScalarOp::Gt, &[near_size, size]);
    let bits = code.bitcast(near, I);
    let (zero, one, minus) = (code.int(I, 0), code.int(I, 1), code.int(I, -1));
    let down = code.select(above, minus, zero);
    let step = code.select(below, one, down);
    let odd = code.apply(ScalarOp::And, &[bits, one]);
    let is_even = code.eq(odd, zero);
    let step = code.select(is_even, step, zero);
    let moved = code.add(bits, step);
    code.bitcast(moved, F)
}
