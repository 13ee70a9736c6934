//! Single numbers, and the closed table of scalar operators that kernels are made of.

use serde::{Deserialize, Serialize};

use crate::{DType, DTypeClass, MiniFloat};

/// One element's value. Floats are exact for every dtype; integers and bools are exact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    /// A value of a floating-point dtype.
    Float(f64),
    /// A value of an integer or bool dtype.
    Int(i128),
}

impl Scalar {
    /// Reads one element from its bytes (little-endian).
    pub fn load(dtype: DType, bytes: &[u8]) -> Scalar {
        let mut word = [0_u8; 8];
        let size = dtype.size_bytes();
        word[..size].copy_from_slice(&bytes[..size]);
        let bits = u64::from_le_bytes(word);
        match dtype.class() {
            DTypeClass::Bool => Scalar::Int(i128::from(bits != 0)),
            DTypeClass::Unsigned | DTypeClass::String => Scalar::Int(i128::from(bits)),
            DTypeClass::Signed => {
                let shift = 64 - 8 * size as u32;
                Scalar::Int(i128::from(((bits << shift) as i64) >> shift))
            }
            DTypeClass::Float => Scalar::Float(match MiniFloat::of(dtype) {
                Some(format) => format.decode(bits as u32),
                None if dtype == DType::F32 => f64::from(f32::from_bits(bits as u32)),
                None => f64::from_bits(bits),
            }),
        }
    }

    /// Writes the value as one element; it must already be representable (see [`Scalar::cast`]).
    pub fn store(self, dtype: DType, bytes: &mut [u8]) {
        let bits = match (self, MiniFloat::of(dtype)) {
            (Scalar::Float(value), Some(format)) => u64::from(format.encode(value, false)),
            (Scalar::Float(value), None) if dtype == DType::F32 => {
                u64::from((value as f32).to_bits())
            }
            (Scalar::Float(value), None) => value.to_bits(),
            (Scalar::Int(value), _) => value as u64,
        };
        let size = dtype.size_bytes();
        bytes[..size].copy_from_slice(&bits.to_le_bytes()[..size]);
    }

    /// The value in `dtype`, by the rules of the `cast` operator: floats round to nearest even and
    /// overflow to infinity (NaN where there is none); float to integer truncates, saturates, and
    /// takes NaN to 0; integer to integer wraps; anything to bool is `!= 0`.
    pub fn cast(self, dtype: DType) -> Scalar {
        match (self, dtype.class()) {
            (Scalar::Float(value), DTypeClass::Float) => Scalar::Float(round_to(value, dtype)),
            (Scalar::Int(value), DTypeClass::Float) => Scalar::Float(match dtype {
                DType::F32 => f64::from(value as f32),
                _ => round_to(value as f64, dtype),
            }),
            (_, DTypeClass::Bool) => Scalar::Int(i128::from(self.is_true())),
            (Scalar::Float(value), _) => {
                let (least, greatest) = dtype.int_range().unwrap_or((0, 0));
                Scalar::Int((value as i128).clamp(least, greatest))
            }
            (Scalar::Int(value), _) => Scalar::Int(wrap(value, dtype)),
        }
    }

    /// The value as `f64`; integers beyond 53 bits round.
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Float(value) => value,
            Scalar::Int(value) => value as f64,
        }
    }

    /// The integer, if this is one.
    pub fn as_int(self) -> Option<i128> {
        match self {
            Scalar::Float(_) => None,
            Scalar::Int(value) => Some(value),
        }
    }

    /// Whether the value is not zero. NaN is true.
    pub fn is_true(self) -> bool {
        match self {
            Scalar::Float(value) => value != 0.0,
            Scalar::Int(value) => value != 0,
        }
    }
}

/// Rounds to the nearest value of a float dtype.
pub(crate) fn round_to(value: f64, dtype: DType) -> f64 {
    match MiniFloat::of(dtype) {
        Some(format) => format.decode(format.encode(value, false)),
        None if dtype == DType::F32 => f64::from(value as f32),
        None => value,
    }
}

/// Reduces an integer modulo two to the width of its dtype.
pub(crate) fn wrap(value: i128, dtype: DType) -> i128 {
    match dtype.class() {
        DTypeClass::Signed => {
            let shift = 128 - dtype.bits();
            (value << shift) >> shift
        }
        DTypeClass::Unsigned => value & ((1_i128 << dtype.bits()) - 1),
        DTypeClass::Bool => i128::from(value != 0),
        DTypeClass::Float | DTypeClass::String => value,
    }
}

