//! How values of each dtype live in registers.
//!
//! - Integers narrower than 32 bits live in 32-bit registers and are kept *normalised*: equal to
//!   their mathematical value as a signed 32-bit integer.
//! - Floats narrower than 32 bits are their raw bits, zero-extended to 32.
//! - A bool is an `i8` of 0 or 1 as a scalar, and a 32-bit lane of all zeros or ones in a vector.
//! - Four lanes of a 32-bit value are one vector; four lanes of a 64-bit value are two.

use alula_tensor::{DType, DTypeClass};
use cranelift_codegen::ir::{Type, types};

/// Lanes that are handled together.
pub(super) const QUAD: u32 = 4;

/// A register class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repr {
    Bool,
    I32,
    I64,
    F32,
    F64,
}

/// One value, or four lanes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Scalar,
    Vector,
}

impl Repr {
    /// The class that holds a dtype; `None` for strings.
    pub(super) fn of(dtype: DType) -> Option<Repr> {
        Some(match dtype {
            DType::Bool => Repr::Bool,
            DType::F32 => Repr::F32,
            DType::F64 => Repr::F64,
            DType::I64 | DType::U64 => Repr::I64,
            DType::String => return None,
            _ => Repr::I32,
        })
    }

    /// Vectors that hold four lanes.
    pub(super) const fn parts(self) -> usize {
        match self {
            Repr::Bool | Repr::I32 | Repr::F32 => 1,
            Repr::I64 | Repr::F64 => 2,
        }
    }

    /// The type of one part.
    pub(super) const fn ty(self, form: Form) -> Type {
        match (form, self) {
            (Form::Scalar, Repr::Bool) => types::I8,
            (Form::Scalar, Repr::I32) => types::I32,
            (Form::Scalar, Repr::I64) => types::I64,
            (Form::Scalar, Repr::F32) => types::F32,
            (Form::Scalar, Repr::F64) => types::F64,
            (Form::Vector, Repr::Bool | Repr::I32) => types::I32X4,
            (Form::Vector, Repr::I64) => types::I64X2,
            (Form::Vector, Repr::F32) => types::F32X4,
            (Form::Vector, Repr::F64) => types::F64X2,
        }
    }
}

/// Whether values compare, extend and shift as signed.
pub(super) const fn is_signed(dtype: DType) -> bool {
    matches!(dtype.class(), DTypeClass::Signed)
}
