//! Functions of `f64`.

use alula_kernel::ValueId;
use alula_tensor::{DType, ScalarOp};

use super::code::Code;
use super::single::{special_logs, special_remainders};

const F: DType = DType::F64;
const I: DType = DType::I64;

/// 1.5 * 2^52: a sum with it has the nearest integer in its low bits.
const ANCHOR: f64 = 6_755_399_441_055_744.0;

/// ln 2 in two parts, the first with 20 trailing zero bits.
const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

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
        (ScalarOp::Pow, &[x, y]) => pow(code, x, y),
        (ScalarOp::Rem, &[a, b]) => remainder(code, a, b),
        _ => return None,
    })
}

fn clamp(code: &mut Code<'_>, x: ValueId, least: f64, greatest: f64) -> ValueId {
    let least = code.float(F, least);
    let is_low = code.lt(x, least);
    let low = code.select(is_low, least, x);
    at_most(code, low, greatest)
}

/// The lesser of `x` and a constant; NaN stays, as it is not above.
fn at_most(code: &mut Code<'_>, x: ValueId, greatest: f64) -> ValueId {
    let greatest = code.float(F, greatest);
    let is_high = code.lt(greatest, x);
    code.select(is_high, greatest, x)
}

/// `e^x = 2^n * (1 + p)`: `p`, and the two factors of the power of two.
struct Power {
    p: ValueId,
    a: ValueId,
    b: ValueId,
}