/// The scalar operators. Operands and result share one dtype unless a line says otherwise.
///
/// Meaning is fixed here, in [`ScalarOp::eval`], because targets differ: NaN propagates through
/// everything but comparisons, `select` and `is_nan`; integers wrap; integer division by zero
/// gives 0 and remainder by zero gives 0; shifts by the width or more give 0 (or the sign).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "documented by `ScalarOp::summary`, which the docs print"
)]
pub enum ScalarOp {
    Neg,
    Abs,
    Sign,
    Floor,
    Ceil,
    Round,
    Trunc,
    Sqrt,
    Exp,
    Log,
    Expm1,
    Log1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    Erfc,
    Not,
    IsNan,
    IsInf,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    FloorDiv,
    FloorMod,
    Pow,
    Min,
    Max,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Fma,
    Select,
}

impl ScalarOp {
    /// Every operator, in declaration order.
    pub const ALL: [ScalarOp; 52] = {
        use ScalarOp::*;
        [
            Neg, Abs, Sign, Floor, Ceil, Round, Trunc, Sqrt, Exp, Log, Expm1, Log1p, Sin, Cos, Tan,
            Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Erf, Erfc, Not, IsNan, IsInf,
            Add, Sub, Mul, Div, Rem, FloorDiv, FloorMod, Pow, Min, Max, And, Or, Xor, Shl, Shr, Eq,
            Ne, Lt, Le, Gt, Ge, Fma, Select,
        ]
    };

