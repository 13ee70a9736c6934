//! Functions of `f32`: the frequent ones in `f32` throughout, the rest by way of `f64`.
//!
//! Polynomials are Chebyshev fits on the reduced intervals; error bounds in the module's list are
//! checked over all exponents by tests.

use alula_kernel::ValueId;
use alula_tensor::{DType, ScalarOp};

use super::angles::within_a_turn;
use super::code::Code;
use super::complement::erfc_single;

const F: DType = DType::F32;
const I: DType = DType::I32;

/// 1.5 * 2^23: a sum with it has the nearest integer in its low bits.
const ANCHOR: f64 = 12_582_912.0;

/// ln 2 in two parts; the first has 15 trailing zero bits, so that integer multiples are exact.
const LN2_HIGH: f64 = 0.693_359_375;
const LN2_LOW: f64 = -2.121_944_4e-4;

/// Expansions on `f32`.
pub(super) fn expand(
    code: &mut Code<'_>,
    op: ScalarOp,
    dtype: DType,
    operands: &[ValueId],
) -> Option<ValueId> {
    if dtype != F {
        return None;
    }
    Some(match (op, operands) {
        (ScalarOp::Exp, &[x]) => exp(code, x),
        (ScalarOp::Log, &[x]) => log(code, x),
        (ScalarOp::Tanh, &[x]) => tanh(code, x),
        (ScalarOp::Erf, &[x]) => erf(code, x),
        (ScalarOp::Erfc, &[x]) => erfc_single(code, x),
        (ScalarOp::Rem, &[a, b]) => remainder(code, a, b),
        (ScalarOp::Fma, &[a, b, c]) => multiply_add(code, a, b, c),
        (ScalarOp::Sin | ScalarOp::Cos | ScalarOp::Tan, &[x]) => {
            let wide = code.cast(x, DType::F64);
            let angle = within_a_turn(code, wide);
            let result = code.apply(op, &[angle]);
            code.cast(result, F)
        }
        (
            ScalarOp::Expm1
            | ScalarOp::Log1p
            | ScalarOp::Asin
            | ScalarOp::Acos
            | ScalarOp::Atan
            | ScalarOp::Sinh
            | ScalarOp::Cosh
            | ScalarOp::Asinh
            | ScalarOp::Acosh
            | ScalarOp::Atanh
            | ScalarOp::Pow
            // Floors the quotient before it is rounded to f32.
            | ScalarOp::FloorDiv,
            _,
        ) => {
            let wide: Vec<ValueId> =
                operands.iter().map(|&value| code.cast(value, DType::F64)).collect();
            let result = code.apply(op, &wide);
            code.cast(result, F)
        }
        _ => return None,
    })
}

/// `a * b + c`, where the target has no such instruction: by way of `f64`, of which the sum alone
/// is rounded twice, or else as a product and a sum.
fn multiply_add(code: &mut Code<'_>, a: ValueId, b: ValueId, c: ValueId) -> ValueId {
    let is_wide = code.has(ScalarOp::Add, DType::F64);
    let [a, b, c] = [a, b, c].map(|x| if is_wide { code.cast(x, DType::F64) } else { x });
    let product = code.mul(a, b);
    let sum = code.add(product, c);
    if is_wide { code.cast(sum, F) } else { sum }
}

/// The lesser of `x` and a constant; NaN stays, as it is not above.
pub(super) fn at_most(code: &mut Code<'_>, x: ValueId, greatest: f64) -> ValueId {
    let greatest = code.float(F, greatest);
    let is_high = code.lt(greatest, x);
    code.select(is_high, greatest, x)
}

/// The `n` for which `2^n` is nearest to `e^x`, under the bits of [`ANCHOR`] and by itself.
fn nearest_power(code: &mut Code<'_>, x: ValueId) -> (ValueId, ValueId) {
    let (inverse, anchor) = (
        code.float(F, std::f64::consts::LOG2_E),
        code.float(F, ANCHOR),
    );
    let shifted = code.multiply_add(x, inverse, anchor);
    (shifted, code.sub(shifted, anchor))
}

/// `e^(x - rest)` is the first value times `2^n`; the second is `n` under the bits of [`ANCHOR`].
/// The rest is up to 0.1, and so what `x` lost in rounding may come in again.
pub(super) fn split_power(
    code: &mut Code<'_>,
    x: ValueId,
    rest: Option<ValueId>,
) -> (ValueId, ValueId) {
    let (shifted, n) = nearest_power(code, x);
    let (high, low) = (code.float(F, -LN2_HIGH), code.float(F, -LN2_LOW));
    let r = code.multiply_add(n, high, x);
    let mut r = code.multiply_add(n, low, r);
    if let Some(rest) = rest {
        r = code.sub(r, rest);
    }
    let p = code.polynomial(
        r,
        &[
            0.5,
            0.166_665_73,
            0.041_666_55,
            0.008_363_774,
            0.001_392_692_7,
        ],
    );
    let square = code.mul(r, r);
    let p = code.multiply_add(p, square, r);
    let one = code.float(F, 1.0);
    (code.add(p, one), code.bitcast(shifted, I))
}

