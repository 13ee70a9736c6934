//! Floating-point formats: exact decoding, encoding with every rounding mode, and the functions
//! behind float instructions.
//!
//! The `.approx` functions are evaluated in double precision and rounded once, so they are more
//! exact than a GPU's; a kernel's tolerance must allow for the device's documented error.

use std::cmp::Ordering;

use crate::types::Type;

/// Rounding of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// To nearest, ties to even.
    Nearest,
    /// To nearest, ties away from zero.
    Away,
    Zero,
    Down,
    Up,
}

/// A binary interchange format: mantissa and exponent bits, and unused low bits of its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    mantissa: u32,
    exponent: u32,
    shift: u32,
}

pub(crate) const F16: Format = Format {
    mantissa: 10,
    exponent: 5,
    shift: 0,
};
pub(crate) const BF16: Format = Format {
    mantissa: 7,
    exponent: 8,
    shift: 0,
};
pub(crate) const TF32: Format = Format {
    mantissa: 10,
    exponent: 8,
    shift: 13,
};
pub(crate) const F32: Format = Format {
    mantissa: 23,
    exponent: 8,
    shift: 0,
};
pub(crate) const F64: Format = Format {
    mantissa: 52,
    exponent: 11,
    shift: 0,
};

impl Format {
    pub(crate) fn of(ty: Type) -> Option<Self> {
        Some(match ty {
            Type::F16 | Type::F16x2 => F16,
            Type::Bf16 | Type::Bf16x2 => BF16,
            Type::Tf32 => TF32,
            Type::F32 => F32,
            Type::F64 => F64,
            _ => return None,
        })
    }

    fn exponent_max(self) -> u64 {
        (1 << self.exponent) - 1
    }

    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    /// The canonical NaN: all ones but the sign.
    pub(crate) fn nan(self) -> u64 {
        ((1u64 << (self.mantissa + self.exponent)) - 1) << self.shift
    }

    fn infinity(self) -> u64 {
        self.exponent_max() << self.mantissa
    }

    /// The exact value of `bits`; every format here fits in `f64`.
    pub(crate) fn decode(self, bits: u64) -> f64 {
        if self == F64 {
            return f64::from_bits(bits);
        }
        if self == F32 || self == TF32 {
            return f64::from(f32::from_bits(bits as u32));
        }
        if self == BF16 {
            return f64::from(f32::from_bits((bits as u32 & 0xffff) << 16));
        }
        // Exponent and mantissa in the places of an `f32`, whose bias is greater by 112; the
        // product is exact, subnormals included.
        let magnitude = (bits as u32 & 0x7fff) << 13;
        let value = if magnitude < 0x0f80_0000 {
            f32::from_bits(magnitude) * f32::from_bits((112 + 127) << 23)
        } else {
            f32::from_bits(magnitude | 0x7f80_0000)
        };
        f64::from(if bits >> 15 & 1 == 1 { -value } else { value })
    }

