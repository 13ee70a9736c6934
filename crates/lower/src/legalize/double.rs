//! Functions of `f64`.

use alula_kernel::ValueId;
use alula_tensor::{DType, ScalarOp};

use super::angles::{acos, asin, atan, sin_cos, tan};
use super::code::Code;
use super::complement::{erfc_double, erfc_of_size};
use super::power::{exact_product, pow};
use super::single::{special_logs, special_remainders};

const F: DType = DType::F64;
const I: DType = DType::I64;

/// 1.5 * 2^52: a sum with it has the nearest integer in its low bits.
pub(super) const ANCHOR: f64 = 6_755_399_441_055_744.0;

/// ln 2 in two parts, the first with 20 trailing zero bits.
pub(super) const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
pub(super) const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Expansions on `f64`.
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
        (ScalarOp::Expm1, &[x]) => exp_minus_one(code, x),
        (ScalarOp::Log, &[x]) => log(code, x),
        (ScalarOp::Log1p, &[x]) => log_one_plus(code, x),
        (ScalarOp::Sin, &[x]) => sin_cos(code, x, false),
        (ScalarOp::Cos, &[x]) => sin_cos(code, x, true),
        (ScalarOp::Tan, &[x]) => tan(code, x),
        (ScalarOp::Asin, &[x]) => asin(code, x),
        (ScalarOp::Acos, &[x]) => acos(code, x),
        (ScalarOp::Atan, &[x]) => atan(code, x),
        (ScalarOp::Sinh, &[x]) => sinh(code, x),
        (ScalarOp::Cosh, &[x]) => cosh(code, x),
        (ScalarOp::Tanh, &[x]) => tanh(code, x),
        (ScalarOp::Asinh, &[x]) => asinh(code, x),
        (ScalarOp::Acosh, &[x]) => acosh(code, x),
        (ScalarOp::Atanh, &[x]) => atanh(code, x),
        (ScalarOp::Erf, &[x]) => erf(code, x),
        (ScalarOp::Erfc, &[x]) => erfc_double(code, x),
        (ScalarOp::Pow, &[x, y]) => pow(code, x, y),
        (ScalarOp::Rem, &[a, b]) => remainder(code, a, b),
        (ScalarOp::Fma, &[a, b, c]) => {
            let product = code.mul(a, b);
            code.add(product, c)
        }
        _ => return None,
    })
}

pub(super) fn clamp(code: &mut Code<'_>, x: ValueId, least: f64, greatest: f64) -> ValueId {
    let least = code.float(F, least);
    let is_low = code.lt(x, least);
    let low = code.select(is_low, least, x);
    at_most(code, low, greatest)
}

/// The lesser of `x` and a constant; NaN stays, as it is not above.
pub(super) fn at_most(code: &mut Code<'_>, x: ValueId, greatest: f64) -> ValueId {
    let greatest = code.float(F, greatest);
    let is_high = code.lt(greatest, x);
    code.select(is_high, greatest, x)
}

/// `e^x = 2^n * (1 + p)`: `p`, and the two factors of the power of two.
pub(super) struct Power {
    pub(super) p: ValueId,
    pub(super) a: ValueId,
    pub(super) b: ValueId,
}

/// Splits `e^(x - rest)` for `x` from -760 to 710; the rest is what `x` lost in rounding.
pub(super) fn power(code: &mut Code<'_>, x: ValueId, rest: Option<ValueId>) -> Power {
    let (inverse, anchor) = (
        code.float(F, std::f64::consts::LOG2_E),
        code.float(F, ANCHOR),
    );
    let scaled = code.mul(x, inverse);
    let shifted = code.add(scaled, anchor);
    let n = code.sub(shifted, anchor);
    let (high, low) = (code.float(F, LN2_HIGH), code.float(F, LN2_LOW));
    let (whole, small) = (code.mul(n, high), code.mul(n, low));
    let r = code.sub(x, whole);
    let mut r = code.sub(r, small);
    if let Some(rest) = rest {
        r = code.sub(r, rest);
    }
    // The Taylor series from r^2 / 2 on.
    let mut coefficients = vec![0.5];
    for k in 3..=14 {
        let last = coefficients[coefficients.len() - 1];
        coefficients.push(last / f64::from(k));
    }
    let p = code.polynomial(r, &coefficients);
    let square = code.mul(r, r);
    let p = code.mul(p, square);
    let p = code.add(p, r);
    let half = code.float(F, 0.5);
    let halved = code.mul(n, half);
    let first = code.add(halved, anchor);
    let taken = code.sub(first, anchor);
    let left = code.sub(n, taken);
    let second = code.add(left, anchor);
    Power {
        p,
        a: power_of_two(code, first),
        b: power_of_two(code, second),
    }
}

