//! Trigonometric functions of `f64` and their inverses.

use alula_kernel::ValueId;
use alula_tensor::{DType, ScalarOp};

use super::code::Code;
use super::double::{ANCHOR, clamp};

const F: DType = DType::F64;
const I: DType = DType::I64;

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

/// `1 / (2 pi)` in pieces of 24 bits, so that products with an `f32` are exact.
const TURNS: [u32; 8] = [
    0x28be60, 0xdb9391, 0x054a7f, 0x09d5f4, 0x7d4d37, 0x7036d8, 0xa5664f, 0x10e410,
];

/// An angle of at most half a turn that stands for `x`, which is an `f32`, where `x` is beyond what
/// [`reduce_angle`] is made for.
pub(super) fn within_a_turn(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let mut turns = code.float(F, 0.0);
    for (k, piece) in (1..).zip(TURNS) {
        let piece = code.float(F, f64::from(piece) * 2.0_f64.powi(-24 * k));
        let product = code.mul(x, piece);
        let whole = code.unary(ScalarOp::Round, product);
        let part = code.sub(product, whole);
        turns = code.add(turns, part);
    }
    let whole = code.unary(ScalarOp::Round, turns);
    let turns = code.sub(turns, whole);
    let (turn, near) = (code.float(F, std::f64::consts::TAU), code.float(F, 1e6));
    let angle = code.mul(turns, turn);
    let size = code.unary(ScalarOp::Abs, x);
    let is_near = code.lt(size, near);
    code.select(is_near, x, angle)
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

pub(super) fn sin_cos(code: &mut Code<'_>, x: ValueId, cosine: bool) -> ValueId {
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

pub(super) fn tan(code: &mut Code<'_>, x: ValueId) -> ValueId {
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

pub(super) fn asin(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let (angle, is_large) = acos_of_large(code, x);
    let quarter = code.float(F, std::f64::consts::FRAC_PI_2);
    let large = code.sub(quarter, angle);
    let large = code.with_sign(large, x);
    let square = code.mul(x, x);
    let small = asin_near_zero(code, x, square);
    let value = code.select(is_large, large, small);
    nan_outside(code, x, value)
}

pub(super) fn acos(code: &mut Code<'_>, x: ValueId) -> ValueId {
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
pub(super) fn atan(code: &mut Code<'_>, x: ValueId) -> ValueId {
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
