//! Scalar operators as instructions, with the meaning of the scalar table.
//!
//! Floating-point arithmetic names its rounding, so that no product and sum are fused.

use alula_tensor::{DType, DTypeClass, Scalar, ScalarOp};

use super::cast::wrap;
use super::printer::Printer;
use super::repr::{Repr, arithmetic};

/// What is known of an operand.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    /// Its register.
    pub(super) register: String,
    /// The value, if it is a constant.
    pub(super) constant: Option<Scalar>,
    /// Whether it is an index that is never negative.
    pub(super) natural: bool,
}

/// The operator on operands of `dtype` (for `select`: of the last two). `None`: not printed.
pub(super) fn apply(
    printer: &mut Printer,
    op: ScalarOp,
    dtype: DType,
    operands: &[Operand],
) -> Option<String> {
    let repr = Repr::of(dtype)?;
    let register = |k: usize| operands[k].register.as_str();
    match operands.len() {
        3 if op == ScalarOp::Fma => {
            let operands = format!("{}, {}, {}", register(0), register(1), register(2));
            let name = format!("fma.rn.{}", arithmetic(dtype));
            Some(printer.op(repr, &name, &operands))
        }
        3 => Some(select(printer, repr, register(0), register(1), register(2))),
        1 => unary(printer, op, dtype, repr, register(0)),
        _ if op.is_predicate() => compare(printer, op, dtype, repr, register(0), register(1)),
        _ if repr == Repr::Pred => logic(printer, op, register(0), register(1)),
        _ if dtype.is_float() => float(printer, op, dtype, repr, register(0), register(1)),
        _ => {
            let value = integer(printer, op, dtype, repr, operands)?;
            Some(wrap(printer, value, dtype))
        }
    }
}

fn select(printer: &mut Printer, repr: Repr, cond: &str, a: &str, b: &str) -> String {
    if repr != Repr::Pred {
        return printer.op(
            repr,
            &format!("selp.{}", repr.bits()),
            &format!("{a}, {b}, {cond}"),
        );
    }
    let other = printer.op(Repr::Pred, "not.pred", cond);
    let a = printer.op(Repr::Pred, "and.pred", &format!("{cond}, {a}"));
    let b = printer.op(Repr::Pred, "and.pred", &format!("{other}, {b}"));
    printer.op(Repr::Pred, "or.pred", &format!("{a}, {b}"))
}

fn unary(printer: &mut Printer, op: ScalarOp, dtype: DType, repr: Repr, a: &str) -> Option<String> {
    let ty = arithmetic(dtype);
    let name = match op {
        ScalarOp::Not if repr == Repr::Pred => "not.pred".to_owned(),
        ScalarOp::Not => format!("not.{}", repr.bits()),
        ScalarOp::Neg if dtype.is_float() => format!("neg.{ty}"),
        ScalarOp::Neg => format!("neg.s{}", &ty[1..]),
        ScalarOp::Abs if dtype.class() == DTypeClass::Unsigned => return Some(a.to_owned()),
        ScalarOp::Abs => format!("abs.{ty}"),
        ScalarOp::Sign => return Some(sign(printer, ty, repr, a)),
        ScalarOp::Floor => format!("cvt.rmi.{ty}.{ty}"),
        ScalarOp::Ceil => format!("cvt.rpi.{ty}.{ty}"),
        ScalarOp::Round => format!("cvt.rni.{ty}.{ty}"),
        ScalarOp::Trunc => format!("cvt.rzi.{ty}.{ty}"),
        ScalarOp::Sqrt => format!("sqrt.rn.{ty}"),
        ScalarOp::IsNan => {
            return Some(printer.op(Repr::Pred, &format!("setp.nan.{ty}"), &format!("{a}, {a}")));
        }
        ScalarOp::IsInf => {
            let size = printer.op(repr, &format!("abs.{ty}"), a);
            let infinity = if repr == Repr::F32 {
                "0f7F800000"
            } else {
                "0d7FF0000000000000"
            };
            let operands = format!("{size}, {infinity}");
            return Some(printer.op(Repr::Pred, &format!("setp.eq.{ty}"), &operands));
        }
        _ => return None,
    };
    let value = printer.op(repr, &name, a);
    Some(if dtype.is_integer() {
        wrap(printer, value, dtype)
    } else {
        value
    })
}

