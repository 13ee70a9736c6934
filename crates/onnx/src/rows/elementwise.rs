//! Operators on single elements: arithmetic, logic, comparisons, activations, conversions.

use alula_ir::{Attrs, OpDef, ValueId};
use alula_ops::elementwise::bits::BIT_CAST;
use alula_ops::elementwise::{activation, arithmetic, choice};
use alula_ops::host_ops::{STRING_EQUAL, STRING_FORMAT, STRING_PARSE};
use alula_tensor::DType;

use super::legacy::{BROADCAST, CONSUMING, aligned};
use super::{Built, Row, RowCtx, RowError, exponent, row};

/// A row that applies one operator to all inputs.
macro_rules! direct {
    ($op_type:literal, $versions:expr, $op:path) => {
        row($op_type, $versions, &[], |ctx| {
            let inputs = ctx.all_inputs()?;
            Ok(vec![ctx.push(&$op, &inputs, Attrs::new())?])
        })
    };
}

/// A row of two inputs that broadcast, before version 7 as attributes say.
macro_rules! binary {
    ($op_type:literal, $versions:expr, $op:path, $attrs:expr) => {
        row($op_type, $versions, $attrs, |ctx| {
            let operands = aligned(ctx)?;
            Ok(vec![ctx.push(&$op, &operands, Attrs::new())?])
        })
    };
}

/// A row of one input whose float attributes have the operator's names; absent ones are given.
macro_rules! activation {
    ($op_type:literal, $versions:expr, $op:path, $($name:literal = $default:expr),+) => {
        row($op_type, $versions, &[$($name),+], |ctx| {
            let x = ctx.input(0)?;
            let attrs = Attrs::new()$(.with($name, ctx.float_or($name, $default)))+;
            Ok(vec![ctx.push(&$op, &[x], attrs)?])
        })
    };
}

/// A row that combines any number of inputs pairwise.
macro_rules! variadic {
    ($op_type:literal, $versions:expr, $op:path) => {
        row($op_type, $versions, &[], |ctx| {
            Ok(vec![combine(ctx, &$op)?])
        })
    };
}

