//! Scalar operators as WGSL expressions, with the meaning of the scalar table.

use alula_tensor::{DType, Scalar, ScalarOp};

use super::cast::wrap;
use super::functions::Functions;
use super::repr::Repr;

/// What is known of an operand.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    /// The expression, of the operator's repr.
    pub(super) text: String,
    /// The value, if it is a constant.
    pub(super) constant: Option<Scalar>,
    /// Whether it is an index that is never negative.
    pub(super) natural: bool,
    /// Which value it is.
    pub(super) id: u32,
}

/// The operator on operands of one repr (for `select`: the last two). `None`: not printed.
pub(super) fn apply(
    functions: &mut Functions,
    op: ScalarOp,
    dtype: DType,
    repr: Repr,
    operands: &[Operand],
) -> Option<String> {
    let text = |k: usize| operands[k].text.as_str();
    Some(match (op, operands.len()) {
        (ScalarOp::Select, _) => format!("select({}, {}, {})", text(2), text(1), text(0)),
        (_, 1) if repr == Repr::F32 => float_unary(functions, op, text(0))?,
        (_, 1) => wrap(unary(op, repr, text(0))?, dtype, repr),
        _ if op.is_predicate() => compare(functions, op, repr, operands)?,
        _ if repr == Repr::F32 => float_binary(functions, op, text(0), text(1))?,
        _ if repr == Repr::Bool => logic(op, text(0), text(1))?,
        _ => wrap(integer(functions, op, repr, operands)?, dtype, repr),
    })
}

fn unary(op: ScalarOp, repr: Repr, a: &str) -> Option<String> {
    let (zero, one) = (repr.number(0), repr.number(1));
    Some(match op {
        ScalarOp::Not if repr == Repr::Bool => format!("!{a}"),
        ScalarOp::Not => format!("(~{a})"),
        ScalarOp::Neg => format!("({zero} - {a})"),
        ScalarOp::Abs if !repr.is_signed() => a.to_owned(),
        ScalarOp::Abs => format!("select({a}, {zero} - {a}, {a} < {zero})"),
        ScalarOp::Sign if !repr.is_signed() => format!("select({zero}, {one}, {a} != {zero})"),
        ScalarOp::Sign => {
            format!("select(select({zero}, {one}, {a} > {zero}), {zero} - {one}, {a} < {zero})")
        }
        _ => return None,
    })
}

fn float_unary(functions: &mut Functions, op: ScalarOp, a: &str) -> Option<String> {
    let name = match op {
        ScalarOp::Neg => return Some(format!("(-{a})")),
        ScalarOp::IsNan => return Some(is_nan(a)),
        ScalarOp::IsInf => {
            return Some(format!(
                "((bitcast<u32>({a}) & 0x7fffffffu) == 0x7f800000u)"
            ));
        }
        ScalarOp::Abs => "abs",
        ScalarOp::Floor => "floor",
        ScalarOp::Ceil => "ceil",
        ScalarOp::Round => "round",
        ScalarOp::Trunc => "trunc",
        ScalarOp::Sqrt => "sqrt",
        ScalarOp::Sign => "sign_f32",
        ScalarOp::Expm1 => "expm1_f32",
        ScalarOp::Log1p => "log1p_f32",
        ScalarOp::Sin => "sin_f32",
        ScalarOp::Cos => "cos_f32",
        ScalarOp::Tan => "tan_f32",
        ScalarOp::Asin => "asin_f32",
        ScalarOp::Acos => "acos_f32",
        ScalarOp::Atan => "atan_f32",
        ScalarOp::Sinh => "sinh_f32",
        ScalarOp::Cosh => "cosh_f32",
        ScalarOp::Asinh => "asinh_f32",
        ScalarOp::Acosh => "acosh_f32",
        ScalarOp::Atanh => "atanh_f32",
        _ => return None,
    };
    functions.need(name);
    Some(format!("{name}({a})"))
}

fn float_binary(functions: &mut Functions, op: ScalarOp, a: &str, b: &str) -> Option<String> {
    let name = match op {
        ScalarOp::Add => return Some(format!("({a} + {b})")),
        ScalarOp::Sub => return Some(format!("({a} - {b})")),
        ScalarOp::Mul => return Some(format!("({a} * {b})")),
        ScalarOp::Div => return Some(format!("({a} / {b})")),
        ScalarOp::Min => "min_f32",
        ScalarOp::Max => "max_f32",
        ScalarOp::FloorDiv => "floor_div_f32",
        ScalarOp::Rem => "rem_f32",
        ScalarOp::FloorMod => "floor_mod_f32",
        ScalarOp::Pow => "pow_f32",
        _ => return None,
    };
    functions.need(name);
    Some(format!("{name}({a}, {b})"))
}

fn is_nan(a: &str) -> String {
    format!("((bitcast<u32>({a}) & 0x7fffffffu) > 0x7f800000u)")
}

