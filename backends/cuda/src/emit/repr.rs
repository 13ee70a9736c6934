//! What a value is in PTX.

use alula_tensor::{DType, DTypeClass, MiniFloat, Scalar};

/// The kind of register that holds a value. Integers narrower than 32 bits are kept extended by
/// their own sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Repr {
    /// A predicate.
    Pred,
    /// An `f16`.
    Half,
    /// An integer of at most 32 bits.
    Word,
    /// An integer of 64 bits.
    Long,
    F32,
    F64,
}

impl Repr {
    pub(super) const ALL: [Repr; 6] = [
        Repr::Pred,
        Repr::Half,
        Repr::Word,
        Repr::Long,
        Repr::F32,
        Repr::F64,
    ];

    pub(super) fn of(dtype: DType) -> Option<Repr> {
        Some(match (dtype, dtype.class()) {
            (DType::F16, _) => Repr::Half,
            (DType::F32, _) => Repr::F32,
            (DType::F64, _) => Repr::F64,
            (_, DTypeClass::Bool) => Repr::Pred,
            (DType::I64 | DType::U64, _) => Repr::Long,
            (_, DTypeClass::Signed | DTypeClass::Unsigned) => Repr::Word,
            (_, DTypeClass::Float | DTypeClass::String) => return None,
        })
    }

    /// The prefix of register names.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Repr::Pred => "%p",
            Repr::Half => "%h",
            Repr::Word => "%r",
            Repr::Long => "%d",
            Repr::F32 => "%f",
            Repr::F64 => "%g",
        }
    }

    /// The type without a sign, as registers are declared, moved and selected.
    pub(super) const fn bits(self) -> &'static str {
        match self {
            Repr::Pred => "pred",
            Repr::Half => "b16",
            Repr::Word => "b32",
            Repr::Long => "b64",
            Repr::F32 => "f32",
            Repr::F64 => "f64",
        }
    }
}

/// The type of arithmetic on values of a dtype.
pub(super) fn arithmetic(dtype: DType) -> &'static str {
    let signed = dtype.class() == DTypeClass::Signed;
    match (Repr::of(dtype), signed) {
        (Some(Repr::Long), true) => "s64",
        (Some(Repr::Long), false) => "u64",
        (Some(Repr::F32), _) => "f32",
        (Some(Repr::F64), _) => "f64",
        (Some(Repr::Half), _) => "f16",
        (_, true) => "s32",
        (_, false) => "u32",
    }
}

/// The type of loads and stores.
pub(super) fn memory(dtype: DType) -> &'static str {
    match (dtype.size_bytes(), dtype.class()) {
        (1, DTypeClass::Signed) => "s8",
        (1, _) => "u8",
        (2, DTypeClass::Signed) => "s16",
        (2, DTypeClass::Float) => "b16",
        (2, _) => "u16",
        _ => arithmetic(dtype),
    }
}

/// A constant as an operand of `mov`; bools are written otherwise.
pub(super) fn literal(value: Scalar, dtype: DType) -> String {
    match (value, dtype) {
        (Scalar::Float(value), DType::F64) => format!("0d{:016X}", value.to_bits()),
        (Scalar::Float(value), DType::F16) => {
            let code = MiniFloat::of(dtype).map_or(0, |format| format.encode(value, false));
            format!("{code:#06x}")
        }
        (Scalar::Float(value), _) => format!("0f{:08X}", (value as f32).to_bits()),
        (Scalar::Int(value), DType::U64) => format!("{:#x}", value as u64),
        (Scalar::Int(value), DType::U32) => format!("{:#x}", value as u32),
        (Scalar::Int(value), _) if value == i128::from(i64::MIN) => "0x8000000000000000".to_owned(),
        (Scalar::Int(value), _) => value.to_string(),
    }
}