/// Unary operators whose later versions only widened the dtypes.
const SINCE_6: &[i64] = &[1, 6, 13];

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    binary!("Add", &[1, 6, 7, 13, 14], arithmetic::ADD, CONSUMING),
    binary!("Sub", &[1, 6, 7, 13, 14], arithmetic::SUB, CONSUMING),
    binary!("Mul", &[1, 6, 7, 13, 14], arithmetic::MUL, CONSUMING),
    binary!("Div", &[1, 6, 7, 13, 14], arithmetic::DIV, CONSUMING),
    row("Pow", &[1, 7, 12, 13, 15], BROADCAST, pow),
    row("Mod", &[10, 13, 28], &["fmod"], modulo),
    binary!("And", &[1, 7], arithmetic::AND, BROADCAST),
    binary!("Or", &[1, 7], arithmetic::OR, BROADCAST),
    binary!("Xor", &[1, 7], arithmetic::XOR, BROADCAST),
    direct!("Not", &[1], arithmetic::NOT),
    row("BitShift", &[11, 28], &["direction"], bit_shift),
    direct!("BitwiseAnd", &[18], arithmetic::AND),
    direct!("BitwiseOr", &[18], arithmetic::OR),
    direct!("BitwiseXor", &[18], arithmetic::XOR),
    direct!("BitwiseNot", &[18], arithmetic::NOT),
    row("Equal", &[1, 7, 11, 13, 19], BROADCAST, equal),
    binary!("Greater", &[1, 7, 9, 13], arithmetic::GT, BROADCAST),
    direct!("GreaterOrEqual", &[12, 16], arithmetic::GE),
    binary!("Less", &[1, 7, 9, 13], arithmetic::LT, BROADCAST),
    direct!("LessOrEqual", &[12, 16], arithmetic::LE),
    direct!("Neg", SINCE_6, arithmetic::NEG),
    direct!("Abs", SINCE_6, arithmetic::ABS),
    direct!("Sign", &[9, 13], arithmetic::SIGN),
    direct!("Ceil", SINCE_6, arithmetic::CEIL),
    direct!("Floor", SINCE_6, arithmetic::FLOOR),
    direct!("Round", &[11, 22], arithmetic::ROUND),
    direct!("Sqrt", SINCE_6, arithmetic::SQRT),
    row("Reciprocal", SINCE_6, &[], reciprocal),
    direct!("Exp", SINCE_6, arithmetic::EXP),
    direct!("Log", SINCE_6, arithmetic::LOG),
    direct!("Erf", &[9, 13], arithmetic::ERF),
    direct!("Sin", &[7, 22], arithmetic::SIN),
    direct!("Cos", &[7, 22], arithmetic::COS),
    direct!("Tan", &[7, 22], arithmetic::TAN),
    direct!("Asin", &[7, 22], arithmetic::ASIN),
    direct!("Acos", &[7, 22], arithmetic::ACOS),
    direct!("Atan", &[7, 22], arithmetic::ATAN),
    direct!("Sinh", &[9, 22], arithmetic::SINH),
    direct!("Cosh", &[9, 22], arithmetic::COSH),
    direct!("Tanh", SINCE_6, arithmetic::TANH),
    direct!("Asinh", &[9, 22], arithmetic::ASINH),
    direct!("Acosh", &[9, 22], arithmetic::ACOSH),
    direct!("Atanh", &[9, 22], arithmetic::ATANH),
    direct!("IsNaN", &[9, 13, 20], arithmetic::IS_NAN),
    direct!("Relu", &[1, 6, 13, 14], activation::RELU),
    direct!("Sigmoid", SINCE_6, activation::SIGMOID),
    direct!("HardSwish", &[14, 22], activation::HARD_SWISH),
    direct!("Softplus", &[1, 22], activation::SOFTPLUS),
    direct!("Softsign", &[1, 22], activation::SOFTSIGN),
    direct!("Mish", &[18, 22], activation::MISH),
    row("PRelu", &[1, 6, 7, 9, 16], &["consumed_inputs"], prelu),
    direct!("Where", &[9, 16], choice::SELECT),
    row("Gelu", &[20], &["approximate"], gelu),
    activation!(
        "LeakyRelu",
        &[1, 6, 16],
        activation::LEAKY_RELU,
        "alpha" = 0.01
    ),
    activation!("Elu", &[1, 6, 22], activation::ELU, "alpha" = 1.0),
    activation!("Celu", &[12, 28], activation::CELU, "alpha" = 1.0),
    activation!(
        "ThresholdedRelu",
        &[10, 22],
        activation::THRESHOLDED_RELU,
        "alpha" = 1.0
    ),
    activation!("Swish", &[24], activation::SILU, "alpha" = 1.0),
    activation!(
        "Selu",
        &[6, 22],
        activation::SELU,
        "alpha" = 1.673_263_192_176_818_8,
        "gamma" = 1.050_701_022_148_132_3
    ),
    activation!(
        "HardSigmoid",
        &[1, 6, 22],
        activation::HARD_SIGMOID,
        "alpha" = 0.2,
        "beta" = 0.5
    ),
    activation!(
        "Shrink",
        &[9],
        activation::SHRINK,
        "bias" = 0.0,
        "lambd" = 0.5
    ),
    variadic!("Max", &[1, 6, 8, 12, 13], arithmetic::MAX),
    variadic!("Min", &[1, 6, 8, 12, 13], arithmetic::MIN),
    variadic!("Sum", &[1, 6, 8, 13], arithmetic::ADD),
    row("Mean", &[1, 6, 8, 13], &[], mean),
    row("Clip", &[1, 6, 11, 12, 13], &["min", "max"], clip),
    row(
        "Cast",
        &[6, 9, 13, 19, 21, 23, 24, 25, 28],
        &["to", "saturate", "round_mode"],
        cast,
    ),
    row(
        "CastLike",
        &[15, 19, 21, 23, 24, 25],
        &["saturate", "round_mode"],
        cast_like,
    ),
    row(
        "IsInf",
        &[10, 20],
        &["detect_negative", "detect_positive"],
        is_inf,
    ),
    row("BitCast", &[26], &["to"], |ctx| {
        let x = ctx.input(0)?;
        let to = ctx.dtype("to")?;
        let to = to.ok_or_else(|| RowError::Invalid("attribute to is absent".to_owned()))?;
        if ctx.ty(x)?.dtype == to {
            return Ok(vec![x]);
        }
        let attrs = Attrs::new().with("to", to);
        Ok(vec![ctx.push(&BIT_CAST, &[x], attrs)?])
    }),
];