fn sign(printer: &mut Printer, ty: &str, repr: Repr, a: &str) -> String {
    if ty.starts_with('u') {
        return printer.op(repr, &format!("min.{ty}"), &format!("{a}, 1"));
    }
    let low = printer.op(repr, &format!("max.{ty}"), &format!("{a}, -1"));
    printer.op(repr, &format!("min.{ty}"), &format!("{low}, 1"))
}

fn compare(
    printer: &mut Printer,
    op: ScalarOp,
    dtype: DType,
    repr: Repr,
    a: &str,
    b: &str,
) -> Option<String> {
    if repr == Repr::Pred {
        let apart = printer.op(Repr::Pred, "xor.pred", &format!("{a}, {b}"));
        return match op {
            ScalarOp::Eq => Some(printer.op(Repr::Pred, "not.pred", &apart)),
            ScalarOp::Ne => Some(apart),
            _ => None,
        };
    }
    let name = match op {
        ScalarOp::Eq => "eq",
        // The unordered form: true with NaN.
        ScalarOp::Ne if dtype.is_float() => "neu",
        ScalarOp::Ne => "ne",
        ScalarOp::Lt => "lt",
        ScalarOp::Le => "le",
        ScalarOp::Gt => "gt",
        ScalarOp::Ge => "ge",
        _ => return None,
    };
    let ty = arithmetic(dtype);
    Some(printer.op(
        Repr::Pred,
        &format!("setp.{name}.{ty}"),
        &format!("{a}, {b}"),
    ))
}

fn logic(printer: &mut Printer, op: ScalarOp, a: &str, b: &str) -> Option<String> {
    let name = match op {
        ScalarOp::And => "and.pred",
        ScalarOp::Or => "or.pred",
        ScalarOp::Xor => "xor.pred",
        _ => return None,
    };
    Some(printer.op(Repr::Pred, name, &format!("{a}, {b}")))
}

fn float(
    printer: &mut Printer,
    op: ScalarOp,
    dtype: DType,
    repr: Repr,
    a: &str,
    b: &str,
) -> Option<String> {
    let ty = arithmetic(dtype);
    let name = match op {
        ScalarOp::Add => "add.rn",
        ScalarOp::Sub => "sub.rn",
        ScalarOp::Mul => "mul.rn",
        ScalarOp::Div => "div.rn",
        ScalarOp::Min | ScalarOp::Max => {
            let order = if op == ScalarOp::Min { "lt" } else { "gt" };
            let take = printer.op(
                Repr::Pred,
                &format!("setp.{order}.{ty}"),
                &format!("{b}, {a}"),
            );
            let nan = printer.op(Repr::Pred, &format!("setp.nan.{ty}"), &format!("{b}, {b}"));
            let take = printer.op(Repr::Pred, "or.pred", &format!("{take}, {nan}"));
            // With a NaN in a, b is taken only if it is one too.
            return Some(select(printer, repr, &take, b, a));
        }
        _ => return None,
    };
    Some(printer.op(repr, &format!("{name}.{ty}"), &format!("{a}, {b}")))
}

fn integer(
    printer: &mut Printer,
    op: ScalarOp,
    dtype: DType,
    repr: Repr,
    operands: &[Operand],
) -> Option<String> {
    let (a, b) = (operands[0].register.as_str(), operands[1].register.as_str());
    let (ty, bits) = (arithmetic(dtype), repr.bits());
    let name = match op {
        ScalarOp::Add => format!("add.{ty}"),
        ScalarOp::Sub => format!("sub.{ty}"),
        ScalarOp::Mul => format!("mul.lo.{ty}"),
        ScalarOp::Min => format!("min.{ty}"),
        ScalarOp::Max => format!("max.{ty}"),
        ScalarOp::And => format!("and.{bits}"),
        ScalarOp::Or => format!("or.{bits}"),
        ScalarOp::Xor => format!("xor.{bits}"),
        ScalarOp::Div | ScalarOp::Rem | ScalarOp::FloorDiv | ScalarOp::FloorMod => {
            let divisor = operands[1].constant.and_then(Scalar::as_int);
            let plain = operands[0].natural && divisor.is_some_and(|divisor| divisor > 0);
            return Some(divide(printer, op, ty, repr, a, b, plain));
        }
        ScalarOp::Shl | ScalarOp::Shr => return Some(shift(printer, op, ty, repr, a, b)),
        _ => return None,
    };
    Some(printer.op(repr, &name, &format!("{a}, {b}")))
}

