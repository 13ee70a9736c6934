//! Scalar operators as instructions, on one value or on one vector of lanes.
//!
//! Each function takes operands in the representation of [`super::repr`] and returns the result in
//! it, except that a predicate on vectors gives a mask as wide as its operands, and `select` on
//! vectors takes such a mask. `None` means that there is no vector form: the caller goes lane by
//! lane. Meaning is that of `ScalarOp::eval`, on every input.

use alula_tensor::{DType, ScalarOp};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value, types,
};
use cranelift_frontend::FunctionBuilder;

use super::division;
use super::repr::{Form, Repr, is_signed};

/// Prints `op` on operands of `dtype` (for `select`: the dtype of the last two).
pub(super) fn apply(
    b: &mut FunctionBuilder<'_>,
    form: Form,
    op: ScalarOp,
    dtype: DType,
    args: &[Value],
) -> Option<Value> {
    let repr = Repr::of(dtype)?;
    if op == ScalarOp::Select {
        return Some(select(b, form, args[0], args[1], args[2]));
    }
    match repr {
        Repr::Bool => apply_bool(b, form, op, args),
        Repr::F32 | Repr::F64 => apply_float(b, form, op, repr, args),
        Repr::I32 | Repr::I64 if dtype.is_integer() => apply_int(b, form, op, dtype, args),
        Repr::I32 | Repr::I64 => None,
    }
}

fn apply_bool(
    b: &mut FunctionBuilder<'_>,
    form: Form,
    op: ScalarOp,
    args: &[Value],
) -> Option<Value> {
    Some(match op {
        ScalarOp::And => b.ins().band(args[0], args[1]),
        ScalarOp::Or => b.ins().bor(args[0], args[1]),
        ScalarOp::Xor | ScalarOp::Ne => b.ins().bxor(args[0], args[1]),
        ScalarOp::Eq => b.ins().icmp(IntCC::Equal, args[0], args[1]),
        ScalarOp::Not if form == Form::Vector => b.ins().bnot(args[0]),
        ScalarOp::Not => {
            let one = b.ins().iconst(types::I8, 1);
            b.ins().bxor(args[0], one)
        }
        _ => return None,
    })
}