fn combine(ctx: &mut RowCtx<'_, '_>, op: &'static OpDef) -> Result<ValueId, RowError> {
    let inputs = ctx.all_inputs()?;
    let (&first, rest) = inputs
        .split_first()
        .ok_or_else(|| RowError::Invalid("there is no input".to_owned()))?;
    let mut sum = first;
    for &next in rest {
        sum = ctx.push(op, &[sum, next], Attrs::new())?;
    }
    Ok(sum)
}

fn mean(ctx: &mut RowCtx<'_, '_>) -> Built {
    let sum = combine(ctx, &arithmetic::ADD)?;
    let dtype = ctx.ty(sum)?.dtype;
    let count = ctx.scalar(dtype, ctx.num_inputs() as f64)?;
    Ok(vec![ctx.push(
        &arithmetic::DIV,
        &[sum, count],
        Attrs::new(),
    )?])
}

fn convert(ctx: &mut RowCtx<'_, '_>, value: ValueId, to: DType) -> Result<ValueId, RowError> {
    if ctx.ty(value)?.dtype == to {
        return Ok(value);
    }
    ctx.push(&choice::CAST, &[value], Attrs::new().with("to", to))
}

/// Base and exponent may differ in dtype; the result has that of the base.
fn pow(ctx: &mut RowCtx<'_, '_>) -> Built {
    let [base, exponent] = aligned(ctx)?;
    let (dtype, power) = (ctx.ty(base)?.dtype, ctx.ty(exponent)?.dtype);
    // An integer to a power that is no integer is computed with floats.
    let common = if dtype.is_integer() && power.is_float() {
        DType::F64
    } else {
        dtype
    };
    let base = convert(ctx, base, common)?;
    let exponent = convert(ctx, exponent, common)?;
    let result = ctx.push(&arithmetic::POW, &[base, exponent], Attrs::new())?;
    Ok(vec![convert(ctx, result, dtype)?])
}

fn equal(ctx: &mut RowCtx<'_, '_>) -> Built {
    let operands = aligned(ctx)?;
    let op = match ctx.ty(operands[0])?.dtype {
        DType::String => &STRING_EQUAL,
        _ => &arithmetic::EQ,
    };
    Ok(vec![ctx.push(op, &operands, Attrs::new())?])
}

/// Before version 7, a slope of one axis is that of the channels.
fn prelu(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, mut slope) = (ctx.input(0)?, ctx.input(1)?);
    let (rank, given) = (ctx.rank(x)?, ctx.ty(slope)?);
    if ctx.version < 7 && given.rank() == 1 && rank > 2 && !given.shape[0].is(1) {
        let mut shape = given.shape;
        shape.resize(rank - 1, alula_tensor::Dim::new(1));
        slope = ctx.view(slope, shape)?;
    }
    Ok(vec![ctx.push(&choice::PRELU, &[x, slope], Attrs::new())?])
}

