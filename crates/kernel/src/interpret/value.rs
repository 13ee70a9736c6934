//! Register values: 64 bits each, and operators on them.
//!
//! Signed integers are kept sign-extended, unsigned ones and bools zero-extended, floats as the
//! bits of their storage format. Common operators have a direct function; everything else goes
//! through [`ScalarOp::eval`], which is the definition.

use alula_tensor::{DType, DTypeClass, MiniFloat, Scalar, ScalarOp};

/// Reads a register as a number.
pub(super) fn to_scalar(dtype: DType, bits: u64) -> Scalar {
    match dtype.class() {
        DTypeClass::Signed => Scalar::Int(i128::from(bits as i64)),
        DTypeClass::Bool | DTypeClass::Unsigned | DTypeClass::String => {
            Scalar::Int(i128::from(bits))
        }
        DTypeClass::Float => Scalar::Float(match MiniFloat::of(dtype) {
            Some(format) => format.decode(bits as u32),
            None if dtype == DType::F32 => f64::from(f32::from_bits(bits as u32)),
            None => f64::from_bits(bits),
        }),
    }
}

/// Makes a register of a number that is representable in `dtype`.
pub(super) fn from_scalar(dtype: DType, value: Scalar) -> u64 {
    match value {
        Scalar::Int(value) => value as u64,
        Scalar::Float(value) => match MiniFloat::of(dtype) {
            Some(format) => u64::from(format.encode(value, false)),
            None if dtype == DType::F32 => u64::from((value as f32).to_bits()),
            None => value.to_bits(),
        },
    }
}

/// Canonical register of the low `8 * size` bits in `bits`.
pub(super) fn canonical(dtype: DType, bits: u64) -> u64 {
    let shift = 64 - 8 * dtype.size_bytes() as u32;
    match dtype.class() {
        DTypeClass::Signed => (((bits << shift) as i64) >> shift) as u64,
        DTypeClass::Bool => u64::from(bits != 0),
        DTypeClass::Unsigned | DTypeClass::Float | DTypeClass::String => (bits << shift) >> shift,
    }
}

pub(super) type Unary = fn(u64) -> u64;
pub(super) type Binary = fn(u64, u64) -> u64;