/// `2^n`, given `n + ANCHOR`.
fn power_of_two(code: &mut Code<'_>, anchored: ValueId) -> ValueId {
    let bits = code.bitcast(anchored, I);
    let base = code.int(I, 1023 - i128::from(ANCHOR.to_bits()));
    let shift = code.int(I, 52);
    let biased = code.add(bits, base);
    let bits = code.apply(ScalarOp::Shl, &[biased, shift]);
    code.bitcast(bits, F)
}

pub(super) fn exp(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let x = clamp(code, x, -746.0, 710.0);
    let Power { p, a, b } = power(code, x, None);
    let one = code.float(F, 1.0);
    let mantissa = code.add(p, one);
    let value = code.mul(mantissa, a);
    code.mul(value, b)
}

fn exp_minus_one(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let limited = clamp(code, x, -746.0, 710.0);
    let Power { p, a, b } = power(code, limited, None);
    let one = code.float(F, 1.0);
    // Beyond 2^53 the one does not count, and the power of two may be infinite by itself.
    let scale = code.mul(a, b);
    let grown = code.mul(p, scale);
    let base = code.sub(scale, one);
    let usual = code.add(base, grown);
    let mantissa = code.add(p, one);
    let large = code.mul(mantissa, a);
    let large = code.mul(large, b);
    let bound = code.float(F, 40.0);
    let is_large = code.lt(bound, x);
    let value = code.select(is_large, large, usual);
    // Where the power of two is 1, p is the result; this also keeps tiny and zero x.
    let tiny = code.float(F, 1e-18);
    let size = code.unary(ScalarOp::Abs, x);
    let is_tiny = code.lt(size, tiny);
    code.select(is_tiny, x, value)
}

/// `log x = k ln2 + f - c`: the parts, for positive finite `x`.
pub(super) struct LogParts {
    pub(super) k: ValueId,
    pub(super) f: ValueId,
    /// `f * f / 2`.
    pub(super) half_square: ValueId,
    /// `f / (2 + f)`.
    pub(super) s: ValueId,
    /// What the series gives beyond `2 s`, over `s`.
    pub(super) r: ValueId,
}

pub(super) fn log_parts(code: &mut Code<'_>, x: ValueId) -> LogParts {
    let (least, scale) = (
        code.float(F, f64::MIN_POSITIVE),
        code.float(F, 2.0_f64.powi(54)),
    );
    let is_small = code.lt(x, least);
    let scaled = code.mul(x, scale);
    let normal = code.select(is_small, scaled, x);
    let (bias, more) = (code.float(F, 1023.0), code.float(F, 1077.0));
    let bias = code.select(is_small, more, bias);
    // Bits moved so that sqrt(1/2) starts an exponent.
    let root = 0x3FE6_A09E_667F_3BCD_i128;
    let bits = code.bitcast(normal, I);
    let offset = code.int(I, 0x3FF0_0000_0000_0000 - root);
    let moved = code.add(bits, offset);
    let unsigned = code.bitcast(moved, DType::U64);
    let shift = code.int(DType::U64, 52);
    let exponent = code.apply(ScalarOp::Shr, &[unsigned, shift]);
    let exponent = code.bitcast(exponent, I);
    // An integer below 2^52 under the exponent of 2^52 is a float that far above 2^52.
    let (two52, anchor) = (
        code.int(I, 0x4330_0000_0000_0000),
        code.float(F, 2.0_f64.powi(52)),
    );
    let exponent = code.apply(ScalarOp::Or, &[exponent, two52]);
    let exponent = code.bitcast(exponent, F);
    let exponent = code.sub(exponent, anchor);
    let k = code.sub(exponent, bias);
    let (fraction, root) = (code.int(I, (1 << 52) - 1), code.int(I, root));
    let mantissa = code.apply(ScalarOp::And, &[moved, fraction]);
    let mantissa = code.add(mantissa, root);
    let mantissa = code.bitcast(mantissa, F);
    let (one, two, half) = (code.float(F, 1.0), code.float(F, 2.0), code.float(F, 0.5));
    let f = code.sub(mantissa, one);
    let below = code.add(f, two);
    let s = code.div(f, below);
    let z = code.mul(s, s);
    // log(1 + f) = 2 atanh(s) = 2s + s * (2/3 z + 2/5 z^2 + ...).
    let series: Vec<f64> = (1..=11).map(|k| 2.0 / f64::from(2 * k + 1)).collect();
    let r = code.polynomial(z, &series);
    let r = code.mul(r, z);
    let square = code.mul(f, f);
    let half_square = code.mul(square, half);
    LogParts {
        k,
        f,
        half_square,
        s,
        r,
    }
}