    /// The name in kernel text.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// One line on the meaning.
    pub const fn summary(self) -> &'static str {
        self.row().1
    }

    /// Number of operands.
    pub const fn arity(self) -> usize {
        use ScalarOp::*;
        match self {
            Neg | Abs | Sign | Floor | Ceil | Round | Trunc | Sqrt | Exp | Log | Expm1 | Log1p
            | Sin | Cos | Tan | Asin | Acos | Atan | Sinh | Cosh | Tanh | Asinh | Acosh | Atanh
            | Erf | Erfc | Not | IsNan | IsInf => 1,
            Add | Sub | Mul | Div | Rem | FloorDiv | FloorMod | Pow | Min | Max | And | Or
            | Xor | Shl | Shr | Eq | Ne | Lt | Le | Gt | Ge => 2,
            Fma | Select => 3,
        }
    }

    /// The first operand that is of the operator's dtype: `select` begins with a bool.
    pub const fn first_typed(self) -> usize {
        matches!(self, ScalarOp::Select) as usize
    }

    /// The operator of that name, if there is one.
    pub fn from_name(name: &str) -> Option<ScalarOp> {
        ScalarOp::ALL.into_iter().find(|op| op.name() == name)
    }

    /// Whether the result is bool whatever the operands are.
    pub const fn is_predicate(self) -> bool {
        use ScalarOp::*;
        matches!(self, IsNan | IsInf | Eq | Ne | Lt | Le | Gt | Ge)
    }

    /// Whether operands may be exchanged.
    pub const fn is_commutative(self) -> bool {
        use ScalarOp::*;
        matches!(self, Add | Mul | Min | Max | And | Or | Xor | Eq | Ne)
    }

    /// Whether the operator is defined on this dtype class.
    pub const fn accepts(self, class: DTypeClass) -> bool {
        use ScalarOp::*;
        match self {
            Floor | Ceil | Round | Trunc | Sqrt | Exp | Log | Expm1 | Log1p | Sin | Cos | Tan
            | Asin | Acos | Atan | Sinh | Cosh | Tanh | Asinh | Acosh | Atanh | Erf | Erfc
            | IsNan | IsInf | Fma => matches!(class, DTypeClass::Float),
            Not | And | Or | Xor => !matches!(class, DTypeClass::Float | DTypeClass::String),
            Shl | Shr => matches!(class, DTypeClass::Signed | DTypeClass::Unsigned),
            Eq | Ne | Select => !matches!(class, DTypeClass::String),
            Neg | Abs | Sign | Add | Sub | Mul | Div | Rem | FloorDiv | FloorMod | Pow | Min
            | Max | Lt | Le | Gt | Ge => !matches!(class, DTypeClass::Bool | DTypeClass::String),
        }
    }

    /// The dtype of the result for operands of `dtype` (for `select`: of its last operands).
    pub const fn result(self, dtype: DType) -> DType {
        if self.is_predicate() {
            DType::Bool
        } else {
            dtype
        }
    }

    const fn row(self) -> (&'static str, &'static str) {
        match self {
            ScalarOp::Neg => ("neg", "-a"),
            ScalarOp::Abs => ("abs", "|a|; the least integer wraps to itself"),
            ScalarOp::Sign => ("sign", "-1, 0 or 1; keeps -0 and NaN"),
            ScalarOp::Floor => ("floor", "greatest integer not above a"),
            ScalarOp::Ceil => ("ceil", "least integer not below a"),
            ScalarOp::Round => ("round", "nearest integer, ties to even"),
            ScalarOp::Trunc => ("trunc", "a without its fraction"),
            ScalarOp::Sqrt => ("sqrt", "square root, correctly rounded"),
            ScalarOp::Exp => ("exp", "e^a"),
            ScalarOp::Log => ("log", "natural logarithm"),
            ScalarOp::Expm1 => ("expm1", "e^a - 1 without cancellation"),
            ScalarOp::Log1p => ("log1p", "log(1 + a) without cancellation"),
            ScalarOp::Sin => ("sin", "sine of radians"),
            ScalarOp::Cos => ("cos", "cosine of radians"),
            ScalarOp::Tan => ("tan", "tangent of radians"),
            ScalarOp::Asin => ("asin", "arc sine"),
            ScalarOp::Acos => ("acos", "arc cosine"),
            ScalarOp::Atan => ("atan", "arc tangent"),
            ScalarOp::Sinh => ("sinh", "hyperbolic sine"),
            ScalarOp::Cosh => ("cosh", "hyperbolic cosine"),
            ScalarOp::Tanh => ("tanh", "hyperbolic tangent"),
            ScalarOp::Asinh => ("asinh", "inverse hyperbolic sine"),
            ScalarOp::Acosh => ("acosh", "inverse hyperbolic cosine"),
            ScalarOp::Atanh => ("atanh", "inverse hyperbolic tangent"),
            ScalarOp::Erf => ("erf", "error function"),
            ScalarOp::Erfc => ("erfc", "1 - erf(a) without cancellation"),
            ScalarOp::Not => ("not", "logical not of a bool, all bits of an integer"),
            ScalarOp::IsNan => ("is_nan", "whether a is NaN; result bool"),
            ScalarOp::IsInf => ("is_inf", "whether a is an infinity; result bool"),
            ScalarOp::Add => ("add", "a + b"),
            ScalarOp::Sub => ("sub", "a - b"),
            ScalarOp::Mul => ("mul", "a * b"),
            ScalarOp::Div => ("div", "a / b; integers truncate towards zero, x / 0 = 0"),
            ScalarOp::Rem => (
                "rem",
                "remainder of div, sign of a; x rem 0 = 0 for integers",
            ),
            ScalarOp::FloorDiv => ("floordiv", "a / b rounded down; x / 0 = 0 for integers"),
            ScalarOp::FloorMod => ("floormod", "remainder of floordiv, sign of b"),
            ScalarOp::Pow => (
                "pow",
                "a to the power b; negative integer powers round to zero",
            ),
            ScalarOp::Min => ("min", "the lesser; NaN if either is"),
            ScalarOp::Max => ("max", "the greater; NaN if either is"),
            ScalarOp::And => ("and", "logical or bitwise and"),
            ScalarOp::Or => ("or", "logical or bitwise or"),
            ScalarOp::Xor => ("xor", "logical or bitwise exclusive or"),
            ScalarOp::Shl => ("shl", "a * 2^b, wrapping; 0 if b < 0"),
            ScalarOp::Shr => (
                "shr",
                "a shifted right, all of it if b < 0; signed types keep the sign",
            ),
            ScalarOp::Eq => ("eq", "a = b; false with NaN; result bool"),
            ScalarOp::Ne => ("ne", "not eq; result bool"),
            ScalarOp::Lt => ("lt", "a < b; false with NaN; result bool"),
            ScalarOp::Le => ("le", "a <= b; false with NaN; result bool"),
            ScalarOp::Gt => ("gt", "a > b; false with NaN; result bool"),
            ScalarOp::Ge => ("ge", "a >= b; false with NaN; result bool"),
            ScalarOp::Fma => ("fma", "a * b + c, rounded once"),
            ScalarOp::Select => ("select", "b if the bool a, else c"),
        }
    }
}

impl std::fmt::Display for ScalarOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
