//! Floats of 16 bits and fewer, by their parameters: one decoder and one encoder for all.
//!
//! Sources: ONNX "Float stored in 8 bits" (OCP FP8, Graphcore/AMD FNUZ), OCP MX (e2m1, e8m0).

use crate::DType;

/// How a narrow float spends its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiniFloat {
    /// Exponent bits.
    pub exponent_bits: u32,
    /// Explicit mantissa bits.
    pub mantissa_bits: u32,
    /// Exponent bias.
    pub bias: i32,
    /// What the extreme codes mean.
    pub specials: Specials,
    /// Whether there is a sign bit.
    pub is_signed: bool,
}

/// What the extreme codes of a [`MiniFloat`] mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// IEEE 754: greatest exponent holds infinities and NaN.
    Ieee,
    /// Only the all-ones code is NaN; no infinities.
    AllOnesNan,
    /// Only the code of negative zero is NaN; no infinities, no negative zero.
    NegativeZeroNan,
    /// Every code is a finite number.
    FiniteOnly,
}

impl MiniFloat {
    /// The parameters of a dtype, if it is a float of at most 16 bits.
    pub const fn of(dtype: DType) -> Option<MiniFloat> {
        let (exponent_bits, mantissa_bits, bias, specials, is_signed) = match dtype {
            DType::F16 => (5, 10, 15, Specials::Ieee, true),
            DType::BF16 => (8, 7, 127, Specials::Ieee, true),
            DType::F8E5M2 => (5, 2, 15, Specials::Ieee, true),
            DType::F8E4M3FN => (4, 3, 7, Specials::AllOnesNan, true),
            DType::F8E4M3FNUZ => (4, 3, 8, Specials::NegativeZeroNan, true),
            DType::F8E5M2FNUZ => (5, 2, 16, Specials::NegativeZeroNan, true),
            DType::F4E2M1 => (2, 1, 1, Specials::FiniteOnly, true),
            DType::F8E8M0 => (8, 0, 127, Specials::AllOnesNan, false),
            _ => return None,
        };
        Some(MiniFloat {
            exponent_bits,
            mantissa_bits,
            bias,
            specials,
            is_signed,
        })
    }

    const fn magnitude_bits(self) -> u32 {
        self.exponent_bits + self.mantissa_bits
    }

    const fn nan_code(self) -> u32 {
        match self.specials {
            Specials::Ieee => {
                let quiet = if self.mantissa_bits == 0 {
                    0
                } else {
                    1 << (self.mantissa_bits - 1)
                };
                (((1 << self.exponent_bits) - 1) << self.mantissa_bits) | quiet
            }
            Specials::AllOnesNan => (1 << self.magnitude_bits()) - 1,
            Specials::NegativeZeroNan => 1 << self.magnitude_bits(),
            Specials::FiniteOnly => 0,
        }
    }

    /// The code of the greatest finite magnitude.
    const fn max_code(self) -> u32 {
        let all = (1 << self.magnitude_bits()) - 1;
        match self.specials {
            Specials::Ieee => (((1 << self.exponent_bits) - 1) << self.mantissa_bits) - 1,
            Specials::AllOnesNan => all - 1,
            Specials::NegativeZeroNan | Specials::FiniteOnly => all,
        }
    }

    /// The value of a code, exact.
    pub fn decode(self, code: u32) -> f64 {
        let magnitude_mask = (1 << self.magnitude_bits()) - 1;
        let magnitude = code & magnitude_mask;
        let negative = self.is_signed && code & (1 << self.magnitude_bits()) != 0;
        let exponent = (magnitude >> self.mantissa_bits) as i32;
        let mantissa = f64::from(magnitude & ((1 << self.mantissa_bits) - 1));
        let one = f64::from(1_u32 << self.mantissa_bits);
        let top = (1 << self.exponent_bits) - 1;
        let value = match self.specials {
            Specials::Ieee if exponent == top && mantissa == 0.0 => f64::INFINITY,
            Specials::Ieee if exponent == top => f64::NAN,
            Specials::AllOnesNan if magnitude == magnitude_mask => f64::NAN,
            Specials::NegativeZeroNan if negative && magnitude == 0 => return f64::NAN,
            // e8m0 has no zero: code 0 is the least power of two.
            _ if exponent == 0 && self.is_signed => mantissa / one * exp2(1 - self.bias),
            _ => (1.0 + mantissa / one) * exp2(exponent - self.bias),
        };
        if negative { -value } else { value }
    }