fn f(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn r(value: f32) -> u64 {
    u64::from(value.to_bits())
}

fn d(bits: u64) -> f64 {
    f64::from_bits(bits)
}

/// A direct function for a unary operator, where there is one.
pub(super) fn unary(op: ScalarOp, dtype: DType) -> Option<Unary> {
    Some(match (op, dtype) {
        (ScalarOp::Neg, DType::F32) => |a| r(-f(a)),
        (ScalarOp::Abs, DType::F32) => |a| r(f(a).abs()),
        (ScalarOp::Floor, DType::F32) => |a| r(f(a).floor()),
        (ScalarOp::Ceil, DType::F32) => |a| r(f(a).ceil()),
        (ScalarOp::Trunc, DType::F32) => |a| r(f(a).trunc()),
        (ScalarOp::Round, DType::F32) => |a| r(f(a).round_ties_even()),
        (ScalarOp::Sqrt, DType::F32) => |a| r(f(a).sqrt()),
        (ScalarOp::IsNan, DType::F32) => |a| u64::from(f(a).is_nan()),
        (ScalarOp::IsInf, DType::F32) => |a| u64::from(f(a).is_infinite()),
        (ScalarOp::Neg, DType::F64) => |a| (-d(a)).to_bits(),
        (ScalarOp::Abs, DType::F64) => |a| d(a).abs().to_bits(),
        (ScalarOp::Floor, DType::F64) => |a| d(a).floor().to_bits(),
        (ScalarOp::Sqrt, DType::F64) => |a| d(a).sqrt().to_bits(),
        (ScalarOp::Neg, DType::I64) => |a| a.wrapping_neg(),
        (ScalarOp::Neg, DType::I32) => |a| i64::from((a as i32).wrapping_neg()) as u64,
        (ScalarOp::Not, DType::Bool) => |a| a ^ 1,
        (ScalarOp::Not, DType::I32 | DType::I64) => |a| !a,
        (ScalarOp::Not, DType::U32) => |a| u64::from(!(a as u32)),
        _ => return None,
    })
}

/// A direct function for a binary operator, where there is one.
pub(super) fn binary(op: ScalarOp, dtype: DType) -> Option<Binary> {
    match dtype {
        DType::F32 => f32_binary(op),
        DType::F64 => f64_binary(op),
        DType::I64 => i64_binary(op),
        DType::I32 => i32_binary(op),
        DType::U32 => u32_binary(op),
        _ => None,
    }
    .or_else(|| match dtype.class() {
        DTypeClass::Signed => signed_binary(op),
        DTypeClass::Unsigned | DTypeClass::Bool => unsigned_binary(op),
        DTypeClass::Float | DTypeClass::String => None,
    })
}

fn f32_binary(op: ScalarOp) -> Option<Binary> {
    Some(match op {
        ScalarOp::Add => |a, b| r(f(a) + f(b)),
        ScalarOp::Sub => |a, b| r(f(a) - f(b)),
        ScalarOp::Mul => |a, b| r(f(a) * f(b)),
        ScalarOp::Div => |a, b| r(f(a) / f(b)),
        ScalarOp::Min => |a, b| match (f(a), f(b)) {
            (x, y) if x.is_nan() || y.is_nan() => r(f32::NAN),
            (x, y) => r(if y < x { y } else { x }),
        },
        ScalarOp::Max => |a, b| match (f(a), f(b)) {
            (x, y) if x.is_nan() || y.is_nan() => r(f32::NAN),
            (x, y) => r(if y > x { y } else { x }),
        },
        ScalarOp::Eq => |a, b| u64::from(f(a) == f(b)),
        ScalarOp::Ne => |a, b| u64::from(f(a) != f(b)),
        ScalarOp::Lt => |a, b| u64::from(f(a) < f(b)),
        ScalarOp::Le => |a, b| u64::from(f(a) <= f(b)),
        ScalarOp::Gt => |a, b| u64::from(f(a) > f(b)),
        ScalarOp::Ge => |a, b| u64::from(f(a) >= f(b)),
        _ => return None,
    })
}

fn f64_binary(op: ScalarOp) -> Option<Binary> {
    Some(match op {
        ScalarOp::Add => |a, b| (d(a) + d(b)).to_bits(),
        ScalarOp::Sub => |a, b| (d(a) - d(b)).to_bits(),
        ScalarOp::Mul => |a, b| (d(a) * d(b)).to_bits(),
        ScalarOp::Div => |a, b| (d(a) / d(b)).to_bits(),
        ScalarOp::Eq => |a, b| u64::from(d(a) == d(b)),
        ScalarOp::Ne => |a, b| u64::from(d(a) != d(b)),
        ScalarOp::Lt => |a, b| u64::from(d(a) < d(b)),
        ScalarOp::Le => |a, b| u64::from(d(a) <= d(b)),
        ScalarOp::Gt => |a, b| u64::from(d(a) > d(b)),
        ScalarOp::Ge => |a, b| u64::from(d(a) >= d(b)),
        _ => return None,
    })
}

fn i64_binary(op: ScalarOp) -> Option<Binary> {
    Some(match op {
        ScalarOp::Add => |a, b| a.wrapping_add(b),
        ScalarOp::Sub => |a, b| a.wrapping_sub(b),
        ScalarOp::Mul => |a, b| a.wrapping_mul(b),
        ScalarOp::Shl => |a, b| if b < 64 { a << b } else { 0 },
        // A negative amount is too great as an unsigned one.
        ScalarOp::Shr => |a, b| ((a as i64) >> b.min(63)) as u64,
        ScalarOp::FloorDiv => |a, b| {
            let (a, b) = (a as i64, b as i64);
            if b > 0 {
                a.div_euclid(b) as u64
            } else {
                slow_i64(ScalarOp::FloorDiv, a, b)
            }
        },
        ScalarOp::FloorMod => |a, b| {
            let (a, b) = (a as i64, b as i64);
            if b > 0 {
                a.rem_euclid(b) as u64
            } else {
                slow_i64(ScalarOp::FloorMod, a, b)
            }
        },
        _ => return None,
    })
}

fn slow_i64(op: ScalarOp, a: i64, b: i64) -> u64 {
    let operands = [a, b].map(|value| Scalar::Int(i128::from(value)));
    from_scalar(DType::I64, op.eval(DType::I64, &operands))
}

fn i32_binary(op: ScalarOp) -> Option<Binary> {
    Some(match op {
        ScalarOp::Add => |a, b| i64::from((a as i32).wrapping_add(b as i32)) as u64,
        ScalarOp::Sub => |a, b| i64::from((a as i32).wrapping_sub(b as i32)) as u64,
        ScalarOp::Mul => |a, b| i64::from((a as i32).wrapping_mul(b as i32)) as u64,
        ScalarOp::Shl => |a, b| {
            if b < 32 {
                i64::from((a as i32) << b) as u64
            } else {
                0
            }
        },
        // A negative amount is too great as an unsigned one.
        ScalarOp::Shr => |a, b| ((a as i64) >> b.min(63)) as u64,
        _ => return None,
    })
}

fn u32_binary(op: ScalarOp) -> Option<Binary> {
    Some(match op {
        ScalarOp::Add => |a, b| u64::from((a as u32).wrapping_add(b as u32)),
        ScalarOp::Sub => |a, b| u64::from((a as u32).wrapping_sub(b as u32)),
        ScalarOp::Mul => |a, b| u64::from((a as u32).wrapping_mul(b as u32)),
        ScalarOp::Shl => |a, b| {
            if b < 32 {
                u64::from((a as u32) << b)
            } else {
                0
            }
        },
        ScalarOp::Shr => |a, b| if b < 32 { a >> b } else { 0 },
        _ => return None,
    })
}

/// What needs no wrapping, for every signed integer.
fn signed_binary(op: ScalarOp) -> Option<Binary> {
    Some(match op {
        ScalarOp::Min => |a, b| (a as i64).min(b as i64) as u64,
        ScalarOp::Max => |a, b| (a as i64).max(b as i64) as u64,
        ScalarOp::And => |a, b| a & b,
        ScalarOp::Or => |a, b| a | b,
        ScalarOp::Xor => |a, b| a ^ b,
        ScalarOp::Eq => |a, b| u64::from(a == b),
        ScalarOp::Ne => |a, b| u64::from(a != b),
        ScalarOp::Lt => |a, b| u64::from((a as i64) < (b as i64)),
        ScalarOp::Le => |a, b| u64::from((a as i64) <= (b as i64)),
        ScalarOp::Gt => |a, b| u64::from((a as i64) > (b as i64)),
        ScalarOp::Ge => |a, b| u64::from((a as i64) >= (b as i64)),
        _ => return None,
    })
}

/// What needs no wrapping, for every unsigned integer and bool.
fn unsigned_binary(op: ScalarOp) -> Option<Binary> {
    Some(match op {
        ScalarOp::Min => |a, b| a.min(b),
        ScalarOp::Max => |a, b| a.max(b),
        ScalarOp::And => |a, b| a & b,
        ScalarOp::Or => |a, b| a | b,
        ScalarOp::Xor => |a, b| a ^ b,
        ScalarOp::Eq => |a, b| u64::from(a == b),
        ScalarOp::Ne => |a, b| u64::from(a != b),
        ScalarOp::Lt => |a, b| u64::from(a < b),
        ScalarOp::Le => |a, b| u64::from(a <= b),
        ScalarOp::Gt => |a, b| u64::from(a > b),
        ScalarOp::Ge => |a, b| u64::from(a >= b),
        _ => return None,
    })
}

/// A direct function for a conversion, where there is one.
pub(super) fn cast(from: DType, to: DType) -> Option<Unary> {
    Some(match (from, to) {
        (DType::F32, DType::F64) => |a| f64::from(f(a)).to_bits(),
        (DType::F64, DType::F32) => |a| r(d(a) as f32),
        (DType::I64 | DType::I32, DType::F32) => |a| r(a as i64 as f32),
        (DType::I64 | DType::I32, DType::F64) => |a| (a as i64 as f64).to_bits(),
        (DType::F32, DType::I32) => |a| i64::from(f(a) as i32) as u64,
        (DType::F32, DType::I64) => |a| (f(a) as i64) as u64,
        (DType::F64, DType::I64) => |a| (d(a) as i64) as u64,
        (DType::I64, DType::I32) => |a| i64::from(a as i32) as u64,
        (DType::I32, DType::I64) => |a| a,
        (from, DType::Bool) if !from.is_float() => |a| u64::from(a != 0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(dtype: DType) -> Vec<u64> {
        match dtype.class() {
            DTypeClass::Float => [
                0.0,
                -0.0,
                1.5,
                -2.5,
                3e9,
                -1e30,
                f64::NAN,
                f64::INFINITY,
                0.5,
            ]
            .iter()
            .map(|&x| from_scalar(dtype, Scalar::Float(x).cast(dtype)))
            .collect(),
            _ => [
                0,
                1,
                -1,
                3,
                -7,
                31,
                64,
                127,
                i128::from(i64::MIN),
                i128::from(i64::MAX),
            ]
            .iter()
            .map(|&x| from_scalar(dtype, Scalar::Int(x).cast(dtype)))
            .collect(),
        }
    }

    #[test]
    fn direct_functions_agree_with_the_definition() {
        for dtype in DType::ALL
            .into_iter()
            .filter(|&dtype| dtype != DType::String)
        {
            for op in ScalarOp::ALL {
                if !op.accepts(dtype.class()) {
                    continue;
                }
                let result = op.result(dtype);
                let check = |bits: u64, operands: &[Scalar]| {
                    let expected = op.eval(dtype, operands);
                    let actual = to_scalar(result, bits);
                    let both_nan = actual.to_f64().is_nan() && expected.to_f64().is_nan();
                    assert!(
                        both_nan || actual == expected,
                        "{op} {dtype} {operands:?}: {actual:?} is not {expected:?}"
                    );
                };
                for &a in &samples(dtype) {
                    if let (1, Some(function)) = (op.arity(), unary(op, dtype)) {
                        check(function(a), &[to_scalar(dtype, a)]);
                    }
                    for &b in &samples(dtype) {
                        if let (2, Some(function)) = (op.arity(), binary(op, dtype)) {
                            check(function(a, b), &[to_scalar(dtype, a), to_scalar(dtype, b)]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn direct_conversions_agree_with_the_definition() {
        for from in DType::ALL
            .into_iter()
            .filter(|&dtype| dtype != DType::String)
        {
            for to in DType::ALL
                .into_iter()
                .filter(|&dtype| dtype != DType::String)
            {
                let Some(function) = cast(from, to) else {
                    continue;
                };
                for a in samples(from) {
                    let (actual, source) = (to_scalar(to, function(a)), to_scalar(from, a));
                    let expected = source.cast(to);
                    let both_nan = actual.to_f64().is_nan() && expected.to_f64().is_nan();
                    assert!(both_nan || actual == expected, "{from} to {to}: {source:?}");
                }
            }
        }
    }
}