/// Divisions by 0 give 0, and those by -1 must not overflow: both divide by 1 instead.
fn divide(
    printer: &mut Printer,
    op: ScalarOp,
    ty: &str,
    repr: Repr,
    a: &str,
    b: &str,
    plain: bool,
) -> String {
    let bits = repr.bits();
    let is_quotient = matches!(op, ScalarOp::Div | ScalarOp::FloorDiv);
    if plain {
        let name = if is_quotient { "div" } else { "rem" };
        return printer.op(repr, &format!("{name}.{ty}"), &format!("{a}, {b}"));
    }
    let signed = ty.starts_with('s');
    let is_zero = printer.op(Repr::Pred, &format!("setp.eq.{ty}"), &format!("{b}, 0"));
    let mut safe = printer.op(repr, &format!("selp.{bits}"), &format!("1, {b}, {is_zero}"));
    let mut is_minus = String::new();
    if signed {
        is_minus = printer.op(Repr::Pred, &format!("setp.eq.{ty}"), &format!("{b}, -1"));
        safe = printer.op(
            repr,
            &format!("selp.{bits}"),
            &format!("1, {safe}, {is_minus}"),
        );
    }
    let mut quotient = printer.op(repr, &format!("div.{ty}"), &format!("{a}, {safe}"));
    let floors = signed && matches!(op, ScalarOp::FloorDiv | ScalarOp::FloorMod);
    let mut rest = String::new();
    if floors || !is_quotient {
        let whole = printer.op(
            repr,
            &format!("mul.lo.{ty}"),
            &format!("{quotient}, {safe}"),
        );
        rest = printer.op(repr, &format!("sub.{ty}"), &format!("{a}, {whole}"));
    }
    if floors {
        // One lower, if something is left that has not the divisor's sign.
        let some = printer.op(Repr::Pred, &format!("setp.ne.{ty}"), &format!("{rest}, 0"));
        let signs = printer.op(repr, &format!("xor.{bits}"), &format!("{rest}, {b}"));
        let apart = printer.op(Repr::Pred, &format!("setp.lt.{ty}"), &format!("{signs}, 0"));
        let low = printer.op(Repr::Pred, "and.pred", &format!("{some}, {apart}"));
        if is_quotient {
            let step = printer.op(repr, &format!("selp.{bits}"), &format!("1, 0, {low}"));
            quotient = printer.op(repr, &format!("sub.{ty}"), &format!("{quotient}, {step}"));
        } else {
            let raised = printer.op(repr, &format!("add.{ty}"), &format!("{rest}, {b}"));
            let operands = format!("{raised}, {rest}, {low}");
            rest = printer.op(repr, &format!("selp.{bits}"), &operands);
        }
    }
    if !is_quotient {
        return rest;
    }
    if signed {
        let minus = printer.op(repr, &format!("neg.{ty}"), a);
        let operands = format!("{minus}, {quotient}, {is_minus}");
        quotient = printer.op(repr, &format!("selp.{bits}"), &operands);
    }
    printer.op(
        repr,
        &format!("selp.{bits}"),
        &format!("0, {quotient}, {is_zero}"),
    )
}

/// PTX takes amounts beyond the width as the width; amounts are 32 bits without sign.
fn shift(printer: &mut Printer, op: ScalarOp, ty: &str, repr: Repr, a: &str, b: &str) -> String {
    // As an unsigned number a negative amount is too great.
    let mut amount = b.to_owned();
    if repr == Repr::Long {
        amount = printer.op(repr, "min.u64", &format!("{amount}, 64"));
        amount = printer.op(Repr::Word, "cvt.u32.u64", &amount);
    }
    let name = match op {
        ScalarOp::Shl => format!("shl.{}", repr.bits()),
        _ => format!("shr.{ty}"),
    };
    printer.op(repr, &name, &format!("{a}, {amount}"))
}
