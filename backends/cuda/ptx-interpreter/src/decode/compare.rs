//! Comparisons, selections, predicate logic, float classification.

use super::{Decoded, exactly};
use crate::body::Body;
use crate::error::ParseError;
use crate::float::Format;
use crate::integer::IntFn;
use crate::modifiers::Modifiers;
use crate::operand::Operand;
use crate::program::{Class1, Combine, Compare, Op, PredUse};
use crate::stats::Class;
use crate::types::{Kind, Type};

const COMBINES: [(&str, Combine); 3] = [
    ("and", Combine::And),
    ("or", Combine::Or),
    ("xor", Combine::Xor),
];

/// Results for less, equal, greater and unordered, and the types that know the word.
const COMPARISONS: [(&str, ([bool; 3], bool, &str)); 18] = [
    ("eq", ([false, true, false], false, "isfb")),
    ("ne", ([true, false, true], false, "isfb")),
    ("lt", ([true, false, false], false, "isf")),
    ("le", ([true, true, false], false, "isf")),
    ("gt", ([false, false, true], false, "isf")),
    ("ge", ([false, true, true], false, "isf")),
    ("lo", ([true, false, false], false, "i")),
    ("ls", ([true, true, false], false, "i")),
    ("hi", ([false, false, true], false, "i")),
    ("hs", ([false, true, true], false, "i")),
    ("equ", ([false, true, false], true, "f")),
    ("neu", ([true, false, true], true, "f")),
    ("ltu", ([true, false, false], true, "f")),
    ("leu", ([true, true, false], true, "f")),
    ("gtu", ([false, false, true], true, "f")),
    ("geu", ([false, true, true], true, "f")),
    ("num", ([true, true, true], false, "f")),
    ("nan", ([false, false, false], true, "f")),
];

pub(super) fn decode(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    match m.mnemonic {
        "setp" => setp(body, m, operands),
        "set" => set(body, m, operands),
        "selp" => {
            let ty = m.ty()?;
            let odd_float = ty.is_float() && !matches!(ty, Type::F32 | Type::F64);
            if ty.bits() == 8 || ty == Type::Pred || odd_float {
                return Err(m.error(format!("has no {ty} form")));
            }
            let [d, a, b, p] = exactly(m, operands)?;
            let (a, b) = (body.source(a, ty)?, body.source(b, ty)?);
            let p = body.pred_source(p)?;
            Ok((
                Op::Select {
                    d: body.target(d, ty)?,
                    a,
                    b,
                    p,
                },
                Class::Integer,
            ))
        }
        "testp" => testp(body, m, operands),
        "slct" => slct(body, m, operands),
        _ => Err(m.error("instruction is not supported")),
    }
}

fn comparison(m: &mut Modifiers, ty: Type) -> Result<Compare, ParseError> {
    let family = match ty.kind() {
        _ if ty.bits() == 8 => "",
        Kind::Unsigned => "i",
        Kind::Signed => "s",
        Kind::Bits => "b",
        Kind::Float if matches!(ty, Type::F16 | Type::Bf16 | Type::F32 | Type::F64) => "f",
        Kind::Float | Kind::Pred => "",
    };
    let (outcome, unordered, families) = m.require(&COMPARISONS)?;
    if family.is_empty() || !families.contains(family) {
        return Err(m.error(format!("comparison has no {ty} form")));
    }
    let ftz = ty == Type::F32 && m.flag("ftz");
    Ok(Compare {
        outcome,
        unordered,
        ty,
        ftz,
    })
}

type Combined = Option<(Combine, PredUse)>;

fn combined(
    body: &mut Body,
    m: &mut Modifiers,
    operand: Option<&Operand>,
) -> Result<Combined, ParseError> {
    match (m.choose(&COMBINES), operand) {
        (Some(combine), Some(operand)) => Ok(Some((combine, body.pred_source(operand)?))),
        (None, None) => Ok(None),
        _ => Err(m.error("a combining operation and its predicate go together")),
    }
}

