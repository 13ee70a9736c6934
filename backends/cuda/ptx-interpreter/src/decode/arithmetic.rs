//! Integer, float and half-precision arithmetic, logic and bit operations.

use super::{Decoded, exactly};
use crate::body::Body;
use crate::error::ParseError;
use crate::float::{self, Format};
use crate::integer::{self, IntFn};
use crate::modifiers::Modifiers;
use crate::operand::Operand;
use crate::program::{Fit, Op, Reg};
use crate::stats::Class;
use crate::types::Type;

pub(super) fn decode(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let ty = m.ty()?;
    match ty {
        Type::F32 | Type::F64 if m.mnemonic == "copysign" => copysign(body, m, ty, operands),
        Type::F32 | Type::F64 => full(body, m, ty, operands),
        Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 => half(body, m, ty, operands),
        _ => integer(body, m, ty, operands),
    }
}

/// How many sources a mnemonic takes.
fn arity(mnemonic: &str) -> usize {
    match mnemonic {
        "mad" | "mad24" | "fma" => 3,
        "add" | "sub" | "mul" | "mul24" | "div" | "rem" | "min" | "max" => 2,
        _ => 1,
    }
}

/// A destination and sources that all have type `ty`; missing sources repeat the first.
fn same_typed(
    body: &mut Body,
    m: &Modifiers,
    ty: Type,
    operands: &[Operand],
) -> Result<(Reg, [Reg; 3]), ParseError> {
    let count = arity(m.mnemonic);
    if operands.len() != count + 1 {
        let message = format!("takes {} operands, {} given", count + 1, operands.len());
        return Err(m.error(message));
    }
    let first = body.source(&operands[1], ty)?;
    let mut sources = [first; 3];
    for (source, operand) in sources.iter_mut().zip(&operands[1..]).skip(1) {
        *source = body.source(operand, ty)?;
    }
    Ok((body.target(&operands[0], ty)?, sources))
}

/// Modifiers that select an evaluation, checked per mnemonic: rounding or `.approx`.
fn evaluation(m: &mut Modifiers, ty: Type) -> Result<(), ParseError> {
    for word in ["rz", "rm", "rp"] {
        if m.flag(word) {
            return Err(m.error(format!("rounding `.{word}` is not supported")));
        }
    }
    match m.mnemonic {
        "fma" | "mad" => m.expect("rn"),
        "add" | "sub" | "mul" => {
            m.flag("rn");
            Ok(())
        }
        "div" if ty == Type::F32 => m.require(&[("rn", ()), ("approx", ()), ("full", ())]),
        "div" => m.expect("rn"),
        "rcp" | "sqrt" => m.require(&[("rn", ()), ("approx", ())]),
        "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => m.expect("approx"),
        _ => Ok(()),
    }
}

fn class(mnemonic: &str) -> Class {
    match mnemonic {
        "div" | "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => Class::Special,
        _ => Class::Float,
    }
}

fn full(body: &mut Body, m: &mut Modifiers, ty: Type, operands: &[Operand]) -> Decoded {
    evaluation(m, ty)?;
    let (d, [a, b, c]) = same_typed(body, m, ty, operands)?;
    let unknown = || m.error(format!("has no {ty} form"));
    if ty == Type::F64 {
        let f = float::f64_function(m.mnemonic).ok_or_else(unknown)?;
        return Ok((Op::F64 { f, d, a, b, c }, class(m.mnemonic)));
    }
    let ftz = m.flag("ftz");
    let sat = matches!(m.mnemonic, "add" | "sub" | "mul" | "fma" | "mad") && m.flag("sat");
    let nan = matches!(m.mnemonic, "min" | "max") && m.flag("NaN");
    let f =
        float::f32_function(m.mnemonic, nan).ok_or_else(|| m.error(format!("has no {ty} form")))?;
    Ok((
        Op::F32 {
            f,
            ftz,
            sat,
            d,
            a,
            b,
            c,
        },
        class(m.mnemonic),
    ))
}

