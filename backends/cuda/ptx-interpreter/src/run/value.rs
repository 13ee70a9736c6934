//! Conversions, comparisons and half-precision arithmetic on single values.

use std::cmp::Ordering;

use crate::float::{self, F64Fn, Format, Round};
use crate::program::{Class1, Compare, Convert, Fit};
use crate::types::Type;

/// Converts one value (PTX ISA, `cvt`).
pub(super) fn convert(c: &Convert, bits: u64) -> u64 {
    let bits = bits & c.from.mask();
    match (Format::of(c.from), Format::of(c.to)) {
        (None, None) => integer_to_integer(c, bits),
        (None, Some(to)) => {
            let value = signed_value(c.from, bits);
            let magnitude = value.unsigned_abs() as u64;
            let out = to.encode_integer(value < 0, magnitude, c.round);
            if c.sat { saturate(to, out) } else { out }
        }
        (Some(from), None) => {
            let value = flushed(c, from.decode(bits));
            float_to_integer(c, value)
        }
        (Some(from), Some(to)) => {
            let mut value = flushed(c, from.decode(bits));
            if c.integral {
                value = float::to_integral(value, c.round);
            } else if c.from == c.to && !c.sat && !c.ftz {
                return bits;
            }
            if c.relu && value <= 0.0 {
                value = 0.0;
            }
            let round = if c.integral { Round::Nearest } else { c.round };
            let mut out = to.encode(value, round);
            if c.ftz && c.to == Type::F32 {
                out = u64::from(float::flush(f32::from_bits(out as u32)).to_bits());
            }
            if c.sat { saturate(to, out) } else { out }
        }
    }
}

fn flushed(c: &Convert, value: f64) -> f64 {
    if c.ftz && c.from == Type::F32 {
        f64::from(float::flush(value as f32))
    } else {
        value
    }
}

fn saturate(format: Format, bits: u64) -> u64 {
    let value = format.decode(bits);
    if value >= 1.0 {
        format.encode(1.0, Round::Nearest)
    } else if value > 0.0 {
        bits
    } else {
        0
    }
}

fn signed_value(ty: Type, bits: u64) -> i128 {
    if ty.is_signed() {
        i128::from(ty.extend(bits, 64) as i64)
    } else {
        i128::from(bits)
    }
}

/// Smallest and largest value of an integer type.
fn range(ty: Type) -> (i128, i128) {
    if ty.is_signed() {
        (-(1i128 << (ty.bits() - 1)), (1i128 << (ty.bits() - 1)) - 1)
    } else {
        (0, i128::from(ty.mask()))
    }
}

fn integer_to_integer(c: &Convert, bits: u64) -> u64 {
    let mut value = signed_value(c.from, bits);
    if c.sat {
        let (low, high) = range(c.to);
        value = value.clamp(low, high);
    }
    c.to.extend(value as u64, c.register_bits)
}

/// Out-of-range values saturate whether `.sat` is given or not.
fn float_to_integer(c: &Convert, value: f64) -> u64 {
    if value.is_nan() {
        let wide = c.from == Type::F64 || c.to.bits() == 64;
        let bits = if wide { 1 << (c.to.bits() - 1) } else { 0 };
        return c.to.extend(bits, c.register_bits);
    }
    let (low, high) = range(c.to);
    let whole = float::to_integral(value, c.round) as i128;
    c.to.extend(whole.clamp(low, high) as u64, c.register_bits)
}

/// Compares one pair of values.
pub(super) fn compare(c: &Compare, a: u64, b: u64) -> bool {
    let ordering = match c.ty {
        Type::F32 => {
            let (a, b) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
            if c.ftz {
                float::flush(a).partial_cmp(&float::flush(b))
            } else {
                a.partial_cmp(&b)
            }
        }
        ty => match Format::of(ty) {
            Some(format) => format.decode(a).partial_cmp(&format.decode(b)),
            None if ty.is_signed() => {
                Some((ty.extend(a, 64) as i64).cmp(&(ty.extend(b, 64) as i64)))
            }
            None => Some((a & ty.mask()).cmp(&(b & ty.mask()))),
        },
    };
    match ordering {
        Some(Ordering::Less) => c.outcome[0],
        Some(Ordering::Equal) => c.outcome[1],
        Some(Ordering::Greater) => c.outcome[2],
        None => c.unordered,
    }
}

/// Classifies one float.
pub(super) fn is_class(class: Class1, format: Format, bits: u64) -> bool {
    let (nan, infinite, subnormal, zero) = if format == float::F32 {
        let x = f32::from_bits(bits as u32);
        (x.is_nan(), x.is_infinite(), x.is_subnormal(), x == 0.0)
    } else {
        let x = f64::from_bits(bits);
        (x.is_nan(), x.is_infinite(), x.is_subnormal(), x == 0.0)
    };
    match class {
        Class1::Finite => !nan && !infinite,
        Class1::Infinite => infinite,
        Class1::Number => !nan,
        Class1::NotANumber => nan,
        Class1::Normal => !nan && !infinite && !subnormal && !zero,
        Class1::Subnormal => subnormal,
    }
}

/// Applies `f` to one or two half-precision lanes of a register.
pub(super) fn half(
    f: F64Fn,
    format: Format,
    packed: bool,
    fit: Fit,
    a: u64,
    b: u64,
    c: u64,
) -> u64 {
    let one = |shift: u32| {
        let value = |bits: u64| format.decode(bits >> shift & 0xffff);
        let result = f(value(a), value(b), value(c));
        let bits = format.encode(result, Round::Nearest);
        let bits = match fit {
            Fit::Plain => bits,
            Fit::Sat => saturate(format, bits),
            Fit::Relu if result <= 0.0 => 0,
            Fit::Relu => bits,
        };
        bits << shift
    };
    if packed { one(0) | one(16) } else { one(0) }
}
