//! Rust types that are the elements of a dtype.

use crate::DType;

/// A plain Rust type that holds one element of [`Element::DTYPE`].
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The dtype whose elements have this layout.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),* $(,)?) => {
        $(impl Element for $rust { const DTYPE: DType = DType::$dtype; })*
    };
}

elements! {
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    half::f16 => F16, half::bf16 => BF16, f32 => F32, f64 => F64,
}