/// Splits `e^x` for `x` from -746 to 710.
fn power(code: &mut Code<'_>, x: ValueId) -> Power {
    let (inverse, anchor) = (
        code.float(F, std::f64::consts::LOG2_E),
        code.float(F, ANCHOR),
    );
    let scaled = code.mul(x, inverse);
    let shifted = code.add(scaled, anchor);
    let n = code.sub(shifted, anchor);
    let (high, low) = (code.float(F, LN2_HIGH), code.float(F, LN2_LOW));
    let (whole, rest) = (code.mul(n, high), code.mul(n, low));
    let r = code.sub(x, whole);
    let r = code.sub(r, rest);
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

fn exp(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let x = clamp(code, x, -746.0, 710.0);
    let Power { p, a, b } = power(code, x);
    let one = code.float(F, 1.0);
    let mantissa = code.add(p, one);
    let value = code.mul(mantissa, a);
    code.mul(value, b)
}

fn exp_minus_one(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let limited = clamp(code, x, -746.0, 710.0);
    let Power { p, a, b } = power(code, limited);
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
struct LogParts {
    k: ValueId,
    f: ValueId,
    /// `f * f / 2`.
    half_square: ValueId,
    /// `f / (2 + f)`.
    s: ValueId,
    /// What the series gives beyond `2 s`, over `s`.
    r: ValueId,
}

fn log_parts(code: &mut Code<'_>, x: ValueId) -> LogParts {
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

/// `x - n pi/2` with `|r| <= pi/4`, and `n + ANCHOR`.
fn reduce_angle(code: &mut Code<'_>, x: ValueId) -> (ValueId, ValueId) {
    let (inverse, anchor) = (
        code.float(F, std::f64::consts::FRAC_2_PI),
        code.float(F, ANCHOR),
    );
    let turns = code.mul(x, inverse);
    let shifted = code.add(turns, anchor);
    let n = code.sub(shifted, anchor);
    // pi/2 in three parts of 33 bits and the rest.
    let mut r = x;
    for part in [
        1.570_796_326_734_125_6,
        6.077_100_506_303_966e-11,
        2.022_266_248_795_950_6e-21,
    ] {
        let part = code.float(F, part);
        let product = code.mul(n, part);
        r = code.sub(r, product);
    }
    // Far beyond the documented range the rest may be large: results stay within -1 and 1.
    let bound = std::f64::consts::FRAC_PI_4 * 1.000_001;
    (clamp(code, r, -bound, bound), shifted)
}

/// Sine and cosine of `|r| <= pi/4`.
fn sin_cos_near_zero(code: &mut Code<'_>, r: ValueId) -> (ValueId, ValueId) {
    let z = code.mul(r, r);
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    let signed = |k: u32, n: u32| (-1.0_f64).powi(k as i32) / factorial(n);
    let odd: Vec<f64> = (1..=9).map(|k| signed(k, 2 * k + 1)).collect();
    let even: Vec<f64> = (2..=9).map(|k| signed(k, 2 * k)).collect();
    let p = code.polynomial(z, &odd);
    let cube = code.mul(z, r);
    let p = code.mul(p, cube);
    let sine = code.add(r, p);
    let q = code.polynomial(z, &even);
    let square = code.mul(z, z);
    let q = code.mul(q, square);
    let (one, half) = (code.float(F, 1.0), code.float(F, 0.5));
    let halved = code.mul(z, half);
    // 1 - z/2 rounds; what it lost goes into the small part.
    let top = code.sub(one, halved);
    let lost = code.sub(one, top);
    let lost = code.sub(lost, halved);
    let q = code.add(q, lost);
    (sine, code.add(top, q))
}

/// Whether bit `bit` of `n` is set, given `n + ANCHOR`.
fn bit_of(code: &mut Code<'_>, anchored: ValueId, bit: u32) -> ValueId {
    let bits = code.bitcast(anchored, I);
    let mask = code.int(I, 1 << bit);
    let low = code.apply(ScalarOp::And, &[bits, mask]);
    code.eq(low, mask)
}

fn sin_cos(code: &mut Code<'_>, x: ValueId, cosine: bool) -> ValueId {
    let (r, mut turns) = reduce_angle(code, x);
    let (sine, cos) = sin_cos_near_zero(code, r);
    if cosine {
        // cos x = sin(x + pi/2).
        let one = code.float(F, 1.0);
        turns = code.add(turns, one);
    }
    let odd = bit_of(code, turns, 0);
    let value = code.select(odd, cos, sine);
    let minus = code.unary(ScalarOp::Neg, value);
    let negative = bit_of(code, turns, 1);
    code.select(negative, minus, value)
}

fn tan(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let (r, turns) = reduce_angle(code, x);
    let (sine, cosine) = sin_cos_near_zero(code, r);
    let odd = bit_of(code, turns, 0);
    let minus = code.unary(ScalarOp::Neg, cosine);
    let (above, below) = (
        code.select(odd, minus, sine),
        code.select(odd, sine, cosine),
    );
    code.div(above, below)
}

/// `asin(x) - x` over `x^3`, for `x^2` up to 1/4.
const ASIN: [f64; 14] = [
    0.166_666_666_666_666_66,
    0.075_000_000_000_001_18,
    0.044_642_857_142_551_895,
    0.030_381_944_475_532_34,
    0.022_372_157_443_507_22,
    0.017_352_816_540_325_496,
    0.013_963_780_012_203_57,
    0.011_566_459_612_121_669,
    0.009_621_842_970_100_282,
    0.009_319_560_794_767_446,
    0.003_044_879_909_455_677_3,
    0.019_554_513_336_123_378,
    -0.019_241_671_746_743_04,
    0.029_612_011_264_955_12,
];

/// The arc sine of `y` with `z = y^2` up to 1/4.
fn asin_near_zero(code: &mut Code<'_>, y: ValueId, z: ValueId) -> ValueId {
    let p = code.polynomial(z, &ASIN);
    let p = code.mul(p, z);
    let p = code.mul(p, y);
    code.add(y, p)
}

/// For `|x|` above 1/2: `2 asin(sqrt((1 - |x|) / 2))`, the arc cosine of `|x|`; and `|x| > 1/2`.
fn acos_of_large(code: &mut Code<'_>, x: ValueId) -> (ValueId, ValueId) {
    let (one, half) = (code.float(F, 1.0), code.float(F, 0.5));
    let size = code.unary(ScalarOp::Abs, x);
    let rest = code.sub(one, size);
    let z = code.mul(rest, half);
    let y = code.unary(ScalarOp::Sqrt, z);
    let angle = asin_near_zero(code, y, z);
    (code.add(angle, angle), code.lt(half, size))
}

fn asin(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let (angle, is_large) = acos_of_large(code, x);
    let quarter = code.float(F, std::f64::consts::FRAC_PI_2);
    let large = code.sub(quarter, angle);
    let large = code.with_sign(large, x);
    let square = code.mul(x, x);
    let small = asin_near_zero(code, x, square);
    let value = code.select(is_large, large, small);
    nan_outside(code, x, value)
}

fn acos(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let (angle, is_large) = acos_of_large(code, x);
    let (quarter, pi, zero) = (
        code.float(F, std::f64::consts::FRAC_PI_2),
        code.float(F, std::f64::consts::PI),
        code.float(F, 0.0),
    );
    let other = code.sub(pi, angle);
    let negative = code.lt(x, zero);
    let large = code.select(negative, other, angle);
    let square = code.mul(x, x);
    let small = asin_near_zero(code, x, square);
    let small = code.sub(quarter, small);
    let value = code.select(is_large, large, small);
    nan_outside(code, x, value)
}

/// NaN where `|x| > 1` or `x` is NaN.
fn nan_outside(code: &mut Code<'_>, x: ValueId, value: ValueId) -> ValueId {
    let (one, nan) = (code.float(F, 1.0), code.float(F, f64::NAN));
    let size = code.unary(ScalarOp::Abs, x);
    let inside = code.apply(ScalarOp::Le, &[size, one]);
    code.select(inside, value, nan)
}

/// Arguments above tan(pi/8) and tan(3 pi/8) are turned back by pi/4 and pi/2.
fn atan(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    let (one, zero) = (code.float(F, 1.0), code.float(F, 0.0));
    let (eighth, rest) = (
        code.float(F, 0.414_213_562_373_095),
        code.float(F, 2.414_213_562_373_095),
    );
    let (is_middle, is_large) = (code.lt(eighth, size), code.lt(rest, size));
    let (minus, less, more) = (
        code.float(F, -1.0),
        code.sub(size, one),
        code.add(size, one),
    );
    let (above, below) = (
        code.select(is_middle, less, size),
        code.select(is_middle, more, one),
    );
    let (above, below) = (
        code.select(is_large, minus, above),
        code.select(is_large, size, below),
    );
    let t = code.div(above, below);
    let z = code.mul(t, t);
    let p = code.polynomial(
        z,
        &[
            -0.333_333_333_333_333_3,
            0.199_999_999_999_998,
            -0.142_857_142_856_593_26,
            0.111_111_111_051_067_05,
            -0.090_909_087_510_766_36,
            0.076_922_963_049_744_7,
            -0.066_664_236_280_692_58,
            0.058_789_145_444_006_215,
            -0.052_303_478_730_160_745,
            0.045_511_081_263_251_72,
            -0.034_558_092_551_413_795,
            0.016_271_944_751_624_06,
        ],
    );
    let p = code.mul(p, z);
    let p = code.mul(p, t);
    let (quarter, half) = (
        code.float(F, std::f64::consts::FRAC_PI_4),
        code.float(F, std::f64::consts::FRAC_PI_2),
    );
    // What pi/4 and pi/2 lose in f64.
    let (quarter_low, half_low) = (
        code.float(F, 3.061_616_997_868_383e-17),
        code.float(F, 6.123_233_995_736_766e-17),
    );
    let base = code.select(is_middle, quarter, zero);
    let base = code.select(is_large, half, base);
    let low = code.select(is_middle, quarter_low, zero);
    let low = code.select(is_large, half_low, low);
    let p = code.add(p, low);
    let angle = code.add(t, p);
    let value = code.add(base, angle);
    code.with_sign(value, x)
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
    // 1 - e^-x^2 * g / (x + 1/2) with g smooth in (x - 5/2) / (x + 5/2); from 6 on this is 1.
    let limited = at_most(code, size, 6.0);
    let (k, half, one) = (code.float(F, 2.5), code.float(F, 0.5), code.float(F, 1.0));
    let (above, below) = (code.sub(limited, k), code.add(limited, k));
    let u = code.div(above, below);
    let g = code.polynomial(
        u,
        &[
            0.632_419_092_183_430_7,
            -0.061_178_381_541_202_16,
            -0.049_512_269_786_801_36,
            0.078_814_959_511_611_48,
            -0.051_483_528_019_230_74,
            0.016_380_446_634_173_772,
            0.000_465_946_405_937_301_6,
            -0.002_191_039_164_851_325,
            0.000_245_932_978_439_067_8,
            0.000_316_062_070_430_621_3,
            -4.424_073_904_544_348e-5,
            -5.676_008_613_615_21e-5,
            3.143_609_805_766_826_8e-6,
            1.134_294_729_493_703e-5,
            1.244_472_790_392_808_7e-6,
            -2.086_399_806_209_610_6e-6,
            -6.040_527_151_829_55e-7,
            2.363_517_691_999_886_4e-7,
        ],
    );
    let square = code.mul(limited, limited);
    let minus = code.unary(ScalarOp::Neg, square);
    let bell = exp(code, minus);
    let raised = code.add(limited, half);
    let g = code.div(g, raised);
    let complement = code.mul(bell, g);
    let far = code.sub(one, complement);
    let is_near = code.lt(size, one);
    let value = code.select(is_near, near, far);
    code.with_sign(value, x)
}

/// A product as a rounded part and the exact rest (Dekker); operands below 2^996.
fn exact_product(code: &mut Code<'_>, a: ValueId, b: ValueId) -> (ValueId, ValueId) {
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
fn pow(code: &mut Code<'_>, x: ValueId, y: ValueId) -> ValueId {
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
