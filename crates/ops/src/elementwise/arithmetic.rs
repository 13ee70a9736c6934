//! Operators that are one scalar operator: `add`, `exp`, `less`, ...
//!
//! The lowering applies the scalar operator in the operands' compute dtype. The reference calls
//! [`ScalarOp::eval`] on elements in the *stored* dtype's compute type, without any expression.

use alula_ir::{
    EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError, Lowering,
    OpDef, Traits,
};
use alula_kernel::Compute;
use alula_tensor::{DType, Dim, ScalarOp};

use super::{infer_broadcast, map_elements};
use crate::extent::at_least;

/// Infers a scalar operator's result, and its elements where all are known dims.
pub(crate) fn infer(op: ScalarOp, ctx: &InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let first = ctx.tensor(0)?;
    if !op.accepts(first.dtype.class()) {
        return Err(InferError::BadDType {
            operand: 0,
            given: first.to_string(),
            wanted: format!("a dtype that {op} is defined on"),
        });
    }
    let inferred = infer_broadcast(ctx, |dtype| op.result(dtype))?;
    Ok(vec![inferred.with_content(content(op, ctx))])
}

/// Shape arithmetic on known dims: exact, so only where integers cannot wrap in practice.
fn content(op: ScalarOp, ctx: &InferCtx<'_>) -> Option<Vec<Dim>> {
    let a = ctx.content(0)?;
    let is_bool = ctx.tensor(0).ok()?.dtype == DType::Bool;
    let one = Dim::new(1);
    let combine: fn(&Dim, &Dim) -> Dim = match op {
        // Truth values are 0 and 1.
        ScalarOp::Not if is_bool => {
            return Some(a.iter().map(|dim| one.clone() - dim.clone()).collect());
        }
        ScalarOp::And if is_bool => |a, b| a.clone() * b.clone(),
        ScalarOp::Or if is_bool => |a, b| a.clone() + b.clone() - a.clone() * b.clone(),
        ScalarOp::Neg => return Some(a.iter().map(|dim| -dim.clone()).collect()),
        ScalarOp::Add => |a, b| a.clone() + b.clone(),
        ScalarOp::Sub => |a, b| a.clone() - b.clone(),
        ScalarOp::Mul => |a, b| a.clone() * b.clone(),
        ScalarOp::Max => Dim::maximum,
        ScalarOp::Min => Dim::minimum,
        // Extents are not negative, so truncation and floor agree unless a constant is negative.
        ScalarOp::Div | ScalarOp::FloorDiv => Dim::floor_div,
        ScalarOp::FloorMod => Dim::modulo,
        ScalarOp::Eq | ScalarOp::Ne | ScalarOp::Lt | ScalarOp::Le | ScalarOp::Gt | ScalarOp::Ge => {
            return compared(op, a, ctx.content(1)?, paired(ctx)?);
        }
        _ => return None,
    };
    let b = ctx.content(1)?;
    let count = paired(ctx)?;
    let is_division = matches!(op, ScalarOp::Div | ScalarOp::FloorDiv | ScalarOp::FloorMod);
    let positive = |dim: &Dim| dim.as_const().is_none_or(|value| value > 0);
    let negative = |dim: &Dim| dim.as_const().is_some_and(|value| value < 0);
    let truncates = op == ScalarOp::Div;
    if is_division && !b.iter().all(positive) || truncates && a.iter().any(negative) {
        return None;
    }
    Some(
        (0..count)
            .map(|k| combine(&a[k % a.len()], &b[k % b.len()]))
            .collect(),
    )
}

/// Number of elements that two known contents make together: those of equal shapes pair up, and
/// one element goes with each of the other's.
fn paired(ctx: &InferCtx<'_>) -> Option<usize> {
    let (a, b) = (ctx.content(0)?.len(), ctx.content(1)?.len());
    let same = ctx.tensor(0).ok()?.shape == ctx.tensor(1).ok()?.shape;
    match (a, b) {
        (n, _) if same => Some(n),
        (1, n) | (n, 1) => Some(n),
        _ => None,
    }
}