/// `e^x` where the result is a normal number: `|x|` up to 87.
fn exp_bounded(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let (mantissa, bits) = split_power(code, x, None);
    let scale = anchored_power(code, bits);
    code.mul(mantissa, scale)
}

/// `2^n` of a normal exponent, `n` under the bits of [`ANCHOR`].
fn anchored_power(code: &mut Code<'_>, bits: ValueId) -> ValueId {
    let rebias = code.int(I, 127 - i128::from((ANCHOR as f32).to_bits()));
    let shift = code.int(I, 23);
    let biased = code.add(bits, rebias);
    let scale = code.apply(ScalarOp::Shl, &[biased, shift]);
    code.bitcast(scale, F)
}

/// The power of two goes in as two factors, so that results reach the subnormals and infinity.
///
/// Where the result is zero, as where attention is masked, nothing on the way is subnormal: that
/// would cost a processor a hundred cycles.
fn exp(code: &mut Code<'_>, x: ValueId) -> ValueId {
    const LEAST: f64 = -104.0;
    let (least, zero) = (code.float(F, LEAST), code.float(F, 0.0));
    // Softmax has cut off its own zeros.
    let (is_zero, x) = match code.cut_off(x, LEAST) {
        Some(found) => found,
        None => (code.lt(x, least), x),
    };
    let x = code.select(is_zero, zero, x);
    let x = at_most(code, x, 88.8);
    let (mantissa, bits) = split_power(code, x, None);
    let value = scaled(code, mantissa, bits);
    code.select(is_zero, zero, value)
}

/// `value * 2^n`, of a value near 1 and `n` under the bits of [`ANCHOR`] from -252 to 250. Back
/// ends may know these steps again, and take one instruction for them.
pub(super) fn scaled(code: &mut Code<'_>, value: ValueId, bits: ValueId) -> ValueId {
    let base = code.int(I, i128::from((ANCHOR as f32).to_bits()));
    let n = code.sub(bits, base);
    let shift = code.int(I, 1);
    let half = code.apply(ScalarOp::Shr, &[n, shift]);
    let other = code.sub(n, half);
    let (a, b) = (power_of_two(code, half), power_of_two(code, other));
    let value = code.mul(value, a);
    code.mul(value, b)
}

/// `2^n` of a normal exponent.
fn power_of_two(code: &mut Code<'_>, n: ValueId) -> ValueId {
    let (bias, shift) = (code.int(I, 127), code.int(I, 23));
    let biased = code.add(n, bias);
    let bits = code.apply(ScalarOp::Shl, &[biased, shift]);
    code.bitcast(bits, F)
}

/// `k ln2 + log(1 + f)` with `1 + f` from sqrt(1/2) to sqrt(2).
fn log(code: &mut Code<'_>, x: ValueId) -> ValueId {
    // Subnormals are scaled to be normal.
    let (least, scale) = (
        code.float(F, f64::from(f32::MIN_POSITIVE)),
        code.float(F, 8_388_608.0),
    );
    let is_small = code.lt(x, least);
    let scaled = code.mul(x, scale);
    let normal = code.select(is_small, scaled, x);
    let (offset, zero) = (code.float(F, 23.0), code.float(F, 0.0));
    let offset = code.select(is_small, offset, zero);
    let bits = code.bitcast(normal, I);
    // The bits of sqrt(1/2) go to exponent 0.
    let (root, shift) = (code.int(I, 0x3F35_04F3), code.int(I, 23));
    let above = code.sub(bits, root);
    let k = code.apply(ScalarOp::Shr, &[above, shift]);
    let exponent = code.apply(ScalarOp::Shl, &[k, shift]);
    let mantissa = code.sub(bits, exponent);
    let mantissa = code.bitcast(mantissa, F);
    let one = code.float(F, 1.0);
    let f = code.sub(mantissa, one);
    let k = code.cast(k, F);
    let k = code.sub(k, offset);
    let p = code.polynomial(
        f,
        &[
            0.333_333_32,
            -0.249_999_97,
            0.200_007_16,
            -0.166_678_03,
            0.142_490_58,
            -0.124_256_87,
            0.116_854_2,
            -0.114_797_34,
            0.069_716_12,
        ],
    );
    let square = code.mul(f, f);
    let cube = code.mul(square, f);
    let (high, low, half) = (
        code.float(F, LN2_HIGH),
        code.float(F, LN2_LOW),
        code.float(F, 0.5),
    );
    let p = code.mul(p, cube);
    let rest = code.mul(k, low);
    let p = code.add(p, rest);
    let halved = code.mul(square, half);
    let p = code.sub(p, halved);
    let p = code.add(p, f);
    let whole = code.mul(k, high);
    let value = code.add(p, whole);
    special_logs(code, x, value)
}

