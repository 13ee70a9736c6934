//! What each scalar operator computes, once for every interpreter and reference.
//!
//! Floats are computed in `f64` and rounded to the dtype: exact for `+ - * / sqrt` of `f32` and
//! narrower (53 bits are more than twice 24 plus 2), and the best reference for the rest.

use crate::scalar::{round_to, wrap};
use crate::{DType, Scalar, ScalarOp};

/// `a * b + c` rounded once, to `f64` or `f32`; narrower floats go by way of `f32`, as they do for
/// every operator.
fn fma(a: f64, b: f64, c: f64, dtype: DType) -> f64 {
    if dtype == DType::F64 {
        return a.mul_add(b, c);
    }
    // Not in `f64`, where the sum would be rounded first.
    round_to(f64::from((a as f32).mul_add(b as f32, c as f32)), dtype)
}

impl ScalarOp {
    /// The result on operands of `dtype` (for `select`: the dtype of the last two).
    ///
    /// # Panics
    /// When the number or the classes of operands break the operator's row: a caller's bug.
    pub fn eval(self, dtype: DType, operands: &[Scalar]) -> Scalar {
        assert_eq!(
            operands.len(),
            self.arity(),
            "{self} takes {} operands",
            self.arity()
        );
        match *operands {
            [Scalar::Float(a), Scalar::Float(b), Scalar::Float(c)] if self == ScalarOp::Fma => {
                Scalar::Float(fma(a, b, c, dtype))
            }
            [cond, a, b] => {
                if cond.is_true() {
                    a
                } else {
                    b
                }
            }
            [Scalar::Float(a)] => self.float_unary(a, dtype),
            [Scalar::Int(a)] => Scalar::Int(self.int_unary(a, dtype)),
            [Scalar::Float(a), Scalar::Float(b)] => self.float_binary(a, b, dtype),
            [Scalar::Int(a), Scalar::Int(b)] => self.int_binary(a, b, dtype),
            _ => panic!("{self} of mixed operands {operands:?}"),
        }
    }

    fn float_unary(self, a: f64, dtype: DType) -> Scalar {
        let value = match self {
            ScalarOp::Neg => -a,
            ScalarOp::Abs => a.abs(),
            ScalarOp::Sign if a == 0.0 || a.is_nan() => a,
            ScalarOp::Sign => a.signum(),
            ScalarOp::Floor => a.floor(),
            ScalarOp::Ceil => a.ceil(),
            ScalarOp::Round => a.round_ties_even(),
            ScalarOp::Trunc => a.trunc(),
            ScalarOp::Sqrt => a.sqrt(),
            ScalarOp::Exp => a.exp(),
            ScalarOp::Log => a.ln(),
            ScalarOp::Expm1 => a.exp_m1(),
            ScalarOp::Log1p => a.ln_1p(),
            ScalarOp::Sin => a.sin(),
            ScalarOp::Cos => a.cos(),
            ScalarOp::Tan => a.tan(),
            ScalarOp::Asin => a.asin(),
            ScalarOp::Acos => a.acos(),
            ScalarOp::Atan => a.atan(),
            ScalarOp::Sinh => a.sinh(),
            ScalarOp::Cosh => a.cosh(),
            ScalarOp::Tanh => a.tanh(),
            ScalarOp::Asinh => a.asinh(),
            ScalarOp::Acosh => a.acosh(),
            ScalarOp::Atanh => a.atanh(),
            ScalarOp::Erf => erf(a),
            ScalarOp::Erfc => erfc(a),
            ScalarOp::IsNan => return Scalar::Int(i128::from(a.is_nan())),
            ScalarOp::IsInf => return Scalar::Int(i128::from(a.is_infinite())),
            _ => panic!("{self} is not defined on {dtype}"),
        };
        Scalar::Float(round_to(value, dtype))
    }

    fn int_unary(self, a: i128, dtype: DType) -> i128 {
        let value = match self {
            ScalarOp::Neg => -a,
            ScalarOp::Abs => a.abs(),
            ScalarOp::Sign => a.signum(),
            ScalarOp::Not if dtype == DType::Bool => i128::from(a == 0),
            ScalarOp::Not => !a,
            _ => panic!("{self} is not defined on {dtype}"),
        };
        wrap(value, dtype)
    }