fn apply_float(
    b: &mut FunctionBuilder<'_>,
    form: Form,
    op: ScalarOp,
    repr: Repr,
    args: &[Value],
) -> Option<Value> {
    let a = args[0];
    let condition = match op {
        ScalarOp::Eq => Some(FloatCC::Equal),
        ScalarOp::Ne => Some(FloatCC::NotEqual),
        ScalarOp::Lt => Some(FloatCC::LessThan),
        ScalarOp::Le => Some(FloatCC::LessThanOrEqual),
        ScalarOp::Gt => Some(FloatCC::GreaterThan),
        ScalarOp::Ge => Some(FloatCC::GreaterThanOrEqual),
        _ => None,
    };
    if let Some(condition) = condition {
        return Some(b.ins().fcmp(condition, a, args[1]));
    }
    Some(match op {
        ScalarOp::Neg => b.ins().fneg(a),
        ScalarOp::Abs => b.ins().fabs(a),
        ScalarOp::Floor => b.ins().floor(a),
        ScalarOp::Ceil => b.ins().ceil(a),
        ScalarOp::Round => b.ins().nearest(a),
        ScalarOp::Trunc => b.ins().trunc(a),
        ScalarOp::Sqrt => b.ins().sqrt(a),
        ScalarOp::Sign => {
            let zero = float(b, form, repr, 0.0);
            let (one, minus) = (float(b, form, repr, 1.0), float(b, form, repr, -1.0));
            let above = b.ins().fcmp(FloatCC::GreaterThan, a, zero);
            let below = b.ins().fcmp(FloatCC::LessThan, a, zero);
            let rest = select(b, form, below, minus, a);
            select(b, form, above, one, rest)
        }
        ScalarOp::IsNan => b.ins().fcmp(FloatCC::Unordered, a, a),
        ScalarOp::IsInf => {
            let (magnitude, infinity) = (b.ins().fabs(a), float(b, form, repr, f64::INFINITY));
            b.ins().fcmp(FloatCC::Equal, magnitude, infinity)
        }
        ScalarOp::Add => b.ins().fadd(a, args[1]),
        ScalarOp::Sub => b.ins().fsub(a, args[1]),
        ScalarOp::Mul => b.ins().fmul(a, args[1]),
        ScalarOp::Div => b.ins().fdiv(a, args[1]),
        ScalarOp::Fma => b.ins().fma(a, args[1], args[2]),
        // The instruction for `x < y ? x : y` takes its second operand when either is NaN, so that
        // a NaN in `a` stays; one in `b` needs the second step.
        ScalarOp::Min => {
            let less = b.ins().fcmp(FloatCC::LessThan, args[1], a);
            let least = select(b, form, less, args[1], a);
            nan_of(b, form, args[1], least)
        }
        ScalarOp::Max => {
            let less = b.ins().fcmp(FloatCC::LessThan, a, args[1]);
            let greatest = select(b, form, less, args[1], a);
            nan_of(b, form, args[1], greatest)
        }
        ScalarOp::FloorDiv if repr == Repr::F64 => {
            let quotient = b.ins().fdiv(a, args[1]);
            b.ins().floor(quotient)
        }
        // The floor is that of the quotient in f64, which does not round up to a whole number.
        ScalarOp::FloorDiv if form == Form::Scalar => {
            let wide = [a, args[1]].map(|x| b.ins().fpromote(types::F64, x));
            let quotient = b.ins().fdiv(wide[0], wide[1]);
            let floor = b.ins().floor(quotient);
            b.ins().fdemote(types::F32, floor)
        }
        _ => return None,
    })
}

/// `x` if it is NaN, else `other`.
fn nan_of(b: &mut FunctionBuilder<'_>, form: Form, x: Value, other: Value) -> Value {
    if is_number(b, x) {
        return other;
    }
    let nan = b.ins().fcmp(FloatCC::Unordered, x, x);
    select(b, form, nan, x, other)
}

fn apply_int(
    b: &mut FunctionBuilder<'_>,
    form: Form,
    op: ScalarOp,
    dtype: DType,
    args: &[Value],
) -> Option<Value> {
    let signed = is_signed(dtype);
    let repr = Repr::of(dtype)?;
    let a = args[0];
    if let Some(condition) = int_condition(op, signed) {
        return Some(b.ins().icmp(condition, a, args[1]));
    }
    let value = match op {
        ScalarOp::Neg => b.ins().ineg(a),
        ScalarOp::Not => b.ins().bnot(a),
        ScalarOp::Add => b.ins().iadd(a, args[1]),
        ScalarOp::Sub => b.ins().isub(a, args[1]),
        ScalarOp::Mul => b.ins().imul(a, args[1]),
        ScalarOp::And => b.ins().band(a, args[1]),
        ScalarOp::Or => b.ins().bor(a, args[1]),
        ScalarOp::Xor => b.ins().bxor(a, args[1]),
        ScalarOp::Min | ScalarOp::Max => {
            let less = if op == ScalarOp::Min {
                ScalarOp::Lt
            } else {
                ScalarOp::Gt
            };
            let other = b.ins().icmp(int_condition(less, signed)?, args[1], a);
            return Some(select(b, form, other, args[1], a));
        }
        ScalarOp::Abs if !signed => return Some(a),
        ScalarOp::Abs => {
            let zero = int(b, form, repr, 0);
            let (below, negated) = (
                b.ins().icmp(IntCC::SignedLessThan, a, zero),
                b.ins().ineg(a),
            );
            select(b, form, below, negated, a)
        }
        ScalarOp::Sign => {
            let (zero, one) = (int(b, form, repr, 0), int(b, form, repr, 1));
            let minus = int(b, form, repr, -1);
            let is_zero = b.ins().icmp(IntCC::Equal, a, zero);
            let below = b.ins().icmp(IntCC::SignedLessThan, a, zero);
            let sign = if signed {
                select(b, form, below, minus, one)
            } else {
                one
            };
            return Some(select(b, form, is_zero, zero, sign));
        }
        ScalarOp::Div | ScalarOp::Rem | ScalarOp::FloorDiv | ScalarOp::FloorMod
            if form == Form::Scalar =>
        {
            division::apply(b, op, dtype, a, args[1])
        }
        ScalarOp::Shl | ScalarOp::Shr if form == Form::Scalar => {
            return Some(shift(b, form, op, dtype, a, args[1]));
        }
        _ => return None,
    };
    Some(wrap(b, form, dtype, value))
}