/// The logarithm where `value` does not hold: of 0, negatives, infinity and NaN.
pub(super) fn special_logs(code: &mut Code<'_>, x: ValueId, value: ValueId) -> ValueId {
    let dtype = code.dtype(x);
    let (zero, infinity) = (code.float(dtype, 0.0), code.float(dtype, f64::INFINITY));
    let (minus, nan) = (
        code.float(dtype, f64::NEG_INFINITY),
        code.float(dtype, f64::NAN),
    );
    let finite = code.lt(x, infinity);
    let value = code.select(finite, value, x);
    let positive = code.lt(zero, x);
    let is_zero = code.eq(x, zero);
    let otherwise = code.select(is_zero, minus, nan);
    code.select(positive, value, otherwise)
}

fn tanh(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    let square = code.mul(x, x);
    let p = code.polynomial(
        square,
        &[
            -0.333_333_28,
            0.133_327_7,
            -0.053_850_908,
            0.020_997_18,
            -0.006_096_714_2,
        ],
    );
    let p = code.mul(p, square);
    let p = code.mul(p, size);
    let near = code.add(size, p);
    // 1 - 2 / (e^2x + 1); from 10 on this is 1.
    let limited = at_most(code, size, 10.0);
    let double = code.add(limited, limited);
    let power = exp_bounded(code, double);
    let (one, two) = (code.float(F, 1.0), code.float(F, 2.0));
    let below = code.add(power, one);
    let rest = code.div(two, below);
    let far = code.sub(one, rest);
    let bound = code.float(F, 0.625);
    let is_near = code.lt(size, bound);
    let value = code.select(is_near, near, far);
    code.with_sign(value, x)
}

/// `1 - e^y`, where `y` is the logarithm of the complement: -1.13 times the size near 0, so that
/// one form holds everywhere, as long as `e^r - 1` is made without the 1.
fn erf(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    // From 4 on this is 1.
    let size = at_most(code, size, 4.0);
    let p = code.polynomial(
        size,
        &[
            -0.128_379_17,
            -0.636_619_4,
            -0.102_777_83,
            0.019_153_064,
            0.000_160_396_07,
            -0.001_667_027_5,
            0.000_632_836_85,
            -0.000_117_641_26,
            9.256_264e-6,
        ],
    );
    let p = code.mul(p, size);
    let y = code.sub(p, size);
    let (shifted, n) = nearest_power(code, y);
    // What is lost of ln 2 counts little: `2^n` is a factor.
    let ln2 = code.float(F, -std::f64::consts::LN_2);
    let r = code.multiply_add(n, ln2, y);
    let p = code.polynomial(
        r,
        &[
            0.5,
            0.166_665_44,
            0.041_667_2,
            0.008_366_538_5,
            0.001_388_251_2,
        ],
    );
    let square = code.mul(r, r);
    let p = code.multiply_add(p, square, r);
    // Of 2^n p + 2^n - 1 the sign is another.
    let bits = code.bitcast(shifted, I);
    let scale = anchored_power(code, bits);
    let one = code.float(F, 1.0);
    let rest = code.sub(scale, one);
    let value = code.multiply_add(scale, p, rest);
    code.with_sign(value, x)
}

/// Exact: in `f64`, 24 bits of the quotient at a time.
fn remainder(code: &mut Code<'_>, a: ValueId, b: ValueId) -> ValueId {
    const D: DType = DType::F64;
    let (wide_a, wide_b) = (code.cast(a, D), code.cast(b, D));
    let (mut rest, divisor) = (
        code.unary(ScalarOp::Abs, wide_a),
        code.unary(ScalarOp::Abs, wide_b),
    );
    for step in (0..12).rev() {
        let scale = code.float(D, 2.0_f64.powi(24 * step));
        let multiple = code.mul(divisor, scale);
        let quotient = code.div(rest, multiple);
        let whole = code.unary(ScalarOp::Trunc, quotient);
        let taken = code.mul(whole, multiple);
        rest = code.sub(rest, taken);
    }
    let rest = code.cast(rest, F);
    let signed = code.with_sign(rest, a);
    special_remainders(code, a, b, signed)
}

/// The remainder where `value` does not hold: of infinities and by infinities.
pub(super) fn special_remainders(
    code: &mut Code<'_>,
    a: ValueId,
    b: ValueId,
    value: ValueId,
) -> ValueId {
    let dtype = code.dtype(a);
    let (infinity, nan) = (
        code.float(dtype, f64::INFINITY),
        code.float(dtype, f64::NAN),
    );
    let (size_a, size_b) = (code.unary(ScalarOp::Abs, a), code.unary(ScalarOp::Abs, b));
    let by_infinity = code.eq(size_b, infinity);
    let value = code.select(by_infinity, a, value);
    let finite = code.lt(size_a, infinity);
    let ordered = code.eq(b, b);
    let usual = code.apply(ScalarOp::And, &[finite, ordered]);
    code.select(usual, value, nan)
}
