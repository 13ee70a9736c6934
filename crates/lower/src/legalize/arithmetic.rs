//! Arithmetic that some targets lack, for integers and floats alike.

use alula_kernel::ValueId;
use alula_tensor::{DType, DTypeClass, ScalarOp};

use super::code::Code;

/// Expansions on integers and bools.
pub(super) fn integer(
    code: &mut Code<'_>,
    op: ScalarOp,
    dtype: DType,
    operands: &[ValueId],
) -> Option<ValueId> {
    Some(match (op, operands) {
        (ScalarOp::Neg, &[a]) => {
            let zero = code.int(dtype, 0);
            code.sub(zero, a)
        }
        (ScalarOp::Abs, &[a]) if dtype.class() == DTypeClass::Unsigned => a,
        (ScalarOp::Abs, &[a]) => {
            let minus = code.unary(ScalarOp::Neg, a);
            code.apply(ScalarOp::Max, &[a, minus])
        }
        (ScalarOp::Sign, &[a]) => {
            let (zero, one, minus) = (code.int(dtype, 0), code.int(dtype, 1), code.int(dtype, -1));
            let (above, below) = (code.lt(zero, a), code.lt(a, zero));
            let negative = code.select(below, minus, zero);
            code.select(above, one, negative)
        }
        (ScalarOp::Not, &[a]) => {
            let ones = code.int(dtype, if dtype == DType::Bool { 1 } else { -1 });
            code.apply(ScalarOp::Xor, &[a, ones])
        }
        (ScalarOp::Min, &[a, b]) => {
            let less = code.lt(b, a);
            code.select(less, b, a)
        }
        (ScalarOp::Max, &[a, b]) => {
            let less = code.lt(a, b);
            code.select(less, b, a)
        }
        (ScalarOp::Rem, &[a, b]) => {
            let quotient = code.div(a, b);
            let whole = code.mul(quotient, b);
            let rest = code.sub(a, whole);
            let zero = code.int(dtype, 0);
            let by_zero = code.eq(b, zero);
            code.select(by_zero, zero, rest)
        }
        (ScalarOp::FloorDiv, &[a, b]) => {
            let quotient = code.div(a, b);
            let rest = code.apply(ScalarOp::Rem, &[a, b]);
            let (zero, one) = (code.int(dtype, 0), code.int(dtype, 1));
            let low = differs(code, rest, b, zero);
            let step = code.select(low, one, zero);
            code.sub(quotient, step)
        }
        (ScalarOp::FloorMod, &[a, b]) => {
            let rest = code.apply(ScalarOp::Rem, &[a, b]);
            let zero = code.int(dtype, 0);
            let low = differs(code, rest, b, zero);
            let raised = code.add(rest, b);
            code.select(low, raised, rest)
        }
        (ScalarOp::Pow, &[a, b]) => integer_power(code, dtype, a, b),
        (ScalarOp::Ne, &[a, b]) => {
            let equal = code.eq(a, b);
            code.unary(ScalarOp::Not, equal)
        }
        (ScalarOp::Gt, &[a, b]) => code.lt(b, a),
        (ScalarOp::Ge, &[a, b]) => {
            let less = code.lt(a, b);
            code.unary(ScalarOp::Not, less)
        }
        (ScalarOp::Le, &[a, b]) => {
            let less = code.lt(b, a);
            code.unary(ScalarOp::Not, less)
        }
        _ => return None,
    })
}

/// Whether a remainder is not zero and has another sign than the divisor.
fn differs(code: &mut Code<'_>, rest: ValueId, divisor: ValueId, zero: ValueId) -> ValueId {
    let some = code.apply(ScalarOp::Ne, &[rest, zero]);
    let (a, b) = (code.lt(rest, zero), code.lt(divisor, zero));
    let apart = code.apply(ScalarOp::Xor, &[a, b]);
    code.apply(ScalarOp::And, &[some, apart])
}

/// Square and multiply over every bit of the exponent; negative exponents round to zero unless
/// the base is 1 or -1.
fn integer_power(code: &mut Code<'_>, dtype: DType, base: ValueId, exponent: ValueId) -> ValueId {
    let (zero, one) = (code.int(dtype, 0), code.int(dtype, 1));
    let signed = dtype.class() == DTypeClass::Signed;
    let bits = dtype.bits() - u32::from(signed);
    let (mut result, mut square, mut left) = (one, base, exponent);
    for bit in 0..bits {
        let low = code.apply(ScalarOp::And, &[left, one]);
        let skip = code.eq(low, zero);
        let product = code.mul(result, square);
        result = code.select(skip, result, product);
        if bit + 1 < bits {
            square = code.mul(square, square);
            left = code.apply(ScalarOp::Shr, &[left, one]);
        }
    }
    if !signed {
        return result;
    }
    let minus = code.int(dtype, -1);
    let odd = code.apply(ScalarOp::And, &[exponent, one]);
    let is_odd = code.eq(odd, one);
    let alternating = code.select(is_odd, minus, one);
    let (is_one, is_minus) = (code.eq(base, one), code.eq(base, minus));
    let inverse = code.select(is_minus, alternating, zero);
    let inverse = code.select(is_one, one, inverse);
    let negative = code.lt(exponent, zero);
    code.select(negative, inverse, result)
}

