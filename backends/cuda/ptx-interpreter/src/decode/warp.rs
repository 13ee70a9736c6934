//! Shuffles, votes, warp reductions, matrix loads and multiplies.

use super::{Decoded, elements, exactly};
use crate::body::Body;
use crate::error::ParseError;
use crate::float;
use crate::integer;
use crate::modifiers::Modifiers;
use crate::operand::Operand;
use crate::program::{Element, Mma, Op, Reg, Shuffle, Vote};
use crate::stats::Class;
use crate::types::{Space, Type};

pub(super) fn decode(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    match m.mnemonic {
        "shfl" => shuffle(body, m, operands),
        "vote" => vote(body, m, operands),
        "activemask" => {
            m.expect("b32")?;
            let [d] = exactly(m, operands)?;
            Ok((
                Op::ActiveMask {
                    d: body.target(d, Type::B32)?,
                },
                Class::Warp,
            ))
        }
        "redux" => {
            let ty = m.ty()?;
            m.expect("sync")?;
            let words = ["add", "min", "max", "and", "or", "xor"].map(|word| (word, word));
            let word = m.require(&words)?;
            let f = match ty {
                Type::U32 | Type::S32 => integer::arithmetic(word, "", ty),
                Type::B32 => integer::logic(word, 32),
                _ => None,
            };
            let f = f.ok_or_else(|| m.error(format!("`.{word}` has no {ty} form")))?;
            let [d, a, member] = exactly(m, operands)?;
            let (a, member) = (body.source(a, ty)?, body.source(member, Type::B32)?);
            Ok((
                Op::Reduce {
                    f,
                    d: body.target(d, ty)?,
                    a,
                    member,
                },
                Class::Warp,
            ))
        }
        "ldmatrix" => load_matrix(body, m, operands),
        _ => multiply(body, m, operands),
    }
}

fn shuffle(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    m.expect("sync")?;
    m.expect("b32")?;
    let mode = m.require(&[
        ("up", Shuffle::Up),
        ("down", Shuffle::Down),
        ("bfly", Shuffle::Butterfly),
        ("idx", Shuffle::Index),
    ])?;
    let [d, a, b, c, member] = exactly(m, operands)?;
    let (d, p) = match d {
        Operand::Pair(d, p) => (Operand::Name(d), body.pred_target(p)?),
        d => (d.clone(), None),
    };
    let a = body.source(a, Type::B32)?;
    let (b, c) = (body.source(b, Type::B32)?, body.source(c, Type::B32)?);
    let member = body.source(member, Type::B32)?;
    let d = body.target(&d, Type::B32)?;
    Ok((
        Op::Shuffle {
            mode,
            d,
            p,
            a,
            b,
            c,
            member,
        },
        Class::Warp,
    ))
}

fn vote(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    m.expect("sync")?;
    let mode = m.require(&[
        ("all", Vote::All),
        ("any", Vote::Any),
        ("uni", Vote::Uniform),
        ("ballot", Vote::Ballot),
    ])?;
    let [target, a, member] = exactly(m, operands)?;
    let a = body.pred_source(a)?;
    let member = body.source(member, Type::B32)?;
    let (mut d, mut p) = (0, 0);
    if mode == Vote::Ballot {
        m.expect("b32")?;
        d = body.target(target, Type::B32)?;
    } else {
        m.expect("pred")?;
        let Operand::Name(name) = target else {
            return Err(m.error("wants a predicate"));
        };
        p = body
            .pred_target(name)?
            .ok_or_else(|| m.error("has no result"))?;
    }
    Ok((
        Op::Vote {
            mode,
            d,
            p,
            a,
            member,
        },
        Class::Warp,
    ))
}

fn load_matrix(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    m.expect("sync")?;
    m.expect("aligned")?;
    m.expect("m8n8")?;
    m.expect("b16")?;
    let count = m.require(&[("x1", 1), ("x2", 2), ("x4", 4)])?;
    let transpose = m.flag("trans");
    let space = m.find(Space::parse).unwrap_or(Space::Generic);
    if !matches!(space, Space::Shared | Space::Generic) {
        return Err(m.error(format!("has no {space} form")));
    }
    let [d, address] = exactly(m, operands)?;
    let address = body.address(address, space)?;
    let parts = targets(body, m, d, count, Type::B32)?;
    Ok((
        Op::LoadMatrix {
            address,
            transpose,
            parts,
        },
        Class::Matrix,
    ))
}

fn targets(
    body: &mut Body,
    m: &Modifiers,
    operand: &Operand,
    count: usize,
    ty: Type,
) -> Result<Vec<Reg>, ParseError> {
    let parts = elements(operand);
    if parts.len() != count {
        return Err(m.error(format!("wants {count} registers, {} given", parts.len())));
    }
    parts.iter().map(|part| body.target(part, ty)).collect()
}

fn sources(
    body: &mut Body,
    m: &Modifiers,
    operand: &Operand,
    count: usize,
    ty: Type,
) -> Result<Vec<Reg>, ParseError> {
    let parts = elements(operand);
    if parts.len() != count {
        return Err(m.error(format!("wants {count} registers, {} given", parts.len())));
    }
    parts.iter().map(|part| body.source(part, ty)).collect()
}

fn multiply(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    m.expect("sync")?;
    m.expect("aligned")?;
    let words: Vec<_> = (0..4).filter_map(|_| m.last()).collect();
    let [c, b, a, d] = words[..] else {
        return Err(m.error("wants four types"));
    };
    let k = m.require(&[
        ("m16n8k4", 4),
        ("m16n8k8", 8),
        ("m16n8k16", 16),
        ("m16n8k32", 32),
    ])?;
    m.expect("row")?;
    m.expect("col")?;
    let saturate = m.flag("satfinite");
    let byte = |word: &str| matches!(word, "s8" | "u8");
    let (per_register, accumulator, elements) = match (a, b, c, d, k) {
        ("f16", "f16", "f32", "f32", 8 | 16) => (2, Type::F32, [Element::Float(float::F16); 2]),
        ("bf16", "bf16", "f32", "f32", 8 | 16) => (2, Type::F32, [Element::Float(float::BF16); 2]),
        ("tf32", "tf32", "f32", "f32", 4 | 8) => (1, Type::F32, [Element::Float(float::TF32); 2]),
        (a, b, "s32", "s32", 16 | 32) if byte(a) && byte(b) => {
            let element = |word| Element::Int {
                signed: word == "s8",
            };
            (4, Type::S32, [element(a), element(b)])
        }
        _ => return Err(m.error("shape and types are not supported")),
    };
    if saturate && accumulator == Type::F32 {
        return Err(m.error("`.satfinite` is for integers"));
    }
    let [d, a, b, c] = exactly(m, operands)?;
    let a = sources(body, m, a, k / (2 * per_register), Type::B32)?;
    let b = sources(body, m, b, k / (4 * per_register), Type::B32)?;
    let c = sources(body, m, c, 4, accumulator)?;
    let d = targets(body, m, d, 4, accumulator)?;
    let [element_a, element_b] = elements;
    let four = |regs: &[Reg]| [regs[0], regs[1], regs[2], regs[3]];
    let mma = Mma {
        k,
        element_a,
        element_b,
        saturate,
        d: four(&d),
        a,
        b,
        c: four(&c),
    };
    Ok((Op::Mma(Box::new(mma)), Class::Matrix))
}