fn compare(
    functions: &mut Functions,
    op: ScalarOp,
    repr: Repr,
    operands: &[Operand],
) -> Option<String> {
    let (a, b) = (&operands[0], &operands[1]);
    // A comparison of a float with itself asks for NaN, and may be folded away.
    if repr == Repr::F32 && a.id == b.id {
        return Some(match op {
            ScalarOp::Eq | ScalarOp::Le | ScalarOp::Ge => format!("!{}", is_nan(&a.text)),
            ScalarOp::Ne => is_nan(&a.text),
            _ => "false".to_owned(),
        });
    }
    if repr == Repr::F32 && op == ScalarOp::Ne {
        functions.need("ne_f32");
        return Some(format!("ne_f32({}, {})", a.text, b.text));
    }
    let [a, b] = &compared(functions, repr, operands);
    let sign = match op {
        ScalarOp::Eq => "==",
        ScalarOp::Ne => "!=",
        ScalarOp::Lt => "<",
        ScalarOp::Le => "<=",
        ScalarOp::Gt => ">",
        ScalarOp::Ge => ">=",
        _ => return None,
    };
    Some(format!("({a} {sign} {b})"))
}

/// Two operands as they are compared. Drivers (Mesa 22.3 for one) compare a 32-bit integer that was
/// made 64 bits wide wrongly with constants, also with those that they find on their own: one side
/// is a number that they know nothing of.
fn compared(functions: &mut Functions, repr: Repr, operands: &[Operand]) -> [String; 2] {
    let [a, b] = [&operands[0], &operands[1]].map(|operand| operand.text.clone());
    if repr != Repr::I64 {
        return [a, b];
    }
    functions.need("opaque_i64");
    match operands[0].constant.is_some() {
        true => [a, format!("opaque_i64({b})")],
        false => [format!("opaque_i64({a})"), b],
    }
}

fn logic(op: ScalarOp, a: &str, b: &str) -> Option<String> {
    Some(match op {
        ScalarOp::And => format!("({a} && {b})"),
        ScalarOp::Or => format!("({a} || {b})"),
        ScalarOp::Xor => format!("({a} != {b})"),
        _ => return None,
    })
}

fn integer(
    functions: &mut Functions,
    op: ScalarOp,
    repr: Repr,
    operands: &[Operand],
) -> Option<String> {
    let (a, b) = (operands[0].text.as_str(), operands[1].text.as_str());
    let divisor = operands[1].constant.and_then(Scalar::as_int);
    let plain = operands[0].natural && divisor.is_some_and(|divisor| divisor > 0);
    Some(match op {
        ScalarOp::Add => format!("({a} + {b})"),
        ScalarOp::Sub => format!("({a} - {b})"),
        ScalarOp::Mul => format!("({a} * {b})"),
        ScalarOp::And => format!("({a} & {b})"),
        ScalarOp::Or => format!("({a} | {b})"),
        ScalarOp::Xor => format!("({a} ^ {b})"),
        ScalarOp::Min | ScalarOp::Max => {
            let sign = if op == ScalarOp::Min { "<" } else { ">" };
            let [x, y] = compared(functions, repr, operands);
            format!("select({a}, {b}, {y} {sign} {x})")
        }
        ScalarOp::Div | ScalarOp::FloorDiv if plain => format!("({a} / {b})"),
        ScalarOp::Rem | ScalarOp::FloorMod if plain => format!("({a} % {b})"),
        ScalarOp::Div | ScalarOp::FloorDiv | ScalarOp::Rem | ScalarOp::FloorMod => {
            let name = functions.division(op, repr);
            format!("{name}({a}, {b})")
        }
        ScalarOp::Shl | ScalarOp::Shr => return shift(op, repr, &operands[0], &operands[1]),
        _ => return None,
    })
}

/// WGSL takes shift amounts modulo the width.
fn shift(op: ScalarOp, repr: Repr, a: &Operand, b: &Operand) -> Option<String> {
    let width: u32 = if repr.is_wide() { 64 } else { 32 };
    let (value, zero) = (&a.text, repr.number(0));
    let sign = if op == ScalarOp::Shl { "<<" } else { ">>" };
    if let Some(amount) = b.constant.and_then(Scalar::as_int) {
        let last = i128::from(width) - 1;
        return Some(match (op, amount) {
            (ScalarOp::Shl, amount) if !(0..=last).contains(&amount) => zero,
            (_, amount) if amount > last && !repr.is_signed() => zero,
            (_, amount) if amount < 0 => format!("({value} {sign} {last}u)"),
            (_, amount) => format!("({value} {sign} {}u)", amount.min(last)),
        });
    }
    let (amount, greatest) = (&b.text, repr.number(width - 1));
    Some(match (op, repr.is_signed()) {
        (ScalarOp::Shl, true) => format!(
            "select({zero}, {value} << u32({amount}), {amount} >= {zero} && {amount} <= {greatest})"
        ),
        (_, false) => {
            format!("select({zero}, {value} {sign} u32({amount}), {amount} <= {greatest})")
        }
        // A negative amount is too great as an unsigned one.
        (_, true) => {
            let inside = format!("{amount} >= {zero} && {amount} <= {greatest}");
            format!("({value} >> u32(select({greatest}, {amount}, {inside})))")
        }
    })
}

/// The constant that an operator on constants gives.
pub(super) fn fold(op: ScalarOp, dtype: DType, operands: &[Operand]) -> Option<Scalar> {
    let values: Option<Vec<Scalar>> = operands.iter().map(|operand| operand.constant).collect();
    Some(op.eval(dtype, &values?))
}