    fn float_binary(self, a: f64, b: f64, dtype: DType) -> Scalar {
        let nan = a.is_nan() || b.is_nan();
        let value = match self {
            ScalarOp::Add => a + b,
            ScalarOp::Sub => a - b,
            ScalarOp::Mul => a * b,
            ScalarOp::Div => a / b,
            ScalarOp::Rem => a % b,
            ScalarOp::FloorDiv => (a / b).floor(),
            ScalarOp::FloorMod if a.is_finite() && b.is_infinite() && (a < 0.0) != (b < 0.0) => {
                if a == 0.0 { a } else { b }
            }
            ScalarOp::FloorMod => {
                let rest = a % b;
                if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
                    rest + b
                } else {
                    rest
                }
            }
            ScalarOp::Pow => a.powf(b),
            ScalarOp::Min | ScalarOp::Max if nan => f64::NAN,
            ScalarOp::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            ScalarOp::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
            _ => match self.compare(a.partial_cmp(&b)) {
                Some(truth) => return Scalar::Int(i128::from(truth)),
                None => panic!("{self} is not defined on {dtype}"),
            },
        };
        Scalar::Float(round_to(value, dtype))
    }

    fn int_binary(self, a: i128, b: i128, dtype: DType) -> Scalar {
        let bits = i128::from(dtype.bits());
        let value = match self {
            ScalarOp::Add => a + b,
            ScalarOp::Sub => a - b,
            ScalarOp::Mul => wrapping_product(a, b, dtype),
            ScalarOp::Div | ScalarOp::Rem | ScalarOp::FloorDiv | ScalarOp::FloorMod if b == 0 => 0,
            ScalarOp::Div => a / b,
            ScalarOp::Rem => a % b,
            ScalarOp::FloorDiv => a.div_euclid(b) - i128::from(b < 0 && a.rem_euclid(b) != 0),
            ScalarOp::FloorMod => ((a % b) + b) % b,
            ScalarOp::Pow => int_pow(a, b, dtype),
            ScalarOp::Min => a.min(b),
            ScalarOp::Max => a.max(b),
            ScalarOp::And => a & b,
            ScalarOp::Or => a | b,
            ScalarOp::Xor => a ^ b,
            ScalarOp::Shl if b < 0 || b >= bits => 0,
            ScalarOp::Shl => wrapping_product(a, 1 << b, dtype),
            // Out of range either way, as for shifts left.
            ScalarOp::Shr if b < 0 => a >> 126,
            ScalarOp::Shr => a >> b.min(126),
            _ => match self.compare(a.partial_cmp(&b)) {
                Some(truth) => return Scalar::Int(i128::from(truth)),
                None => panic!("{self} is not defined on {dtype}"),
            },
        };
        Scalar::Int(wrap(value, dtype))
    }

    fn compare(self, order: Option<std::cmp::Ordering>) -> Option<bool> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        Some(match self {
            ScalarOp::Eq => order == Some(Equal),
            ScalarOp::Ne => order != Some(Equal),
            ScalarOp::Lt => order == Some(Less),
            ScalarOp::Le => matches!(order, Some(Less | Equal)),
            ScalarOp::Gt => order == Some(Greater),
            ScalarOp::Ge => matches!(order, Some(Greater | Equal)),
            _ => return None,
        })
    }
}

/// Product modulo the width of `dtype`; the exact one of two 64-bit values fits 128 bits signed
/// unless both are unsigned and large, where wrapping loses nothing that is kept.
fn wrapping_product(a: i128, b: i128, dtype: DType) -> i128 {
    wrap(a.wrapping_mul(b), dtype)
}

fn int_pow(base: i128, exponent: i128, dtype: DType) -> i128 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 if exponent % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    }
    let (mut result, mut square, mut left) = (1_i128, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = wrapping_product(result, square, dtype);
        }
        square = wrapping_product(square, square, dtype);
        left >>= 1;
    }
    result
}

/// Error function within 2 units in the last place: the Maclaurin series below 1, a continued
/// fraction of the complement above (Abramowitz and Stegun 7.1.5 and 7.1.14).
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if x.is_nan() {
        return x;
    }
    if a > 6.0 {
        return 1.0_f64.copysign(x);
    }
    let two_over_sqrt_pi = std::f64::consts::FRAC_2_SQRT_PI;
    let magnitude = if a < 1.0 {
        // From the smallest term on, so that rounding does not add up.
        let mut factorial = 1.0;
        let mut factors = [1.0; 26];
        for (n, factor) in factors.iter_mut().enumerate().skip(1) {
            factorial *= -(n as f64);
            *factor = 1.0 / (factorial * (2 * n + 1) as f64);
        }
        let sum = factors.iter().rev().fold(0.0, |sum, f| sum * (a * a) + f);
        a * sum * two_over_sqrt_pi
    } else {
        1.0 - complement(a)
    };
    magnitude.copysign(x)
}

/// `1 - erf(x)` within 4 units in the last place.
fn erfc(x: f64) -> f64 {
    if x.is_nan() {
        x
    } else if x < 0.5 {
        1.0 - erf(x)
    } else if x < 28.0 {
        complement(x)
    } else {
        0.0
    }
}

/// The continued fraction of `erfc` from 1/2 to 28 (Abramowitz and Stegun 7.1.14).
fn complement(a: f64) -> f64 {
    let terms = match a {
        ..1.0 => 800,
        1.0..2.0 => 200,
        _ => 120,
    };
    let mut fraction = 0.0;
    for k in (1..=terms).rev() {
        fraction = f64::from(k) / 2.0 / (a + fraction);
    }
    exp_of_minus_square(a) / (a + fraction) * std::f64::consts::FRAC_2_SQRT_PI / 2.0
}

