//! What is printed natively; legalization expands the rest.

use alula_tensor::{DType, DTypeClass, ScalarOp};

use super::cast;
use crate::CpuFeatures;

/// Whether `op` on operands of `dtype` (for `select`: of its last two) is printed.
pub fn is_native(op: ScalarOp, dtype: DType) -> bool {
    use ScalarOp::*;
    let class = dtype.class();
    if !op.accepts(class) {
        return false;
    }
    let narrow = class == DTypeClass::Float && !matches!(dtype, DType::F32 | DType::F64);
    match op {
        Select => true,
        _ if narrow => false,
        Neg | Abs | Sign | Floor | Ceil | Round | Trunc | Sqrt | Not | IsNan | IsInf | Add
        | Sub | Mul | Div | FloorDiv | Min | Max | And | Or | Xor | Shl | Shr | Eq | Ne | Lt
        | Le | Gt | Ge => true,
        Fma => CpuFeatures::has_fma(),
        Rem | FloorMod => class != DTypeClass::Float,
        Exp | Log | Expm1 | Log1p | Sin | Cos | Tan | Asin | Acos | Atan | Sinh | Cosh | Tanh
        | Asinh | Acosh | Atanh | Erf | Erfc | Pow => false,
    }
}

/// Whether the conversion is printed.
pub fn is_native_cast(from: DType, to: DType) -> bool {
    cast::is_native(from, to)
}

/// Whether values and buffers of this dtype are handled as they are.
pub fn is_native_storage(dtype: DType) -> bool {
    match dtype.class() {
        DTypeClass::Bool | DTypeClass::Signed | DTypeClass::Unsigned => true,
        DTypeClass::Float => dtype.size_bytes() > 1,
        DTypeClass::String => false,
    }
}
