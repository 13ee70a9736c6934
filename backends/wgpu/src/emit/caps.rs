//! What is printed natively; legalization expands the rest.

use alula_tensor::{DType, DTypeClass, ScalarOp};

/// Whether `op` on operands of `dtype` (for `select`: of its last two) is printed.
///
/// Functions of `f32` are WGSL's only where they are exact; the others are functions of this back
/// end, in `f32` throughout, because few adapters have 64-bit floats.
pub fn is_native(op: ScalarOp, dtype: DType) -> bool {
    use ScalarOp::*;
    if !op.accepts(dtype.class()) || !is_stored(dtype) {
        return false;
    }
    match op {
        // Expanded in `f32` by legalization, or by squaring for integers.
        Exp | Log | Tanh | Erf | Erfc => false,
        Pow => dtype.is_float(),
        Neg | Abs | Sign | Floor | Ceil | Round | Trunc | Sqrt | Expm1 | Log1p | Sin | Cos
        | Tan | Asin | Acos | Atan | Sinh | Cosh | Asinh | Acosh | Atanh | Not | IsNan | IsInf
        | Add | Sub | Mul | Div | Rem | FloorDiv | FloorMod | Min | Max | And | Or | Xor | Shl
        | Shr | Eq | Ne | Lt | Le | Gt | Ge | Select => true,
        // WGSL's may round the product.
        Fma => false,
    }
}

/// Whether the conversion is printed.
pub fn is_native_cast(from: DType, to: DType) -> bool {
    is_stored(from) && is_stored(to)
}

/// Whether values, parameters and locals may have this dtype. 64-bit integers beyond indices need
/// an adapter that has them. Narrow floats are carried as unsigned integers; `f64` is refused.
pub fn is_stored(dtype: DType) -> bool {
    match dtype.class() {
        DTypeClass::Bool | DTypeClass::Signed | DTypeClass::Unsigned => true,
        DTypeClass::Float => dtype == DType::F32,
        DTypeClass::String => false,
    }
}