/// `e^(-a^2)`, in two factors of which the first has an exact exponent.
fn exp_of_minus_square(a: f64) -> f64 {
    let high = f64::from_bits(a.to_bits() & !0x7ff_ffff);
    (-high * high).exp() * (-(a - high) * (a + high)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(op: ScalarOp, dtype: DType, a: i128, b: i128) -> i128 {
        op.eval(dtype, &[Scalar::Int(a), Scalar::Int(b)])
            .as_int()
            .expect("an integer")
    }

    #[test]
    fn integers_wrap_and_never_trap() {
        assert_eq!(ints(ScalarOp::Add, DType::I8, 127, 1), -128);
        assert_eq!(
            ints(ScalarOp::Mul, DType::U64, u64::MAX.into(), 2),
            i128::from(u64::MAX - 1)
        );
        assert_eq!(
            ints(ScalarOp::Div, DType::I32, i32::MIN.into(), -1),
            i32::MIN.into()
        );
        assert_eq!(ints(ScalarOp::Div, DType::I32, 5, 0), 0);
        assert_eq!(ints(ScalarOp::FloorDiv, DType::I32, -7, 2), -4);
        assert_eq!(ints(ScalarOp::FloorDiv, DType::I32, 7, -2), -4);
        assert_eq!(ints(ScalarOp::FloorDiv, DType::I32, -7, -2), 3);
        assert_eq!(ints(ScalarOp::FloorMod, DType::I32, -7, 2), 1);
        assert_eq!(ints(ScalarOp::FloorMod, DType::I32, 7, -2), -1);
        assert_eq!(ints(ScalarOp::Shl, DType::U8, 255, 9), 0);
        assert_eq!(ints(ScalarOp::Pow, DType::I32, 3, 4), 81);
    }

    #[test]
    fn nan_propagates_through_min_and_max() {
        for op in [ScalarOp::Min, ScalarOp::Max] {
            for pair in [[f64::NAN, 1.0], [1.0, f64::NAN]] {
                let result = op.eval(DType::F32, &pair.map(Scalar::Float));
                assert!(result.to_f64().is_nan());
            }
        }
    }

    #[test]
    fn erf_matches_known_values() {
        for (x, y) in [
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (3.0, 0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - y).abs() < 2e-16, "erf({x}) = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
    }

    #[test]
    fn complement_is_within_four_units() {
        // Computed with 40 digits.
        for (x, y) in [
            (-3.0, 1.999_977_909_503_001_4),
            (-0.7, 1.677_801_193_837_418_4),
            (1e-9, 0.999_999_998_871_620_8),
            (0.3, 0.671_373_240_540_872_6),
            (0.6, 0.396_143_909_152_074_1),
            (0.75, 0.288_844_366_346_484_9),
            (0.99, 0.161_491_930_444_630_2),
            (1.01, 0.153_189_503_771_723_3),
            (1.5, 0.033_894_853_524_689_27),
            (2.5, 0.000_406_952_017_444_958_9),
            (5.0, 1.537_459_794_428_035e-12),
            (9.0, 4.137_031_746_513_81e-37),
            (13.25, 2.410_771_372_637_134_6e-78),
            (26.5, 2.210_907_664_263_734_3e-307),
            (27.2, 1e-323),
            (f64::INFINITY, 0.0),
            (f64::NEG_INFINITY, 2.0),
        ] {
            let y: f64 = y;
            let unit = f64::from_bits(y.to_bits() + 1) - y;
            assert!(
                (erfc(x) - y).abs() <= 4.0 * unit,
                "erfc({x}) = {:e}",
                erfc(x)
            );
        }
        assert!(erfc(f64::NAN).is_nan());
    }

    #[test]
    fn erf_is_within_two_units_where_it_bends() {
        // Computed with 60 digits.
        for (x, y) in [
            (1e-300, 1.128_379_167_095_512_6e-300),
            (1e-09, 1.128_379_167_095_512_7e-09),
            (0.25, 0.276_326_390_168_236_96),
            (0.761_475_509_606_946_5, 0.718_470_138_997_383_5),
            (0.999_9, 0.842_659_278_048_759_5),
            (1.000_1, 0.842_742_299_548_520_3),
            (1.3, 0.934_007_944_940_652_4),
            (1.7, 0.983_790_458_590_774_5),
            (1.999, 0.995_301_556_651_370_5),
            (2.05, 0.996_258_096_044_456_9),
            (2.1, 0.997_020_533_343_667),
            (2.182_640_7, 0.997_976_219_263_367),
            (2.4, 0.999_311_486_103_355),
            (2.6, 0.999_763_965_583_470_7),
            (4.5, 0.999_999_999_803_383_9),
            (5.9, 0.999_999_999_999_999_9),
        ] {
            let y: f64 = y;
            let unit = f64::from_bits(y.to_bits() + 1) - y;
            assert!((erf(x) - y).abs() <= 2.0 * unit, "erf({x}) = {}", erf(x));
        }
    }
}