    /// The nearest code, ties to even. Beyond the greatest finite value: with `saturate` the
    /// greatest finite value, without it infinity, or NaN where there is none.
    pub fn encode(self, value: f64, saturate: bool) -> u32 {
        let sign_bit = 1_u32 << self.magnitude_bits();
        if value.is_nan() {
            let sign = if self.specials == Specials::Ieee && value.is_sign_negative() {
                sign_bit
            } else {
                0
            };
            return self.nan_code() | sign;
        }
        if !self.is_signed {
            return self.encode_power(value, saturate);
        }
        let sign = if value.is_sign_negative() {
            sign_bit
        } else {
            0
        };
        let magnitude = value.abs();
        let code = if magnitude.is_infinite() {
            u32::MAX
        } else {
            self.round_magnitude(magnitude)
        };
        let code = if code > self.max_code() {
            match self.specials {
                _ if saturate && (magnitude.is_finite() || self.specials != Specials::Ieee) => {
                    self.max_code()
                }
                Specials::Ieee if saturate => self.max_code(),
                Specials::Ieee => self.max_code() + 1,
                Specials::FiniteOnly => self.max_code(),
                Specials::AllOnesNan | Specials::NegativeZeroNan => {
                    let sign = if self.specials == Specials::AllOnesNan {
                        sign
                    } else {
                        0
                    };
                    return self.nan_code() | sign;
                }
            }
        } else {
            code
        };
        match self.specials {
            Specials::NegativeZeroNan if code == 0 => 0,
            _ => code | sign,
        }
    }

    /// Rounds a finite magnitude to a code as if exponents had no upper bound.
    fn round_magnitude(self, magnitude: f64) -> u32 {
        if magnitude == 0.0 {
            return 0;
        }
        let bits = magnitude.to_bits();
        let exponent = ((bits >> 52) as i32 - 1023).max(1 - self.bias).max(-1022);
        // The spacing of codes at this exponent; subnormals share the least one.
        let unit = exp2(exponent - self.mantissa_bits as i32);
        let steps = (magnitude / unit).round_ties_even();
        let base = (exponent + self.bias - 1).max(0) as u64;
        let code = (base << self.mantissa_bits) + steps as u64;
        u32::try_from(code).unwrap_or(u32::MAX)
    }

    /// e8m0: powers of two only. Zero and negatives take the least code.
    fn encode_power(self, value: f64, saturate: bool) -> u32 {
        if value.is_infinite() && value > 0.0 {
            return if saturate {
                self.max_code()
            } else {
                self.nan_code()
            };
        }
        if value <= 0.0 {
            return 0;
        }
        let exponent = value.log2().round() as i32 + self.bias;
        let max_code = self.max_code() as i32;
        if exponent > max_code && !saturate {
            return self.nan_code();
        }
        exponent.clamp(0, max_code) as u32
    }
}

/// 2 to an integer power, exact within the range of f64.
fn exp2(power: i32) -> f64 {
    if power >= -1022 {
        f64::from_bits(((power + 1023).clamp(1, 2046) as u64) << 52)
    } else {
        f64::from_bits(1) * f64::from_bits(((power + 1074 + 1023).max(1) as u64) << 52)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_a_round_trip() {
        for dtype in DType::ALL {
            let Some(format) = MiniFloat::of(dtype) else {
                continue;
            };
            let bits = format.magnitude_bits() + u32::from(format.is_signed);
            for code in 0..1_u32 << bits {
                let value = format.decode(code);
                if !value.is_nan() {
                    assert_eq!(
                        format.encode(value, false),
                        code,
                        "{dtype} code {code:#x} = {value}"
                    );
                }
            }
        }
    }

    #[test]
    fn half_agrees_with_the_half_crate() {
        let format = MiniFloat::of(DType::F16).expect("f16 is narrow");
        for k in 0..200_000_u32 {
            let value = f32::from_bits(k.wrapping_mul(0x9E37_79B9));
            if !value.is_nan() {
                let expected = half::f16::from_f32(value).to_bits();
                assert_eq!(
                    format.encode(f64::from(value), false),
                    u32::from(expected),
                    "{value:e}"
                );
            }
        }
    }

    #[test]
    fn overflow_saturates_or_not() {
        let e4m3 = MiniFloat::of(DType::F8E4M3FN).expect("narrow");
        assert_eq!(e4m3.decode(e4m3.encode(1e6, true)), 448.0);
        assert!(e4m3.decode(e4m3.encode(1e6, false)).is_nan());
        let e5m2 = MiniFloat::of(DType::F8E5M2).expect("narrow");
        assert_eq!(e5m2.decode(e5m2.encode(1e6, false)), f64::INFINITY);
        assert_eq!(e5m2.decode(e5m2.encode(-1e6, true)), -57344.0);
    }
}