fn modulo(ctx: &mut RowCtx<'_, '_>) -> Built {
    let inputs = ctx.all_inputs()?;
    let op = if ctx.flag("fmod", false) {
        &arithmetic::REM
    } else {
        &arithmetic::FLOORMOD
    };
    Ok(vec![ctx.push(op, &inputs, Attrs::new())?])
}

fn bit_shift(ctx: &mut RowCtx<'_, '_>) -> Built {
    let inputs = ctx.all_inputs()?;
    let op = match ctx.str_or("direction", "").as_str() {
        "LEFT" => &arithmetic::SHL,
        "RIGHT" => &arithmetic::SHR,
        other => return Err(RowError::Invalid(format!("direction {other:?}"))),
    };
    Ok(vec![ctx.push(op, &inputs, Attrs::new())?])
}

fn reciprocal(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let dtype = ctx.ty(x)?.dtype;
    let one = ctx.scalar(dtype, 1.0)?;
    Ok(vec![ctx.push(&arithmetic::DIV, &[one, x], Attrs::new())?])
}

fn gelu(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let tanh = match ctx.str_or("approximate", "none").as_str() {
        "none" => false,
        "tanh" => true,
        other => return Err(RowError::Invalid(format!("approximate {other:?}"))),
    };
    Ok(vec![ctx.push(
        &activation::GELU,
        &[x],
        Attrs::new().with("tanh", tanh),
    )?])
}

/// Bounds are attributes up to opset 10, inputs from 11 on.
fn clip(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let dtype = ctx.ty(x)?.dtype;
    let (low, high) = if ctx.version < 11 {
        let mut bound = |name: &str| {
            ctx.float(name)
                .map(|value| ctx.scalar(dtype, value))
                .transpose()
        };
        (bound("min")?, bound("max")?)
    } else {
        (ctx.optional(1), ctx.optional(2))
    };
    ctx.push_all(&choice::CLIP, &[Some(x), low, high], Attrs::new())
}

fn cast(ctx: &mut RowCtx<'_, '_>) -> Built {
    let to = ctx.dtype("to")?;
    let to = to.ok_or_else(|| RowError::Invalid("attribute to is absent".to_owned()))?;
    cast_to(ctx, to)
}

fn cast_like(ctx: &mut RowCtx<'_, '_>) -> Built {
    let like = ctx.input(1)?;
    let to = ctx.ty(like)?.dtype;
    cast_to(ctx, to)
}

fn cast_to(ctx: &mut RowCtx<'_, '_>, to: DType) -> Built {
    let x = ctx.input(0)?;
    if ctx.ty(x)?.dtype == to {
        return Ok(vec![x]);
    }
    let x = match (ctx.ty(x)?.dtype, to) {
        // By way of a float, whose exponent is taken.
        (DType::String, DType::F8E8M0) => parsed(ctx, x, DType::F32)?,
        (DType::String, to) => return Ok(vec![parsed(ctx, x, to)?]),
        (_, DType::String) => return Ok(vec![ctx.op(&STRING_FORMAT, &[x])?]),
        _ => x,
    };
    if to == DType::F8E8M0 {
        return Ok(vec![exponent::cast(ctx, x)?]);
    }
    let attrs = Attrs::new()
        .with("to", to)
        .with("saturate", ctx.flag("saturate", true));
    Ok(vec![ctx.push(&choice::CAST, &[x], attrs)?])
}

/// The numbers that strings spell.
fn parsed(ctx: &mut RowCtx<'_, '_>, x: ValueId, to: DType) -> Result<ValueId, RowError> {
    ctx.push(&STRING_PARSE, &[x], Attrs::new().with("to", to))
}

fn is_inf(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let attrs = Attrs::new()
        .with("negative", ctx.flag("detect_negative", true))
        .with("positive", ctx.flag("detect_positive", true));
    Ok(vec![ctx.push(&choice::IS_INF, &[x], attrs)?])
}
