//! Powers of `f64`, with the logarithm in two parts.

use alula_kernel::ValueId;
use alula_tensor::{DType, ScalarOp};

use super::code::Code;
use super::double::{LN2_HIGH, LN2_LOW, LogParts, clamp, exp, log_parts};

const F: DType = DType::F64;

/// A product as a rounded part and the exact rest (Dekker); operands below 2^996.
pub(super) fn exact_product(code: &mut Code<'_>, a: ValueId, b: ValueId) -> (ValueId, ValueId) {
    let (a_high, a_low) = halves(code, a);
    let (b_high, b_low) = halves(code, b);
    let product = code.mul(a, b);
    let mut rest = code.mul(a_high, b_high);
    rest = code.sub(rest, product);
    for (x, y) in [(a_high, b_low), (a_low, b_high), (a_low, b_low)] {
        let part = code.mul(x, y);
        rest = code.add(rest, part);
    }
    (product, rest)
}

/// The upper 26 bits, and the rest.
fn halves(code: &mut Code<'_>, a: ValueId) -> (ValueId, ValueId) {
    let splitter = code.float(F, 134_217_729.0);
    let scaled = code.mul(a, splitter);
    let over = code.sub(scaled, a);
    let high = code.sub(scaled, over);
    (high, code.sub(a, high))
}

/// A sum as a rounded part and the exact rest, for any order of magnitudes (Knuth).
fn exact_sum(code: &mut Code<'_>, a: ValueId, b: ValueId) -> (ValueId, ValueId) {
    let sum = code.add(a, b);
    let b_kept = code.sub(sum, a);
    let a_kept = code.sub(sum, b_kept);
    let (a_lost, b_lost) = (code.sub(a, a_kept), code.sub(b, b_kept));
    (sum, code.add(a_lost, b_lost))
}

/// `e^(y log |x|)` with the logarithm and the product in two parts each.
pub(super) fn pow(code: &mut Code<'_>, x: ValueId, y: ValueId) -> ValueId {
    let (zero, one, two) = (code.float(F, 0.0), code.float(F, 1.0), code.float(F, 2.0));
    let (half, infinity) = (code.float(F, 0.5), code.float(F, f64::INFINITY));
    let nan = code.float(F, f64::NAN);
    let size = code.unary(ScalarOp::Abs, x);
    let LogParts { k, f, s, r, .. } = log_parts(code, size);
    // The quotient's own rest: (f - s (2 + f)) / (2 + f).
    let (sum, sum_rest) = exact_sum(code, two, f);
    let (product, product_rest) = exact_product(code, s, sum);
    let left = code.sub(f, product);
    let left = code.sub(left, product_rest);
    let lost = code.mul(s, sum_rest);
    let left = code.sub(left, lost);
    let s_rest = code.div(left, sum);
    let (whole, tail) = (code.add(s, s), code.add(s_rest, s_rest));
    let series = code.mul(s, r);
    let tail = code.add(tail, series);
    let (high, low) = (code.float(F, LN2_HIGH), code.float(F, LN2_LOW));
    let (k_high, k_low) = (code.mul(k, high), code.mul(k, low));
    let (log_high, rest) = exact_sum(code, k_high, whole);
    let tail = code.add(tail, k_low);
    let tail = code.add(tail, rest);
    let (log_high, log_low) = exact_sum(code, log_high, tail);
    // Exponents beyond 2^65 give 0, 1 or infinity all the same, and products stay finite.
    let limit = 2.0_f64.powi(65);
    let exponent = clamp(code, y, -limit, limit);
    let (top, rest) = exact_product(code, exponent, log_high);
    let low = code.mul(exponent, log_low);
    let rest = code.add(rest, low);
    let power = exp(code, top);
    let rest = clamp(code, rest, -1.0, 1.0);
    let grown = code.mul(power, rest);
    let finite = code.lt(power, infinity);
    let grown = code.select(finite, grown, zero);
    let value = code.add(power, grown);
    // |x| of 0 or infinity has no parts: the result is 0 or infinity by the signs.
    let (is_zero, is_infinite) = (code.eq(size, zero), code.eq(size, infinity));
    let (falls, rises) = (code.lt(y, zero), code.lt(zero, y));
    let of_zero = code.select(falls, infinity, zero);
    let of_infinity = code.select(rises, infinity, zero);
    let value = code.select(is_zero, of_zero, value);
    let value = code.select(is_infinite, of_infinity, value);
    let is_unit = code.eq(size, one);
    let ordered = code.eq(y, y);
    let exact_unit = code.apply(ScalarOp::And, &[is_unit, ordered]);
    let value = code.select(exact_unit, one, value);
    // Negative bases: odd integer exponents keep the sign, other integers drop it.
    let whole = code.unary(ScalarOp::Floor, y);
    let is_whole = code.eq(whole, y);
    let halved = code.mul(y, half);
    let floor = code.unary(ScalarOp::Floor, halved);
    let is_even = code.eq(floor, halved);
    let odd = code.unary(ScalarOp::Not, is_even);
    let is_odd = code.apply(ScalarOp::And, &[is_whole, odd]);
    let signed = code.with_sign(value, x);
    let value = code.select(is_odd, signed, value);
    let negative = code.lt(x, zero);
    let fraction = code.unary(ScalarOp::Not, is_whole);
    let finite_base = code.unary(ScalarOp::Not, is_infinite);
    let undefined = code.apply(ScalarOp::And, &[negative, fraction]);
    let undefined = code.apply(ScalarOp::And, &[undefined, finite_base]);
    let value = code.select(undefined, nan, value);
    // NaN, unless x is 1 or y is 0.
    let both = code.add(x, y);
    let both_ordered = code.eq(both, both);
    let (x_ordered, y_ordered) = (code.eq(x, x), code.eq(y, y));
    let all = code.apply(ScalarOp::And, &[x_ordered, y_ordered]);
    let all = code.apply(ScalarOp::Or, &[all, both_ordered]);
    let value = code.select(all, value, nan);
    let (x_one, y_zero) = (code.eq(x, one), code.eq(y, zero));
    let always_one = code.apply(ScalarOp::Or, &[x_one, y_zero]);
    code.select(always_one, one, value)
}
