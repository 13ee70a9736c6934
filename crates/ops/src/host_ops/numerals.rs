//! Numbers as text and back. They run on the host.

use alula_ir::{AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferError, Inferred, Lowering};
use alula_ir::{Attrs, OpDef};
use alula_program::HostFn;
use alula_tensor::{DType, Scalar, Tensor};

use crate::elementwise::choice::{number, text};
use crate::shape::PLAIN;

/// Most digits after the point.
const DIGITS_MAX: i64 = 64;

/// Numbers as text.
pub static STRING_FORMAT: OpDef = OpDef {
    name: "string_format",
    summary: "each number as text: the shortest decimal that reads back (NaN, INF, -INF; True, \
              False), or with `digits` after the point (nan, inf, -inf)",
    operands: &["x"],
    attrs: &[AttrSpec::optional(
        "digits",
        AttrKind::Int,
        "digits after the point of a float, always so many",
    )],
    traits: PLAIN,
    infer: |ctx| {
        let x = ctx.tensor(0)?;
        if x.dtype == DType::String {
            return Err(InferError::BadDType {
                operand: 0,
                given: x.to_string(),
                wanted: "numbers".to_owned(),
            });
        }
        if ctx.attrs.has("digits") && digits(ctx.attrs).is_none() {
            return Err(InferError::BadAttr {
                name: "digits".to_owned(),
                reason: format!("is not between 0 and {DIGITS_MAX}"),
            });
        }
        Ok(vec![Inferred::tensor(DType::String, x.shape.clone())])
    },
    eval: eval_format,
    lowering: Lowering::Host(|ctx| {
        Ok(HostFn::StringFormat {
            digits: digits(ctx.attrs),
        })
    }),
    examples: &[
        "graph @e(%x: f32[2, N]) { %y = string_format %x return y: %y }",
        "graph @e(%x: f64[3]) { %y = string_format %x return y: %y }",
        "graph @e(%x: f32[3]) { %y = string_format %x {digits = 2} return y: %y }",
        "graph @e(%x: i8[3], %b: bool[2]) {
           %y = string_format %x %z = string_format %b return y: %y, z: %z }",
        "graph @e() {
           %x = const f32[4] [nan, inf, -inf, -0.0]
           %y = string_format %x %z = string_format %x {digits = 1} return y: %y, z: %z }",
    ],
};

fn digits(attrs: &Attrs) -> Option<usize> {
    let digits = attrs.has("digits").then(|| attrs.int("digits"))?;
    let digits = Some(digits).filter(|digits| *digits <= DIGITS_MAX)?;
    usize::try_from(digits).ok()
}

fn eval_format(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let fixed = |value: Scalar| match (value, digits(ctx.attrs)) {
        (Scalar::Float(value), Some(_)) if !value.is_finite() => {
            let word = if value.is_nan() { "nan" } else { "inf" };
            format!("{}{word}", if value < 0.0 { "-" } else { "" })
        }
        (Scalar::Float(value), Some(digits)) => format!("{value:.digits$}"),
        (value, _) => text(value, x.dtype()),
    };
    let strings = x.to_scalars().into_iter().map(fixed).collect();
    Ok(vec![Tensor::from_strings(x.shape(), strings)?.into()])
}

/// Text as numbers.
pub static STRING_PARSE: OpDef = OpDef {
    name: "string_parse",
    summary: "the number that each string spells in decimal, with an exponent or not, or as NaN or \
              INF in any case; to integers as a cast of it; what spells none fails the run",
    operands: &["x"],
    attrs: &[AttrSpec::required(
        "to",
        AttrKind::DType,
        "dtype of the result",
    )],
    traits: PLAIN,
    infer: |ctx| {
        let (x, to) = (ctx.tensor(0)?, ctx.attrs.dtype("to"));
        if x.dtype != DType::String {
            return Err(InferError::BadDType {
                operand: 0,
                given: x.to_string(),
                wanted: "strings".to_owned(),
            });
        }
        if to == DType::String {
            return Err(InferError::BadAttr {
                name: "to".to_owned(),
                reason: "is no dtype of numbers".to_owned(),
            });
        }
        Ok(vec![Inferred::tensor(to, x.shape.clone())])
    },
    eval: |ctx| {
        let (x, to) = (ctx.tensor(0)?, ctx.attrs.dtype("to"));
        let strings = x.strings().unwrap_or_default().iter();
        let values = strings.map(|text| number(text, to));
        let values = values.collect::<Result<Vec<Scalar>, _>>()?;
        Ok(vec![ctx.result(to, x.shape(), &values)?])
    },
    lowering: Lowering::Host(|ctx| {
        Ok(HostFn::StringParse {
            to: ctx.attrs.dtype("to"),
        })
    }),
    examples: &[
        "graph @e() {
           %x = const string[5] [\"1.5\", \" -2e3 \", \"NaN\", \"-inf\", \"0.1\"]
           %y = string_parse %x {to = f32} %z = string_parse %x {to = f64}
           return y: %y, z: %z }",
        "graph @e() {
           %x = const string[1, 3] [\"12\", \"-7\", \"3.9\"]
           %y = string_parse %x {to = i64} %z = string_parse %x {to = u8}
           %b = string_parse %x {to = bool} return y: %y, z: %z, b: %b }",
    ],
};
