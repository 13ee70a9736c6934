//! `erfc(x) = e^-x^2 * erfcx(x)`: the scaled complement is smooth in `t = 1 / (1 + p x)` from 0 on,
//! and `x^2` goes into the power in two parts, as its rounding would count `x^2` times.
//!
//! Coefficients are of Chebyshev interpolations of `erfcx / t`, in 40 digits.

use alula_kernel::ValueId;
use alula_tensor::{DType, ScalarOp};

use super::code::Code;
use super::power::exact_product;
use super::{double, single};

/// Of `f32`, within 6 units in the last place. Less than subnormal from 10.1 on.
pub(super) fn erfc_single(code: &mut Code<'_>, x: ValueId) -> ValueId {
    const F: DType = DType::F32;
    const I: DType = DType::I32;
    let size = code.unary(ScalarOp::Abs, x);
    let z = single::at_most(code, size, 10.2);
    let smooth = over_shrunk(
        code,
        z,
        0.4375,
        &[
            0.246_826_978,
            0.246_937_201,
            0.222_615_271,
            0.176_039_374,
            0.126_766_03,
            -0.035_172_106_2,
            0.199_207_046,
            -0.336_856_795,
            0.192_316_264,
            -0.038_679_270_1,
        ],
    );
    // The square of 12 bits is exact.
    let (bits, mask) = (code.bitcast(z, I), code.int(I, -4096));
    let kept = code.apply(ScalarOp::And, &[bits, mask]);
    let kept = code.bitcast(kept, F);
    let (left, sum) = (code.sub(z, kept), code.add(z, kept));
    let (square, rest) = (code.mul(kept, kept), code.mul(left, sum));
    let minus = code.unary(ScalarOp::Neg, square);
    let (mantissa, bits) = single::split_power(code, minus, Some(rest));
    let value = code.mul(mantissa, smooth);
    let value = single::scaled(code, value, bits);
    reflected(code, x, value)
}

/// Of `f64`, within 6 units in the last place. Less than subnormal from 27.3 on.
pub(super) fn erfc_double(code: &mut Code<'_>, x: ValueId) -> ValueId {
    let size = code.unary(ScalarOp::Abs, x);
    let value = erfc_of_size(code, size);
    reflected(code, x, value)
}

/// `erfc` of an `f64` that is not below zero.
pub(super) fn erfc_of_size(code: &mut Code<'_>, size: ValueId) -> ValueId {
    let z = double::at_most(code, size, 27.5);
    let smooth = over_shrunk(
        code,
        z,
        0.3125,
        &[
            0.176_309_244_852_147_44,
            0.176_309_245_315_507_12,
            0.167_700_380_261_650_77,
            0.150_482_987_482_690_82,
            0.125_913_225_172_120_06,
            0.096_565_785_139_862_3,
            0.065_483_511_428_514_68,
            0.039_280_054_775_335_09,
            0.006_755_685_446_107_907_5,
            0.031_055_600_877_060_99,
            -0.097_383_366_635_595_81,
            0.209_749_374_048_755_27,
            -0.408_340_849_190_613_75,
            0.588_378_057_382_414_4,
            -0.625_451_659_033_693_9,
            0.436_338_234_066_359_8,
            -0.086_430_936_076_514_06,
            -0.193_478_264_155_957_65,
            0.250_735_817_777_324_95,
            -0.156_910_904_547_820_9,
            0.057_974_318_535_653_095,
            -0.012_164_416_030_051_499,
            0.001_128_873_108_742_865,
        ],
    );
    let (square, rest) = exact_product(code, z, z);
    let minus = code.unary(ScalarOp::Neg, square);
    let double::Power { p, a, b } = double::power(code, minus, Some(rest));
    let grown = code.multiply_add(p, smooth, smooth);
    let value = code.mul(grown, a);
    code.mul(value, b)
}

/// `t * (c[0] + t * (c[1] + ...))` where `t = 1 / (1 + p z)`.
fn over_shrunk(code: &mut Code<'_>, z: ValueId, p: f64, coefficients: &[f64]) -> ValueId {
    let dtype = code.dtype(z);
    let (p, one) = (code.float(dtype, p), code.float(dtype, 1.0));
    let below = code.multiply_add(z, p, one);
    let t = code.div(one, below);
    let sum = code.polynomial(t, coefficients);
    code.mul(t, sum)
}

/// `value`, or `2 - value` where `x` is below zero.
fn reflected(code: &mut Code<'_>, x: ValueId, value: ValueId) -> ValueId {
    let dtype = code.dtype(x);
    let (zero, two) = (code.float(dtype, 0.0), code.float(dtype, 2.0));
    let (is_below, other) = (code.lt(x, zero), code.sub(two, value));
    code.select(is_below, other, value)
}