    /// Rounds `value` to this format; a NaN becomes the canonical one.
    pub(crate) fn encode(self, value: f64, round: Round) -> u64 {
        if self == F64 {
            return value.to_bits();
        }
        if self == F32 && round == Round::Nearest {
            let narrow = value as f32;
            return if narrow.is_nan() {
                self.nan()
            } else {
                u64::from(narrow.to_bits())
            };
        }
        let bits = value.to_bits();
        let negative = bits >> 63 == 1;
        let exponent = (bits >> 52 & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        match (exponent, fraction) {
            (0x7ff, 0) => (self.sign(negative) | self.infinity()) << self.shift,
            (0x7ff, _) => self.nan(),
            (0, _) => self.encode_parts(negative, fraction, -1074, round),
            _ => self.encode_parts(negative, fraction | 1 << 52, exponent - 1075, round),
        }
    }

    /// Rounds an integer to this format.
    pub(crate) fn encode_integer(self, negative: bool, magnitude: u64, round: Round) -> u64 {
        self.encode_parts(negative, magnitude, 0, round)
    }

    fn sign(self, negative: bool) -> u64 {
        u64::from(negative) << (self.mantissa + self.exponent)
    }

    /// Rounds `magnitude * 2^exponent`.
    fn encode_parts(self, negative: bool, magnitude: u64, exponent: i32, round: Round) -> u64 {
        let sign = self.sign(negative);
        if magnitude == 0 {
            return sign << self.shift;
        }
        let top = exponent + 63 - magnitude.leading_zeros() as i32;
        let unit = top.max(1 - self.bias()) - self.mantissa as i32;
        let kept = if unit <= exponent {
            magnitude << (exponent - unit)
        } else {
            let drop = (unit - exponent).min(100) as u32;
            let wide = u128::from(magnitude);
            let kept = (wide >> drop) as u64;
            let rest = wide & ((1 << drop) - 1);
            let against_half = rest.cmp(&(1 << (drop - 1)));
            let up = match round {
                Round::Nearest => {
                    against_half == Ordering::Greater
                        || (against_half == Ordering::Equal && kept & 1 == 1)
                }
                Round::Away => against_half != Ordering::Less,
                Round::Zero => false,
                Round::Down => negative && rest > 0,
                Round::Up => !negative && rest > 0,
            };
            kept + u64::from(up)
        };
        let implicit = 1u64 << self.mantissa;
        let bits = if kept < implicit {
            kept
        } else {
            let biased = (unit + self.mantissa as i32 + self.bias()) as u64;
            (biased << self.mantissa) + (kept - implicit)
        };
        let bits = if bits < self.infinity() {
            bits
        } else {
            let to_infinity = match round {
                Round::Nearest | Round::Away => true,
                Round::Zero => false,
                Round::Down => negative,
                Round::Up => !negative,
            };
            if to_infinity {
                self.infinity()
            } else {
                self.infinity() - 1
            }
        };
        (sign | bits) << self.shift
    }
}

/// `value` as the integer that `round` selects.
pub(crate) fn to_integral(value: f64, round: Round) -> f64 {
    match round {
        Round::Nearest => value.round_ties_even(),
        Round::Away => value.round(),
        Round::Zero => value.trunc(),
        Round::Down => value.floor(),
        Round::Up => value.ceil(),
    }
}

/// A function on `f32` lanes; unary and binary ones ignore the rest.
pub(crate) type F32Fn = fn(f32, f32, f32) -> f32;
/// A function on `f64` lanes, also used for half precision before rounding.
pub(crate) type F64Fn = fn(f64, f64, f64) -> f64;

/// Subnormals become zero of the same sign, as `.ftz` asks.
pub(crate) fn flush(x: f32) -> f32 {
    if x.is_subnormal() {
        0f32.copysign(x)
    } else {
        x
    }
}

/// The function of an `f32` arithmetic mnemonic.
pub(crate) fn f32_function(mnemonic: &str, nan: bool) -> Option<F32Fn> {
    fn wide(x: f32, f: fn(f64) -> f64) -> f32 {
        f(f64::from(x)) as f32
    }
    Some(match mnemonic {
        "add" => |a, b, _| a + b,
        "sub" => |a, b, _| a - b,
        "mul" => |a, b, _| a * b,
        "fma" | "mad" => |a, b, c| a.mul_add(b, c),
        "div" => |a, b, _| a / b,
        "min" if nan => |a, b, _| {
            if a.is_nan() | b.is_nan() {
                f32::NAN
            } else {
                lesser(a, b)
            }
        },
        "max" if nan => |a, b, _| {
            if a.is_nan() | b.is_nan() {
                f32::NAN
            } else {
                -lesser(-a, -b)
            }
        },
        "min" => |a, b, _| lesser(a, b),
        "max" => |a, b, _| -lesser(-a, -b),
        "neg" => |a, _, _| -a,
        "abs" => |a, _, _| a.abs(),
        "rcp" => |a, _, _| 1.0 / a,
        "sqrt" => |a, _, _| a.sqrt(),
        "rsqrt" => |a, _, _| wide(a, |x| 1.0 / x.sqrt()),
        "ex2" => |a, _, _| wide(a, f64::exp2),
        "lg2" => |a, _, _| wide(a, f64::log2),
        "sin" => |a, _, _| wide(a, f64::sin),
        "cos" => |a, _, _| wide(a, f64::cos),
        "tanh" => |a, _, _| wide(a, f64::tanh),
        _ => return None,
    })
}

/// The smaller, where -0 is below +0 and a NaN loses against a number.
fn lesser(a: f32, b: f32) -> f32 {
    if a.is_nan() || (b < a) || (a == b && b.is_sign_negative()) {
        b
    } else {
        a
    }
}

/// The function of an `f64` arithmetic mnemonic.
pub(crate) fn f64_function(mnemonic: &str) -> Option<F64Fn> {
    Some(match mnemonic {
        "add" => |a, b, _| a + b,
        "sub" => |a, b, _| a - b,
        "mul" => |a, b, _| a * b,
        "fma" | "mad" => |a, b, c| a.mul_add(b, c),
        "div" => |a, b, _| a / b,
        "min" => |a, b, _| lesser_f64(a, b),
        "max" => |a, b, _| -lesser_f64(-a, -b),
        "neg" => |a, _, _| -a,
        "abs" => |a, _, _| a.abs(),
        "rcp" => |a, _, _| 1.0 / a,
        "sqrt" => |a, _, _| a.sqrt(),
        "rsqrt" => |a, _, _| 1.0 / a.sqrt(),
        _ => return None,
    })
}

fn lesser_f64(a: f64, b: f64) -> f64 {
    if a.is_nan() || (b < a) || (a == b && b.is_sign_negative()) {
        b
    } else {
        a
    }
}

/// The function of a half-precision mnemonic: what it returns rounds to the format correctly.
pub(crate) fn half_function(mnemonic: &str, nan: bool) -> Option<F64Fn> {
    Some(match mnemonic {
        "fma" => fma_to_odd,
        "min" if nan => |a, b, _| {
            if a.is_nan() | b.is_nan() {
                f64::NAN
            } else {
                lesser_f64(a, b)
            }
        },
        "max" if nan => |a, b, _| {
            if a.is_nan() | b.is_nan() {
                f64::NAN
            } else {
                -lesser_f64(-a, -b)
            }
        },
        "add" | "sub" | "mul" | "min" | "max" | "neg" | "abs" => f64_function(mnemonic)?,
        "ex2" => |a, _, _| a.exp2(),
        "tanh" => |a, _, _| a.tanh(),
        _ => return None,
    })
}

/// `a * b + c` for half-precision operands, rounded to odd so that a second rounding is harmless.
fn fma_to_odd(a: f64, b: f64, c: f64) -> f64 {
    let product = a * b;
    let sum = product + c;
    let shadow = sum - product;
    let error = (product - (sum - shadow)) + (c - shadow);
    if error == 0.0 || !error.is_finite() || sum == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    let grows = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if grows {
        sum.to_bits() + 1
    } else {
        sum.to_bits() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: [Round; 5] = [
        Round::Nearest,
        Round::Away,
        Round::Zero,
        Round::Down,
        Round::Up,
    ];

    #[test]
    fn every_half_survives_a_round_trip() {
        for format in [F16, BF16] {
            for bits in 0..=0xffffu64 {
                let value = format.decode(bits);
                for round in ROUNDS {
                    let expected = if value.is_nan() { format.nan() } else { bits };
                    assert_eq!(
                        format.encode(value, round),
                        expected,
                        "{format:?} {bits:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn roundings_bracket_the_value() {
        let mut state = 7u32;
        for _ in 0..200_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f64::from(f32::from_bits(state.rotate_left(11)));
            if value.is_nan() {
                continue;
            }
            for format in [F16, BF16, TF32] {
                let [nearest, away, zero, down, up] =
                    ROUNDS.map(|round| format.decode(format.encode(value, round)));
                assert!(down <= value && value <= up, "{format:?} {value:e}");
                assert_eq!(
                    zero,
                    if value < 0.0 { up } else { down },
                    "{format:?} {value:e}"
                );
                for closest in [nearest, away] {
                    assert!(closest == down || closest == up, "{format:?} {value:e}");
                    // Beyond the largest number, infinity is nearest from half a unit on.
                    if up.is_finite() && down.is_finite() {
                        let distance = (closest - value).abs();
                        let best = (up - value).min(value - down);
                        assert!(distance <= best, "{format:?} {value:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn half_fma_rounds_once() {
        // 1 + 2^-10 squared is 1 + 2^-9 + 2^-20; the small addend decides the tie at 2^-21.
        let a = F16.decode(0x3c01);
        let tiny = F16.decode(0x0001);
        let sum = |c: f64| F16.encode(fma_to_odd(a, a, c), Round::Nearest);
        assert_eq!(sum(0.0), 0x3c02);
        // 2048 + 1 is a tie in f16; an addend of 2^-24 breaks it upward.
        let big = |c: f64| F16.encode(fma_to_odd(2049.0, 1.0, c), Round::Nearest);
        assert_eq!((big(0.0), big(tiny), big(-tiny)), (0x6800, 0x6801, 0x6800));
    }
}
