//! Integer division and remainder that never trap: `x / 0 = 0`, `x rem 0 = 0`, and the least
//! integer divided by -1 wraps.

use alula_tensor::{DType, ScalarOp};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::FunctionBuilder;

use super::ops::{as_iconst, constant};
use super::repr::is_signed;

/// `a op d` for a division or remainder; the result is not yet wrapped to the dtype's width.
pub(super) fn apply(
    b: &mut FunctionBuilder<'_>,
    op: ScalarOp,
    dtype: DType,
    a: Value,
    d: Value,
) -> Value {
    match as_iconst(b, d) {
        Some(0) => return b.ins().band_imm_s(a, 0),
        Some(known) if known > 0 => return by_positive(b, op, dtype, a, d, known),
        Some(_) | None => {}
    }
    let ty = b.func.dfg.value_type(d);
    let (zero, one) = (constant(b, ty, 0), constant(b, ty, 1));
    let by_zero = b.ins().icmp(IntCC::Equal, d, zero);
    let result = if is_signed(dtype) {
        let minus = b.ins().icmp_imm_s(IntCC::Equal, d, -1);
        let unsafe_divisor = b.ins().bor(by_zero, minus);
        let divisor = b.ins().select(unsafe_divisor, one, d);
        let (quotient, rest) = (b.ins().sdiv(a, divisor), b.ins().srem(a, divisor));
        // Division by -1 negates, with wrapping, and leaves no remainder.
        let negated = b.ins().ineg(a);
        let quotient = b.ins().select(minus, negated, quotient);
        from_truncated(b, op, quotient, rest, d)
    } else {
        let divisor = b.ins().select(by_zero, one, d);
        match op {
            ScalarOp::Div | ScalarOp::FloorDiv => b.ins().udiv(a, divisor),
            _ => b.ins().urem(a, divisor),
        }
    };
    b.ins().select(by_zero, zero, result)
}

/// Division by a positive constant.
fn by_positive(
    b: &mut FunctionBuilder<'_>,
    op: ScalarOp,
    dtype: DType,
    a: Value,
    d: Value,
    known: i64,
) -> Value {
    let floors = matches!(op, ScalarOp::FloorDiv | ScalarOp::FloorMod);
    let quotient_wanted = matches!(op, ScalarOp::Div | ScalarOp::FloorDiv);
    if known & (known - 1) == 0 && (floors || !is_signed(dtype)) {
        return match (quotient_wanted, is_signed(dtype)) {
            (true, true) => b.ins().sshr_imm_s(a, i64::from(known.trailing_zeros())),
            (true, false) => b.ins().ushr_imm_s(a, i64::from(known.trailing_zeros())),
            (false, _) => b.ins().band_imm_s(a, known - 1),
        };
    }
    match (quotient_wanted, is_signed(dtype)) {
        (true, false) => b.ins().udiv(a, d),
        (false, false) => b.ins().urem(a, d),
        (_, true) => {
            let quotient = b.ins().sdiv(a, d);
            let whole = b.ins().imul(quotient, d);
            let rest = b.ins().isub(a, whole);
            from_truncated(b, op, quotient, rest, d)
        }
    }
}

/// The wanted result from a truncated quotient and its remainder, for signed operands.
fn from_truncated(
    b: &mut FunctionBuilder<'_>,
    op: ScalarOp,
    quotient: Value,
    rest: Value,
    d: Value,
) -> Value {
    if matches!(op, ScalarOp::Div | ScalarOp::Rem) {
        return if op == ScalarOp::Div { quotient } else { rest };
    }
    // The floor lies one below where the remainder and the divisor disagree in sign.
    let signs = b.ins().bxor(rest, d);
    let disagree = b.ins().icmp_imm_s(IntCC::SignedLessThan, signs, 0);
    let inexact = b.ins().icmp_imm_s(IntCC::NotEqual, rest, 0);
    let below = b.ins().band(disagree, inexact);
    if op == ScalarOp::FloorDiv {
        let less = b.ins().iadd_imm_s(quotient, -1);
        b.ins().select(below, less, quotient)
    } else {
        let more = b.ins().iadd(rest, d);
        b.ins().select(below, more, rest)
    }
}