fn setp(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let ty = m.ty()?;
    let compare = comparison(m, ty)?;
    if !(3..=4).contains(&operands.len()) {
        return Err(m.error(format!("takes 3 or 4 operands, {} given", operands.len())));
    }
    let (p, q) = match operands[0] {
        Operand::Name(p) => (body.pred_target(p)?, None),
        Operand::Pair(p, q) => (body.pred_target(p)?, body.pred_target(q)?),
        _ => return Err(m.error("wants a predicate destination")),
    };
    let (a, b) = (
        body.source(&operands[1], ty)?,
        body.source(&operands[2], ty)?,
    );
    let with = combined(body, m, operands.get(3))?;
    Ok((
        Op::Set {
            compare,
            with,
            p,
            q,
            a,
            b,
        },
        Class::Integer,
    ))
}

fn set(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let ty = m.ty()?;
    let to = m.ty()?;
    let compare = comparison(m, ty)?;
    let truth = match to {
        Type::U32 | Type::S32 => u64::from(u32::MAX),
        Type::F32 => u64::from(1f32.to_bits()),
        _ => return Err(m.error(format!("cannot give {to}"))),
    };
    if !(3..=4).contains(&operands.len()) {
        return Err(m.error(format!("takes 3 or 4 operands, {} given", operands.len())));
    }
    let (a, b) = (
        body.source(&operands[1], ty)?,
        body.source(&operands[2], ty)?,
    );
    let with = combined(body, m, operands.get(3))?;
    let d = body.target(&operands[0], to)?;
    Ok((
        Op::SetValue {
            compare,
            with,
            truth,
            d,
            a,
            b,
        },
        Class::Integer,
    ))
}

fn testp(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let ty = m.ty()?;
    let class = m.require(&[
        ("finite", Class1::Finite),
        ("infinite", Class1::Infinite),
        ("number", Class1::Number),
        ("notanumber", Class1::NotANumber),
        ("normal", Class1::Normal),
        ("subnormal", Class1::Subnormal),
    ])?;
    let format = match ty {
        Type::F32 | Type::F64 => Format::of(ty),
        _ => None,
    };
    let format = format.ok_or_else(|| m.error(format!("has no {ty} form")))?;
    let [p, a] = exactly(m, operands)?;
    let Operand::Name(name) = p else {
        return Err(m.error("wants a predicate destination"));
    };
    let Some(p) = body.pred_target(name)? else {
        return Err(m.error("has no result"));
    };
    Ok((
        Op::TestFloat {
            class,
            format,
            p,
            a: body.source(a, ty)?,
        },
        Class::Integer,
    ))
}

/// `a` where `c` is not negative, else `b`.
fn slct(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let by = m.ty()?;
    let f: IntFn = match by {
        Type::S32 => |a, b, c, _| if (c as i32) >= 0 { a } else { b },
        Type::F32 => |a, b, c, _| {
            if f32::from_bits(c as u32) >= 0.0 {
                a
            } else {
                b
            }
        },
        _ => return Err(m.error(format!("cannot select by {by}"))),
    };
    let ty = m.ty()?;
    if ty.bits() == 8 || ty == Type::Pred || (ty.is_float() && ty.bits() < 32) {
        return Err(m.error(format!("has no {ty} form")));
    }
    let [d, a, b, c] = exactly(m, operands)?;
    let (a, b, c) = (
        body.source(a, ty)?,
        body.source(b, ty)?,
        body.source(c, by)?,
    );
    let d = body.target(d, ty)?;
    Ok((
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
    ))
}

/// Logic on predicates.
pub(super) fn logic(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let Some(Operand::Name(name)) = operands.first() else {
        return Err(m.error("wants a predicate destination"));
    };
    let Some(p) = body.pred_target(name)? else {
        return Err(m.error("has no result"));
    };
    if m.mnemonic == "not" {
        let [_, a] = exactly(m, operands)?;
        let (a, negated) = body.pred_source(a)?;
        return Ok((
            Op::MovPred {
                p,
                a: (a, !negated),
            },
            Class::Integer,
        ));
    }
    let combine = COMBINES
        .iter()
        .find(|(word, _)| *word == m.mnemonic)
        .map(|(_, c)| *c);
    let combine = combine.ok_or_else(|| m.error("has no .pred form"))?;
    let [_, a, b] = exactly(m, operands)?;
    let (a, b) = (body.pred_source(a)?, body.pred_source(b)?);
    Ok((Op::PredLogic { combine, p, a, b }, Class::Integer))
}