/// Expansions on floats of 32 and 64 bits that are the same for both.
pub(super) fn float(
    code: &mut Code<'_>,
    op: ScalarOp,
    dtype: DType,
    operands: &[ValueId],
) -> Option<ValueId> {
    Some(match (op, operands) {
        (ScalarOp::IsNan, &[a]) => {
            let equal = code.eq(a, a);
            code.unary(ScalarOp::Not, equal)
        }
        (ScalarOp::IsInf, &[a]) => {
            let (size, infinity) = (
                code.unary(ScalarOp::Abs, a),
                code.float(dtype, f64::INFINITY),
            );
            code.eq(size, infinity)
        }
        (ScalarOp::Abs, &[a]) => {
            let one = code.float(dtype, 1.0);
            code.with_sign(a, one)
        }
        (ScalarOp::Sign, &[a]) => {
            let (zero, one) = (code.float(dtype, 0.0), code.float(dtype, 1.0));
            let unit = code.with_sign(one, a);
            let (above, below) = (code.lt(zero, a), code.lt(a, zero));
            let some = code.apply(ScalarOp::Or, &[above, below]);
            code.select(some, unit, a)
        }
        (ScalarOp::Round, &[a]) => round_even(code, dtype, a),
        (ScalarOp::Trunc, &[a]) => {
            let size = code.unary(ScalarOp::Abs, a);
            let whole = code.unary(ScalarOp::Floor, size);
            code.with_sign(whole, a)
        }
        (ScalarOp::Ceil, &[a]) => {
            let minus = code.unary(ScalarOp::Neg, a);
            let below = code.unary(ScalarOp::Floor, minus);
            code.unary(ScalarOp::Neg, below)
        }
        (ScalarOp::Min, &[a, b]) => {
            let less = code.lt(b, a);
            extreme(code, less, a, b)
        }
        (ScalarOp::Max, &[a, b]) => {
            let less = code.lt(a, b);
            extreme(code, less, a, b)
        }
        (ScalarOp::FloorDiv, &[a, b]) => {
            let quotient = code.div(a, b);
            code.unary(ScalarOp::Floor, quotient)
        }
        (ScalarOp::FloorMod, &[a, b]) => floor_mod(code, dtype, a, b),
        (ScalarOp::Ne, &[a, b]) => {
            let equal = code.eq(a, b);
            code.unary(ScalarOp::Not, equal)
        }
        (ScalarOp::Gt, &[a, b]) => code.lt(b, a),
        (ScalarOp::Ge, &[a, b]) => code.apply(ScalarOp::Le, &[b, a]),
        (ScalarOp::Le, &[a, b]) => {
            let (less, equal) = (code.lt(a, b), code.eq(a, b));
            code.apply(ScalarOp::Or, &[less, equal])
        }
        _ => return None,
    })
}

/// `b` if `take`, else `a`; NaN if either is.
fn extreme(code: &mut Code<'_>, take: ValueId, a: ValueId, b: ValueId) -> ValueId {
    let chosen = code.select(take, b, a);
    let ordered = code.eq(b, b);
    // A NaN in a is kept by the comparison being false.
    code.select(ordered, chosen, b)
}

/// Ties to even: a sum with 2^23 (2^52) rounds away the fraction of anything smaller.
fn round_even(code: &mut Code<'_>, dtype: DType, a: ValueId) -> ValueId {
    let anchor = code.float(
        dtype,
        if dtype == DType::F32 {
            8_388_608.0
        } else {
            2.0_f64.powi(52)
        },
    );
    let size = code.unary(ScalarOp::Abs, a);
    let sum = code.add(size, anchor);
    let whole = code.sub(sum, anchor);
    let small = code.lt(size, anchor);
    let rounded = code.select(small, whole, size);
    let signed = code.with_sign(rounded, a);
    let ordered = code.eq(a, a);
    code.select(ordered, signed, a)
}

fn floor_mod(code: &mut Code<'_>, dtype: DType, a: ValueId, b: ValueId) -> ValueId {
    let rest = code.apply(ScalarOp::Rem, &[a, b]);
    let zero = code.float(dtype, 0.0);
    let (above, below) = (code.lt(zero, rest), code.lt(rest, zero));
    let some = code.apply(ScalarOp::Or, &[above, below]);
    let negative = code.lt(b, zero);
    let apart = code.apply(ScalarOp::Xor, &[below, negative]);
    let low = code.apply(ScalarOp::And, &[some, apart]);
    // For an infinite b this is b itself, as the definition has it.
    let raised = code.add(rest, b);
    code.select(low, raised, rest)
}
