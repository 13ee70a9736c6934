//! Element types: every numeric type of ONNX (IR version 13), bool and string.

use serde::{Deserialize, Serialize};

/// An element type.
///
/// Types narrower than a byte are kept one element per byte in host tensors; only model files
/// and packed weights hold them densely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant is its own name")]
pub enum DType {
    Bool,
    I2,
    I4,
    I8,
    I16,
    I32,
    I64,
    U2,
    U4,
    U8,
    U16,
    U32,
    U64,
    F4E2M1,
    F8E4M3FN,
    F8E4M3FNUZ,
    F8E5M2,
    F8E5M2FNUZ,
    F8E8M0,
    F16,
    BF16,
    F32,
    F64,
    String,
}

/// The kind of number that a [`DType`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DTypeClass {
    /// True or false, stored as one byte 1 or 0.
    Bool,
    /// Two's complement integers.
    Signed,
    /// Unsigned integers.
    Unsigned,
    /// Floating point of any width.
    Float,
    /// UTF-8 strings; they live on the host only.
    String,
}

impl DType {
    /// Every dtype, in declaration order.
    pub const ALL: [DType; 24] = [
        DType::Bool,
        DType::I2,
        DType::I4,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U2,
        DType::U4,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::F4E2M1,
        DType::F8E4M3FN,
        DType::F8E4M3FNUZ,
        DType::F8E5M2,
        DType::F8E5M2FNUZ,
        DType::F8E8M0,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
        DType::String,
    ];

    /// The name in IR text, e.g. `f32`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::I2 => "i2",
            DType::I4 => "i4",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U2 => "u2",
            DType::U4 => "u4",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
            DType::F4E2M1 => "f4e2m1",
            DType::F8E4M3FN => "f8e4m3fn",
            DType::F8E4M3FNUZ => "f8e4m3fnuz",
            DType::F8E5M2 => "f8e5m2",
            DType::F8E5M2FNUZ => "f8e5m2fnuz",
            DType::F8E8M0 => "f8e8m0",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::String => "string",
        }
    }

    /// The dtype of that name, if there is one.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Bytes of one element in a host tensor or a device buffer; 0 for strings.
    pub const fn size_bytes(self) -> usize {
        match self {
            DType::String => 0,
            DType::I64 | DType::U64 | DType::F64 => 8,
            DType::I32 | DType::U32 | DType::F32 => 4,
            DType::I16 | DType::U16 | DType::F16 | DType::BF16 => 2,
            DType::Bool
            | DType::I2
            | DType::I4
            | DType::I8
            | DType::U2
            | DType::U4
            | DType::U8
            | DType::F4E2M1
            | DType::F8E4M3FN
            | DType::F8E4M3FNUZ
            | DType::F8E5M2
            | DType::F8E5M2FNUZ
            | DType::F8E8M0 => 1,
        }
    }

    /// Bits that carry the value: 4 for `i4`, 1 for `bool`, 0 for strings.
    pub const fn bits(self) -> u32 {
        match self {
            DType::Bool => 1,
            DType::I2 | DType::U2 => 2,
            DType::I4 | DType::U4 | DType::F4E2M1 => 4,
            other => other.size_bytes() as u32 * 8,
        }
    }

    /// The kind of number held.
    pub const fn class(self) -> DTypeClass {
        match self {
            DType::Bool => DTypeClass::Bool,
            DType::I2 | DType::I4 | DType::I8 | DType::I16 | DType::I32 | DType::I64 => {
                DTypeClass::Signed
            }
            DType::U2 | DType::U4 | DType::U8 | DType::U16 | DType::U32 | DType::U64 => {
                DTypeClass::Unsigned
            }
            DType::String => DTypeClass::String,
            DType::F4E2M1
            | DType::F8E4M3FN
            | DType::F8E4M3FNUZ
            | DType::F8E5M2
            | DType::F8E5M2FNUZ
            | DType::F8E8M0
            | DType::F16
            | DType::BF16
            | DType::F32
            | DType::F64 => DTypeClass::Float,
        }
    }

    /// Whether this is a floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(self.class(), DTypeClass::Float)
    }

    /// Whether this is a signed or unsigned integer type (bool is not).
    pub const fn is_integer(self) -> bool {
        matches!(self.class(), DTypeClass::Signed | DTypeClass::Unsigned)
    }

    /// The type in which kernels compute on values stored as `self`: narrow floats compute in
    /// `f32` and round on store; everything else computes in itself.
    pub const fn compute(self) -> DType {
        match self {
            DType::F64 => DType::F64,
            other if other.is_float() => DType::F32,
            other => other,
        }
    }

    /// Least and greatest value of an integer or bool type.
    pub const fn int_range(self) -> Option<(i128, i128)> {
        match self.class() {
            DTypeClass::Bool => Some((0, 1)),
            DTypeClass::Signed => {
                let half = 1_i128 << (self.bits() - 1);
                Some((-half, half - 1))
            }
            DTypeClass::Unsigned => Some((0, (1_i128 << self.bits()) - 1)),
            DTypeClass::Float | DTypeClass::String => None,
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for dtype in DType::ALL {
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(DType::from_name("f31"), None);
    }

    #[test]
    fn integer_ranges_follow_the_width() {
        assert_eq!(DType::I4.int_range(), Some((-8, 7)));
        assert_eq!(DType::U64.int_range(), Some((0, u64::MAX as i128)));
        assert_eq!(DType::F32.int_range(), None);
    }
}