fn log(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let LogParts {
        k,
        f,
        half_square,
        s,
        r,
    } = log_parts(code, x);
    // 2s = f - s f, and s f = f^2/2 - s f^2/2: the small parts are summed first.
    let sum = code.add(half_square, r);
    let tail = code.mul(s, sum);
    let (high, low) = (code.float(F, LN2_HIGH), code.float(F, LN2_LOW));
    let rest = code.mul(k, low);
    let tail = code.add(tail, rest);
    let tail = code.sub(half_square, tail);
    let tail = code.sub(tail, f);
    let whole = code.mul(k, high);
    let value = code.sub(whole, tail);
    special_logs(code, x, value)
}

/// `log(u) * x / (u - 1)` for `u = 1 + x` rounded (Kahan).
fn log_one_plus(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let (one, zero, infinity) = (
        code.float(F, 1.0),
        code.float(F, 0.0),
        code.float(F, f64::INFINITY),
    );
    let u = code.add(x, one);
    let d = code.sub(u, one);
    let logarithm = log(code, u);
    let ratio = code.div(x, d);
    let value = code.mul(logarithm, ratio);
    let lost = code.eq(d, zero);
    let unbounded = code.eq(x, infinity);
    let itself = code.apply(ScalarOp::Or, &[lost, unbounded]);
    code.select(itself, x, value)
}

/// `e^(a/2)` squared and halved: half of `e^a` without early overflow.
fn half_power(code: &mut Code<'_>, size: ValueId) -> ValueId {
    let half = code.float(F, 0.5);
    let halved = code.mul(size, half);
    let root = exp(code, halved);
    let scaled = code.mul(root, half);
    code.mul(scaled, root)
}

fn sinh(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    let e = exp_minus_one(code, size);
    let (one, half, bound) = (code.float(F, 1.0), code.float(F, 0.5), code.float(F, 22.0));
    let below = code.add(e, one);
    let rest = code.div(e, below);
    let sum = code.add(e, rest);
    let usual = code.mul(sum, half);
    let large = half_power(code, size);
    let is_large = code.lt(bound, size);
    let value = code.select(is_large, large, usual);
    code.with_sign(value, x)
}

fn cosh(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    let e = exp(code, size);
    let (one, half, bound) = (code.float(F, 1.0), code.float(F, 0.5), code.float(F, 22.0));
    let inverse = code.div(one, e);
    let sum = code.add(e, inverse);
    let usual = code.mul(sum, half);
    let large = half_power(code, size);
    let is_large = code.lt(bound, size);
    code.select(is_large, large, usual)
}

fn tanh(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    let limited = at_most(code, size, 22.0);
    let double = code.add(limited, limited);
    let e = exp_minus_one(code, double);
    let two = code.float(F, 2.0);
    let below = code.add(e, two);
    let value = code.div(e, below);
    code.with_sign(value, x)
}

/// Beyond this, `1 + x^2` is `x^2`.
const SQUARE_ONLY: f64 = 268_435_456.0;

