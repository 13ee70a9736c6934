//! Conversions between reprs and dtypes.

use alula_tensor::{DType, DTypeClass};

use super::functions::Functions;
use super::repr::{Repr, literal};

/// A value of another repr with the same bits as far as they reach: between integers only.
pub(super) fn resize(value: &str, from: Repr, to: Repr) -> String {
    use Repr::{I32, I64, U32, U64};
    match (from, to) {
        _ if from == to => value.to_owned(),
        (I32, U32) | (U32, I32) | (I64, U64) | (U64, I64) => {
            format!("bitcast<{}>({value})", to.name())
        }
        (I32, I64) | (U32, U64) | (I64, I32) | (U64, U32) => format!("{}({value})", to.name()),
        (I32, U64) => format!("bitcast<u64>(i64({value}))"),
        (U32, I64) => format!("bitcast<i64>(u64({value}))"),
        (I64, U32) => format!("bitcast<u32>(i32({value}))"),
        (U64, I32) => format!("bitcast<i32>(u32({value}))"),
        _ => format!("{}({value})", to.name()),
    }
}

/// Integers reduced to the width of their dtype.
pub(super) fn wrap(value: String, dtype: DType, repr: Repr) -> String {
    match (dtype.class(), dtype.bits()) {
        (DTypeClass::Signed, bits @ ..32) => format!("extractBits({value}, 0u, {bits}u)"),
        (DTypeClass::Unsigned, bits @ ..32) => {
            format!("({value} & {})", literal(mask(bits), repr))
        }
        _ => value,
    }
}

fn mask(bits: u32) -> alula_tensor::Scalar {
    alula_tensor::Scalar::Int((1 << bits) - 1)
}

/// A conversion as [`alula_tensor::Scalar::cast`] defines it.
pub(super) fn cast(
    functions: &mut Functions,
    value: &str,
    (from, from_repr): (DType, Repr),
    (to, to_repr): (DType, Repr),
) -> String {
    match (from_repr, to_repr) {
        (Repr::Bool, Repr::Bool) | (Repr::F32, Repr::F32) => value.to_owned(),
        // The magnitude's bits, so that no comparison flushes a subnormal.
        (Repr::F32, Repr::Bool) => format!("((bitcast<u32>({value}) & 0x7fffffffu) != 0u)"),
        (_, Repr::Bool) => format!("({value} != {})", from_repr.number(0)),
        (Repr::Bool, _) => {
            format!(
                "select({}, {}, {value})",
                to_repr.number(0),
                to_repr.number(1)
            )
        }
        (_, Repr::F32) => format!("f32({value})"),
        (Repr::F32, _) => {
            let name = match to_repr {
                Repr::I32 => "f32_to_i32",
                Repr::U32 => "f32_to_u32",
                Repr::I64 => "f32_to_i64",
                _ => "f32_to_u64",
            };
            functions.need(name);
            let whole = format!("{name}({value})");
            match to.int_range() {
                Some((least, greatest)) if to.bits() < 32 => {
                    let (least, greatest) = (
                        literal(alula_tensor::Scalar::Int(least), to_repr),
                        literal(alula_tensor::Scalar::Int(greatest), to_repr),
                    );
                    format!("clamp({whole}, {least}, {greatest})")
                }
                _ => whole,
            }
        }
        _ => {
            let resized = resize(value, from_repr, to_repr);
            let fits = match (from.int_range(), to.int_range()) {
                (Some(a), Some(b)) => a.0 >= b.0 && a.1 <= b.1,
                _ => false,
            };
            if fits {
                resized
            } else {
                wrap(resized, to, to_repr)
            }
        }
    }
}

/// The same bits as another dtype of the same size.
pub(super) fn bitcast(value: &str, from: Repr, (to, to_repr): (DType, Repr)) -> String {
    match (from, to_repr) {
        (Repr::F32, _) | (_, Repr::F32) => format!("bitcast<{}>({value})", to_repr.name()),
        _ => wrap(resize(value, from, to_repr), to, to_repr),
    }
}