fn int_condition(op: ScalarOp, signed: bool) -> Option<IntCC> {
    Some(match (op, signed) {
        (ScalarOp::Eq, _) => IntCC::Equal,
        (ScalarOp::Ne, _) => IntCC::NotEqual,
        (ScalarOp::Lt, true) => IntCC::SignedLessThan,
        (ScalarOp::Le, true) => IntCC::SignedLessThanOrEqual,
        (ScalarOp::Gt, true) => IntCC::SignedGreaterThan,
        (ScalarOp::Ge, true) => IntCC::SignedGreaterThanOrEqual,
        (ScalarOp::Lt, false) => IntCC::UnsignedLessThan,
        (ScalarOp::Le, false) => IntCC::UnsignedLessThanOrEqual,
        (ScalarOp::Gt, false) => IntCC::UnsignedGreaterThan,
        (ScalarOp::Ge, false) => IntCC::UnsignedGreaterThanOrEqual,
        _ => return None,
    })
}

/// Shifts `a` (in `form`) by one scalar amount, which may be anything.
pub(super) fn shift(
    b: &mut FunctionBuilder<'_>,
    form: Form,
    op: ScalarOp,
    dtype: DType,
    a: Value,
    amount: Value,
) -> Value {
    let scalar = b.func.dfg.value_type(amount);
    let width = i64::from(scalar.bits());
    let (zero, last) = (constant(b, scalar, 0), constant(b, scalar, width - 1));
    if op == ScalarOp::Shr && is_signed(dtype) {
        let amount = b.ins().umin(amount, last);
        return b.ins().sshr(a, amount);
    }
    // As an unsigned number a negative amount is too great as well.
    let limit = if op == ScalarOp::Shl {
        i64::from(dtype.bits()) - 1
    } else {
        width - 1
    };
    let known = as_iconst(b, amount);
    let shifted = match op {
        ScalarOp::Shl => b.ins().ishl(a, amount),
        _ => b.ins().ushr(a, amount),
    };
    let inside = match known {
        Some(amount) if (0..=limit).contains(&amount) => shifted,
        _ => {
            let limit = constant(b, scalar, limit);
            let fits = b.ins().icmp(IntCC::UnsignedLessThanOrEqual, amount, limit);
            // All ones where the amount fits, so that the form does not matter.
            let ones = constant(b, scalar, -1);
            let mask = b.ins().select(fits, ones, zero);
            let ty = b.func.dfg.value_type(a);
            let mask = if form == Form::Vector {
                b.ins().splat(ty, mask)
            } else {
                mask
            };
            b.ins().band(shifted, mask)
        }
    };
    wrap(b, form, dtype, inside)
}

/// Reduces an integer in a register to its dtype's width.
pub(super) fn wrap(b: &mut FunctionBuilder<'_>, form: Form, dtype: DType, value: Value) -> Value {
    let bits = dtype.bits();
    if bits >= 32 {
        return value;
    }
    if is_signed(dtype) {
        let amount = b.ins().iconst(types::I32, i64::from(32 - bits));
        let up = b.ins().ishl(value, amount);
        return b.ins().sshr(up, amount);
    }
    let mask = int(b, form, Repr::I32, (1 << bits) - 1);
    b.ins().band(value, mask)
}