fn half(body: &mut Body, m: &mut Modifiers, ty: Type, operands: &[Operand]) -> Decoded {
    evaluation(m, ty)?;
    let bf16 = matches!(ty, Type::Bf16 | Type::Bf16x2);
    // Flushing matters for f16 only in its subnormal range, which a kernel here never relies on.
    if m.flag("ftz") && !(bf16 && m.mnemonic == "ex2") {
        return Err(m.error("`.ftz` is not supported for half precision"));
    }
    let nan = matches!(m.mnemonic, "min" | "max") && m.flag("NaN");
    let fit = if m.mnemonic == "fma" && m.flag("relu") {
        Fit::Relu
    } else if !bf16 && matches!(m.mnemonic, "add" | "sub" | "mul" | "fma") && m.flag("sat") {
        Fit::Sat
    } else {
        Fit::Plain
    };
    let format = Format::of(ty).ok_or_else(|| m.error("is not a float type"))?;
    let f = float::half_function(m.mnemonic, nan)
        .ok_or_else(|| m.error(format!("has no {ty} form")))?;
    let packed = matches!(ty, Type::F16x2 | Type::Bf16x2);
    let (d, [a, b, c]) = same_typed(body, m, ty, operands)?;
    Ok((
        Op::Half {
            f,
            format,
            packed,
            fit,
            d,
            a,
            b,
            c,
        },
        class(m.mnemonic),
    ))
}

fn copysign(body: &mut Body, m: &Modifiers, ty: Type, operands: &[Operand]) -> Decoded {
    let [d, a, b] = exactly(m, operands)?;
    let (a, b) = (body.source(a, ty)?, body.source(b, ty)?);
    let d = body.target(d, ty)?;
    // The first operand gives the sign, the second the magnitude.
    let f: IntFn = if ty == Type::F32 {
        |a, b, _, _| (a & 1 << 31) | (b & !(1 << 31))
    } else {
        |a, b, _, _| (a & 1 << 63) | (b & !(1 << 63))
    };
    Ok((
        Op::Int {
            f,
            d,
            a,
            b,
            c: a,
            e: a,
            mask: ty.mask(),
        },
        Class::Float,
    ))
}

fn integer(body: &mut Body, m: &mut Modifiers, ty: Type, operands: &[Operand]) -> Decoded {
    if !ty.is_integer() || ty.bits() == 8 {
        return Err(m.error(format!("has no {ty} form")));
    }
    let saturates = matches!(m.mnemonic, "add" | "sub") && ty == Type::S32;
    let part = if matches!(m.mnemonic, "mul" | "mad") {
        m.require(&[("lo", "lo"), ("hi", "hi"), ("wide", "wide")])?
    } else if saturates && m.flag("sat") {
        "sat"
    } else {
        ""
    };
    let f = integer::arithmetic(m.mnemonic, part, ty)
        .ok_or_else(|| m.error(format!("has no {ty} form")))?;
    if part != "wide" {
        let (d, [a, b, c]) = same_typed(body, m, ty, operands)?;
        return Ok((
            Op::Int {
                f,
                d,
                a,
                b,
                c,
                e: a,
                mask: ty.mask(),
            },
            Class::Integer,
        ));
    }
    let wide = match ty {
        Type::U16 => Type::U32,
        Type::S16 => Type::S32,
        Type::U32 => Type::U64,
        Type::S32 => Type::S64,
        _ => return Err(m.error(format!("`.wide` has no {ty} form"))),
    };
    if operands.len() != arity(m.mnemonic) + 1 {
        return Err(m.error("has the wrong number of operands"));
    }
    let (a, b) = (
        body.source(&operands[1], ty)?,
        body.source(&operands[2], ty)?,
    );
    let c = match operands.get(3) {
        Some(c) => body.source(c, wide)?,
        None => a,
    };
    let d = body.target(&operands[0], wide)?;
    Ok((
        Op::Int {
            f,
            d,
            a,
            b,
            c,
            e: a,
            mask: wide.mask(),
        },
        Class::Integer,
    ))
}

