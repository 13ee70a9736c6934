//! What a value is in WGSL.

use alula_tensor::{DType, DTypeClass, Scalar};

/// The WGSL type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repr {
    Bool,
    I32,
    U32,
    I64,
    U64,
    F32,
}

impl Repr {
    /// The type of values of a dtype; an `i64` that is no index is `wide`.
    pub(super) fn of(dtype: DType, wide: bool) -> Option<Repr> {
        Some(match (dtype, dtype.class()) {
            (DType::I64, _) => {
                if wide {
                    Repr::I64
                } else {
                    Repr::I32
                }
            }
            (DType::U64, _) => Repr::U64,
            (DType::F32, _) => Repr::F32,
            (_, DTypeClass::Bool) => Repr::Bool,
            (_, DTypeClass::Signed) => Repr::I32,
            (_, DTypeClass::Unsigned) => Repr::U32,
            (_, DTypeClass::Float | DTypeClass::String) => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Repr::Bool => "bool",
            Repr::I32 => "i32",
            Repr::U32 => "u32",
            Repr::I64 => "i64",
            Repr::U64 => "u64",
            Repr::F32 => "f32",
        }
    }

    pub(super) const fn is_signed(self) -> bool {
        matches!(self, Repr::I32 | Repr::I64)
    }

    pub(super) const fn is_wide(self) -> bool {
        matches!(self, Repr::I64 | Repr::U64)
    }

    /// A small number of this type, not a bool.
    pub(super) fn number(self, value: u32) -> String {
        match self {
            Repr::Bool => (value != 0).to_string(),
            Repr::I32 => format!("{value}i"),
            Repr::U32 => format!("{value}u"),
            Repr::I64 => format!("{value}li"),
            Repr::U64 => format!("{value}lu"),
            Repr::F32 => format!("{value}.0f"),
        }
    }
}

/// A constant as an expression. Infinities and NaN are no constants in WGSL: their bits are joined
/// with a zero that is known only when the shader runs.
pub(super) fn literal(value: Scalar, repr: Repr) -> String {
    match (value, repr) {
        (Scalar::Float(value), _) => float(value as f32),
        (Scalar::Int(value), Repr::Bool) => (value != 0).to_string(),
        (Scalar::Int(value), Repr::F32) => float(value as f32),
        (Scalar::Int(value), Repr::U32) => format!("{value}u"),
        (Scalar::Int(value), Repr::U64) => format!("{value}lu"),
        (Scalar::Int(value), Repr::I32) => match value {
            0.. => format!("{value}i"),
            _ if value == i128::from(i32::MIN) => "(-2147483647i - 1i)".to_owned(),
            _ => format!("({value}i)"),
        },
        (Scalar::Int(value), Repr::I64) => match value {
            0.. => format!("{value}li"),
            _ if value == i128::from(i64::MIN) => "(-9223372036854775807li - 1li)".to_owned(),
            _ => format!("({value}li)"),
        },
    }
}

fn float(value: f32) -> String {
    if !value.is_finite() {
        return format!("bitcast<f32>({:#010x}u | zero)", value.to_bits());
    }
    if value == 0.0 && value.is_sign_negative() {
        return "bitcast<f32>(0x80000000u | zero)".to_owned();
    }
    if value < 0.0 {
        format!("({value:?}f)")
    } else {
        format!("{value:?}f")
    }
}