/// `x` where `cond`, else `y`.
pub(super) fn select(
    b: &mut FunctionBuilder<'_>,
    form: Form,
    cond: Value,
    x: Value,
    y: Value,
) -> Value {
    match form {
        Form::Scalar => b.ins().select(cond, x, y),
        Form::Vector => {
            let cond = bitcast(b, b.func.dfg.value_type(x), cond);
            b.ins().bitselect(cond, x, y)
        }
    }
}

/// The same bits as another type of the same size; nothing if it is that type.
pub(super) fn bitcast(b: &mut FunctionBuilder<'_>, ty: Type, value: Value) -> Value {
    if b.func.dfg.value_type(value) == ty {
        return value;
    }
    let flags = MemFlagsData::new().with_endianness(Endianness::Little);
    b.ins().bitcast(ty, flags, value)
}

/// An integer constant in every lane.
pub(super) fn int(b: &mut FunctionBuilder<'_>, form: Form, repr: Repr, value: i64) -> Value {
    let constant = constant(b, repr.ty(Form::Scalar), value);
    splat(b, form, repr, constant)
}

/// A scalar integer constant.
pub(super) fn constant(b: &mut FunctionBuilder<'_>, ty: Type, value: i64) -> Value {
    // The immediate is the bits of the value, zero-extended.
    let unused = 64 - ty.bits();
    b.ins()
        .iconst(ty, ((value as u64) << unused >> unused) as i64)
}

/// A float constant in every lane.
pub(super) fn float(b: &mut FunctionBuilder<'_>, form: Form, repr: Repr, value: f64) -> Value {
    let constant = match repr {
        Repr::F32 => b.ins().f32const(value as f32),
        _ => b.ins().f64const(value),
    };
    splat(b, form, repr, constant)
}

/// A scalar in every lane of one part; a scalar for scalars.
pub(super) fn splat(b: &mut FunctionBuilder<'_>, form: Form, repr: Repr, scalar: Value) -> Value {
    match (form, repr) {
        (Form::Scalar, _) => scalar,
        (Form::Vector, Repr::Bool) => {
            let wide = b.ins().uextend(types::I32, scalar);
            let mask = b.ins().ineg(wide);
            b.ins().splat(types::I32X4, mask)
        }
        (Form::Vector, _) => b.ins().splat(repr.ty(Form::Vector), scalar),
    }
}

/// Whether this is a constant float other than NaN, in one lane or in all.
fn is_number(b: &FunctionBuilder<'_>, value: Value) -> bool {
    let dfg = &b.func.dfg;
    let constant = |value: Value| Some(dfg.insts[dfg.value_def(value).inst()?]);
    match constant(value) {
        Some(InstructionData::UnaryIeee32 { imm, .. }) => !f32::from_bits(imm.bits()).is_nan(),
        Some(InstructionData::UnaryIeee64 { imm, .. }) => !f64::from_bits(imm.bits()).is_nan(),
        Some(InstructionData::Unary {
            opcode: Opcode::Splat,
            arg,
        }) => is_number(b, arg),
        _ => false,
    }
}

/// The constant behind a scalar integer value, if it is one.
pub(super) fn as_iconst(b: &FunctionBuilder<'_>, value: Value) -> Option<i64> {
    let inst = b.func.dfg.value_def(value).inst()?;
    match b.func.dfg.insts[inst] {
        InstructionData::UnaryImm {
            opcode: Opcode::Iconst,
            imm,
        } => {
            let bits: i64 = imm.into();
            let unused = 64 - b.func.dfg.value_type(value).bits();
            Some(bits << unused >> unused)
        }
        _ => None,
    }
}