/// Which comparisons of dims hold, if that is decided for all: models choose extents by comparing
/// shape vectors to -1, and branches by comparing ranks.
fn compared(op: ScalarOp, a: &[Dim], b: &[Dim], count: usize) -> Option<Vec<Dim>> {
    let one = Dim::new(1);
    let equal = |a: &Dim, b: &Dim| match (a.clone() - b.clone()).as_const() {
        Some(value) => Some(value == 0),
        None if at_least(a, &(b.clone() + one.clone())) => Some(false),
        None if at_least(b, &(a.clone() + one.clone())) => Some(false),
        None => None,
    };
    let less = |a: &Dim, b: &Dim| {
        if at_least(b, &(a.clone() + one.clone())) {
            Some(true)
        } else {
            at_least(a, b).then_some(false)
        }
    };
    let decide = |k: usize| {
        let (a, b) = (&a[k % a.len()], &b[k % b.len()]);
        let holds = match op {
            ScalarOp::Eq => equal(a, b),
            ScalarOp::Ne => equal(a, b).map(|holds| !holds),
            ScalarOp::Lt => less(a, b),
            ScalarOp::Ge => less(a, b).map(|holds| !holds),
            ScalarOp::Gt => less(b, a),
            ScalarOp::Le => less(b, a).map(|holds| !holds),
            _ => None,
        };
        holds.map(|holds| Dim::new(i64::from(holds)))
    };
    (0..count).map(decide).collect()
}

pub(crate) fn eval(op: ScalarOp, ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let dtype = ctx.tensor(ctx.operands.len() - 1)?.dtype();
    map_elements(ctx, op.result(dtype), |operands| {
        op.eval(dtype.compute(), operands)
    })
}

pub(crate) fn lower(op: ScalarOp, ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let result = ctx.result(0);
    let mut compute = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let operands: Vec<_> = (0..ctx.operands.len())
        .map(|k| compute.load_broadcast(k))
        .collect();
    let value = compute.pool.apply(op, &operands);
    Ok(vec![compute.finish(value)])
}

macro_rules! rows {
    ($($constant:ident $name:literal $op:ident $operands:expr, $example:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: see [`ScalarOp::", stringify!($op), "`].")]
            pub static $constant: OpDef = OpDef {
                name: $name,
                summary: ScalarOp::$op.summary(),
                operands: $operands,
                attrs: &[],
                traits: Traits {
                    commutative: ScalarOp::$op.is_commutative(),
                    elementwise: true,
                    random: false,
                    control_flow: false,
                },
                infer: |ctx| infer(ScalarOp::$op, ctx),
                eval: |ctx| eval(ScalarOp::$op, ctx),
                lowering: Lowering::Compute(|ctx| lower(ScalarOp::$op, ctx)),
                examples: &[$example],
            };
        )*
        /// The family's rows.
        pub const ROWS: &[&OpDef] = &[$(&$constant),*];
    };
}

const ONE: &[&str] = &["a"];
const TWO: &[&str] = &["a", "b"];
const THREE: &[&str] = &["a", "b", "c"];