/// Logic, shifts, fields, permutations.
pub(super) fn bits(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    if m.mnemonic == "dp4a" {
        let b_ty = m.ty()?;
        let a_ty = m.ty()?;
        if !matches!((a_ty, b_ty), (Type::U32 | Type::S32, Type::U32 | Type::S32)) {
            return Err(m.error("takes .u32 or .s32"));
        }
        let [d, a, b, c] = exactly(m, operands)?;
        let ty = if a_ty.is_signed() || b_ty.is_signed() {
            Type::S32
        } else {
            Type::U32
        };
        let (a, b) = (body.source(a, a_ty)?, body.source(b, b_ty)?);
        let (c, d) = (body.source(c, ty)?, body.target(d, ty)?);
        let f = integer::dot4(a_ty.is_signed(), b_ty.is_signed());
        return Ok((
            Op::Int {
                f,
                d,
                a,
                b,
                c,
                e: a,
                mask: ty.mask(),
            },
            Class::Integer,
        ));
    }
    let ty = m.ty()?;
    if ty == Type::Pred {
        return super::compare::logic(body, m, operands);
    }
    if ty.bits() == 8 || ty.is_float() {
        return Err(m.error(format!("has no {ty} form")));
    }
    let untyped = matches!(ty, Type::B16 | Type::B32 | Type::B64);
    let known = match m.mnemonic {
        "shr" => true,
        "bfe" => !untyped && ty.bits() >= 32,
        _ => untyped,
    };
    if !known {
        return Err(m.error(format!("has no {ty} form")));
    }
    let f = match m.mnemonic {
        "shf" => {
            let left = m.require(&[("l", true), ("r", false)])?;
            integer::funnel(left, m.require(&[("wrap", true), ("clamp", false)])?)
        }
        "shr" | "bfe" => integer::arithmetic(m.mnemonic, "", ty)
            .ok_or_else(|| m.error(format!("has no {ty} form")))?,
        _ => integer::logic(m.mnemonic, ty.bits())
            .ok_or_else(|| m.error(format!("has no {ty} form")))?,
    };
    // Types of the sources; shift amounts and fields are 32-bit whatever the type.
    let amount = Type::U32;
    let types: &[Type] = match m.mnemonic {
        "not" | "cnot" | "popc" | "clz" | "brev" => &[ty],
        "shl" | "shr" => &[ty, amount],
        "bfe" => &[ty, amount, amount],
        "bfi" => &[ty, ty, amount, amount],
        "shf" => &[ty, ty, amount],
        "lop3" => &[ty, ty, ty, amount],
        "prmt" => &[ty, ty, ty],
        _ => &[ty, ty],
    };
    if matches!(m.mnemonic, "shf" | "lop3" | "prmt") && ty != Type::B32 {
        return Err(m.error(format!("has no {ty} form")));
    }
    if operands.len() != types.len() + 1 {
        let message = format!(
            "takes {} operands, {} given",
            types.len() + 1,
            operands.len()
        );
        return Err(m.error(message));
    }
    let mut sources = [0; 4];
    for (index, ty) in types.iter().enumerate() {
        sources[index] = body.source(&operands[index + 1], *ty)?;
    }
    for index in types.len()..4 {
        sources[index] = sources[0];
    }
    let result = if matches!(m.mnemonic, "popc" | "clz") {
        Type::U32
    } else {
        ty
    };
    let d = body.target(&operands[0], result)?;
    let [a, b, c, e] = sources;
    Ok((
        Op::Int {
            f,
            d,
            a,
            b,
            c,
            e,
            mask: result.mask(),
        },
        Class::Integer,
    ))
}
