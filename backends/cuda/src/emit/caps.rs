//! What is printed natively; legalization expands the rest.

use alula_tensor::{DType, DTypeClass, ScalarOp};

/// Whether `op` on operands of `dtype` (for `select`: of its last two) is printed.
pub fn is_native(op: ScalarOp, dtype: DType) -> bool {
    use ScalarOp::*;
    if !op.accepts(dtype.class()) || !is_stored(dtype) {
        return false;
    }
    let is_float = dtype.is_float();
    match op {
        Select => true,
        _ if dtype == DType::F16 => false,
        Neg | Abs | Floor | Ceil | Round | Trunc | Sqrt | Not | IsNan | IsInf | Add | Sub | Mul
        | Div | Min | Max | And | Or | Xor | Shl | Shr | Eq | Ne | Lt | Le | Gt | Ge | Fma => true,
        Sign | Rem | FloorDiv | FloorMod => !is_float,
        Exp | Log | Expm1 | Log1p | Sin | Cos | Tan | Asin | Acos | Atan | Sinh | Cosh | Tanh
        | Asinh | Acosh | Atanh | Erf | Erfc | Pow => false,
    }
}

/// Whether the conversion is printed.
pub fn is_native_cast(from: DType, to: DType) -> bool {
    is_stored(from) && is_stored(to)
}

/// Whether values, parameters and locals may have this dtype. Narrow floats other than `f16` are
/// carried as unsigned integers: their instructions need newer devices than sm_75.
pub fn is_stored(dtype: DType) -> bool {
    match dtype.class() {
        DTypeClass::Bool | DTypeClass::Signed | DTypeClass::Unsigned => true,
        DTypeClass::Float => matches!(dtype, DType::F16 | DType::F32 | DType::F64),
        DTypeClass::String => false,
    }
}