rows! {
    NEG "neg" Neg ONE, "graph @e(%x: f32[2, 3]) { %y = neg %x return y: %y }";
    ABS "abs" Abs ONE, "graph @e(%x: f32[2, 3]) { %y = abs %x return y: %y }";
    SIGN "sign" Sign ONE, "graph @e(%x: f32[2, 3]) { %y = sign %x return y: %y }";
    FLOOR "floor" Floor ONE, "graph @e(%x: f32[2, 3]) { %y = floor %x return y: %y }";
    CEIL "ceil" Ceil ONE, "graph @e(%x: f32[2, 3]) { %y = ceil %x return y: %y }";
    ROUND "round" Round ONE, "graph @e(%x: f32[2, 3]) { %y = round %x return y: %y }";
    TRUNC "trunc" Trunc ONE, "graph @e(%x: f32[2, 3]) { %y = trunc %x return y: %y }";
    SQRT "sqrt" Sqrt ONE, "graph @e(%x: f32[2, 3]) { %a = abs %x %y = sqrt %a return y: %y }";
    EXP "exp" Exp ONE, "graph @e(%x: f32[2, 3]) { %y = exp %x return y: %y }";
    LOG "log" Log ONE, "graph @e(%x: f32[2, 3]) { %a = abs %x %y = log %a return y: %y }";
    EXPM1 "expm1" Expm1 ONE, "graph @e(%x: f32[2, 3]) { %y = expm1 %x return y: %y }";
    LOG1P "log1p" Log1p ONE, "graph @e(%x: f32[2, 3]) { %a = abs %x %y = log1p %a return y: %y }";
    SIN "sin" Sin ONE, "graph @e(%x: f32[2, 3]) { %y = sin %x return y: %y }";
    COS "cos" Cos ONE, "graph @e(%x: f32[2, 3]) { %y = cos %x return y: %y }";
    TAN "tan" Tan ONE, "graph @e(%x: f32[2, 3]) { %y = tan %x return y: %y }";
    ASIN "asin" Asin ONE, "graph @e(%x: f32[2, 3]) { %s = sin %x %y = asin %s return y: %y }";
    ACOS "acos" Acos ONE, "graph @e(%x: f32[2, 3]) { %s = sin %x %y = acos %s return y: %y }";
    ATAN "atan" Atan ONE, "graph @e(%x: f32[2, 3]) { %y = atan %x return y: %y }";
    SINH "sinh" Sinh ONE, "graph @e(%x: f32[2, 3]) { %y = sinh %x return y: %y }";
    COSH "cosh" Cosh ONE, "graph @e(%x: f32[2, 3]) { %y = cosh %x return y: %y }";
    TANH "tanh" Tanh ONE, "graph @e(%x: f32[2, 3]) { %y = tanh %x return y: %y }";
    ASINH "asinh" Asinh ONE, "graph @e(%x: f32[2, 3]) { %y = asinh %x return y: %y }";
    ACOSH "acosh" Acosh ONE, "graph @e(%x: f32[2, 3]) { %c = cosh %x %y = acosh %c return y: %y }";
    ATANH "atanh" Atanh ONE, "graph @e(%x: f32[2, 3]) { %t = tanh %x %y = atanh %t return y: %y }";
    ERF "erf" Erf ONE, "graph @e(%x: f32[2, 3]) { %y = erf %x return y: %y }";
    NOT "not" Not ONE, "graph @e(%x: bool[2, 3]) { %y = not %x return y: %y }";
    IS_NAN "is_nan" IsNan ONE, "graph @e(%x: f32[2, 3]) { %y = is_nan %x return y: %y }";
    ADD "add" Add TWO, "graph @e(%x: f32[2, 3], %b: f32[3]) { %y = add %x, %b return y: %y }";
    SUB "sub" Sub TWO, "graph @e(%x: f32[2, 1], %b: f32[3]) { %y = sub %x, %b return y: %y }";
    MUL "mul" Mul TWO, "graph @e(%x: f16[2, 3], %b: f16[3]) { %y = mul %x, %b return y: %y }";
    DIV "div" Div TWO, "graph @e(%x: f32[2, 3], %b: f32[]) { %y = div %x, %b return y: %y }";
    REM "rem" Rem TWO, "graph @e(%x: i32[2, 3], %b: i32[3]) { %y = rem %x, %b return y: %y }";
    FLOORMOD "floormod" FloorMod TWO,
        "graph @e(%x: i32[2, 3], %b: i32[3]) { %y = floormod %x, %b return y: %y }";
    POW "pow" Pow TWO,
        "graph @e(%x: f32[2, 3], %b: f32[3]) { %a = abs %x %y = pow %a, %b return y: %y }";
    MIN "min" Min TWO, "graph @e(%x: f32[2, 3], %b: f32[3]) { %y = min %x, %b return y: %y }";
    MAX "max" Max TWO, "graph @e(%x: i64[2, 3], %b: i64[3]) { %y = max %x, %b return y: %y }";
    AND "and" And TWO, "graph @e(%x: bool[2, 3], %b: bool[3]) { %y = and %x, %b return y: %y }";
    OR "or" Or TWO, "graph @e(%x: u8[2, 3], %b: u8[3]) { %y = or %x, %b return y: %y }";
    XOR "xor" Xor TWO, "graph @e(%x: i32[2, 3], %b: i32[3]) { %y = xor %x, %b return y: %y }";
    SHL "shl" Shl TWO, "graph @e(%x: u32[2, 3], %b: u32[3]) { %y = shl %x, %b return y: %y }";
    SHR "shr" Shr TWO, "graph @e(%x: u32[2, 3], %b: u32[3]) { %y = shr %x, %b return y: %y }";
    EQ "eq" Eq TWO, "graph @e(%x: i32[2, 3], %b: i32[3]) { %y = eq %x, %b return y: %y }";
    NE "ne" Ne TWO, "graph @e(%x: i32[2, 3], %b: i32[3]) { %y = ne %x, %b return y: %y }";
    LT "lt" Lt TWO, "graph @e(%x: f32[2, 3], %b: f32[3]) { %y = lt %x, %b return y: %y }";
    LE "le" Le TWO, "graph @e(%x: f32[2, 3], %b: f32[3]) { %y = le %x, %b return y: %y }";
    GT "gt" Gt TWO, "graph @e(%x: f32[2, 3], %b: f32[3]) { %y = gt %x, %b return y: %y }";
    GE "ge" Ge TWO, "graph @e(%x: f32[2, 3], %b: f32[3]) { %y = ge %x, %b return y: %y }";
    FMA "fma" Fma THREE,
        "graph @e(%x: f32[2, 3], %b: f32[3], %c: f32[2, 1]) { %y = fma %x, %b, %c return y: %y }";
}