fn asinh(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    let one = code.float(F, 1.0);
    let square = code.mul(size, size);
    let sum = code.add(square, one);
    let root = code.unary(ScalarOp::Sqrt, sum);
    let below = code.add(root, one);
    let rest = code.div(square, below);
    let argument = code.add(size, rest);
    let usual = log_one_plus(code, argument);
    let value = or_large_log(code, size, usual);
    code.with_sign(value, x)
}

fn acosh(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let (one, nan) = (code.float(F, 1.0), code.float(F, f64::NAN));
    let t = code.sub(x, one);
    let double = code.add(t, t);
    let square = code.mul(t, t);
    let sum = code.add(double, square);
    let root = code.unary(ScalarOp::Sqrt, sum);
    let argument = code.add(t, root);
    let usual = log_one_plus(code, argument);
    let value = or_large_log(code, x, usual);
    let below = code.lt(x, one);
    code.select(below, nan, value)
}

/// `log(2 x)` for large `x`, else `usual`.
fn or_large_log(code: &mut Code<'_>, x: ValueId, usual: ValueId) -> ValueId {
    let (bound, ln2) = (
        code.float(F, SQUARE_ONLY),
        code.float(F, std::f64::consts::LN_2),
    );
    let logarithm = log(code, x);
    let large = code.add(logarithm, ln2);
    let is_large = code.lt(bound, x);
    code.select(is_large, large, usual)
}

fn atanh(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    let (one, half) = (code.float(F, 1.0), code.float(F, 0.5));
    let double = code.add(size, size);
    let rest = code.sub(one, size);
    // For small x, 2x + 2x^2 / (1 - x) keeps the low bits of 2x / (1 - x).
    let product = code.mul(double, size);
    let small = code.div(product, rest);
    let small = code.add(double, small);
    let large = code.div(double, rest);
    let is_small = code.lt(size, half);
    let argument = code.select(is_small, small, large);
    let value = log_one_plus(code, argument);
    let value = code.mul(value, half);
    code.with_sign(value, x)
}

fn erf(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    let square = code.mul(size, size);
    let p = code.polynomial(
        square,
        &[
            0.128_379_167_095_512_6,
            -0.376_126_389_031_837_54,
            0.112_837_916_709_551_2,
            -0.026_866_170_645_129_84,
            0.005_223_977_625_423_298_5,
            -0.000_854_832_702_193_483,
            0.000_120_553_329_028_887_36,
            -1.492_564_756_751_933_2e-5,
            1.646_204_544_146_841_8e-6,
            -1.636_464_215_816_762e-7,
            1.479_240_120_940_481_3e-8,
            -1.216_456_005_728_345e-9,
            8.709_045_129_053_106e-11,
            -4.230_945_824_295_338e-12,
        ],
    );
    let p = code.mul(p, size);
    let near = code.add(size, p);
    let (complement, one) = (erfc_of_size(code, size), code.float(F, 1.0));
    let far = code.sub(one, complement);
    let is_near = code.lt(size, one);
    let value = code.select(is_near, near, far);
    code.with_sign(value, x)
}

/// `a - trunc(a / b) b` with the product exact; right while the quotient is below 2^53.
fn remainder(code: &mut Code<'_>, a: ValueId, b: ValueId) -> ValueId {
    let (size, divisor) = (code.unary(ScalarOp::Abs, a), code.unary(ScalarOp::Abs, b));
    let quotient = code.div(size, divisor);
    let whole = code.unary(ScalarOp::Trunc, quotient);
    let (product, product_rest) = exact_product(code, whole, divisor);
    let rest = code.sub(size, product);
    let rest = code.sub(rest, product_rest);
    // The rounded quotient may be one too many, or one too few.
    let zero = code.float(F, 0.0);
    let is_low = code.lt(rest, zero);
    let raised = code.add(rest, divisor);
    let rest = code.select(is_low, raised, rest);
    let is_high = code.apply(ScalarOp::Le, &[divisor, rest]);
    let lowered = code.sub(rest, divisor);
    let rest = code.select(is_high, lowered, rest);
    let signed = code.with_sign(rest, a);
    special_remainders(code, a, b, signed)
}
