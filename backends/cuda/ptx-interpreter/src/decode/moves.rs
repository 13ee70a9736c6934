//! Moves, packing, address conversion.

use super::{Decoded, exactly};
use crate::body::Body;
use crate::error::ParseError;
use crate::modifiers::Modifiers;
use crate::operand::Operand;
use crate::program::Op;
use crate::stats::Class;
use crate::types::{Space, Type};

/// Where the windows of shared and local memory lie in generic addresses.
pub(crate) const SHARED_WINDOW: u64 = 0x0100_0000_0000;
pub(crate) const LOCAL_WINDOW: u64 = 0x0200_0000_0000;
/// Bytes of each window.
pub(crate) const WINDOW_BYTES: u64 = 1 << 32;

pub(super) fn decode(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    match m.mnemonic {
        "mov" => mov(body, m, operands),
        "cvta" => cvta(body, m, operands),
        _ => {
            let [p, a] = exactly(m, operands)?;
            let space = space(m)?;
            let Operand::Name(name) = p else {
                return Err(m.error("wants a predicate"));
            };
            let Some(p) = body.pred_target(name)? else {
                return Err(m.error("has no result"));
            };
            let a = body.source(a, Type::U64)?;
            Ok((Op::IsSpace { space, p, a }, Class::Integer))
        }
    }
}

fn space(m: &mut Modifiers) -> Result<Space, ParseError> {
    m.find(Space::parse)
        .ok_or_else(|| m.error("the state space is missing"))
}

fn mov(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let ty = m.ty()?;
    let [d, a] = exactly(m, operands)?;
    if ty == Type::Pred {
        let Operand::Name(name) = d else {
            return Err(m.error("wants a predicate"));
        };
        let Some(p) = body.pred_target(name)? else {
            return Err(m.error("has no result"));
        };
        let a = body.pred_source(a)?;
        return Ok((Op::MovPred { p, a }, Class::Move));
    }
    let part = |count: usize| match (ty, count) {
        (Type::B32, 2) => Ok(Type::B16),
        (Type::B64, 2) => Ok(Type::B32),
        (Type::B64, 4) => Ok(Type::B16),
        _ => Err(m.error(format!("cannot split into {count} parts"))),
    };
    if ty.bits() == 8 || (ty.is_float() && !matches!(ty, Type::F32 | Type::F64)) {
        return Err(m.error("type cannot be moved"));
    }
    let op = match (d, a) {
        (Operand::Vector(parts), a) => {
            let part = part(parts.len())?;
            let a = body.source(a, ty)?;
            let mut targets = Vec::new();
            for operand in parts {
                targets.push(match operand {
                    Operand::Name("_") => None,
                    operand => Some(body.target(operand, part)?),
                });
            }
            Op::Unpack {
                parts: targets,
                a,
                bits: part.bits(),
            }
        }
        (d, Operand::Vector(parts)) => {
            let part = part(parts.len())?;
            let mut sources = Vec::new();
            for operand in parts {
                sources.push(body.source(operand, part)?);
            }
            Op::Pack {
                d: body.target(d, ty)?,
                parts: sources,
                bits: part.bits(),
            }
        }
        (d, Operand::NameOffset(name, offset)) => {
            let base = body.source(&Operand::Name(name), ty)?;
            let offset = body.constant(*offset as u64 & ty.mask());
            let d = body.target(d, ty)?;
            let f = |a: u64, b: u64, _, _| a.wrapping_add(b);
            Op::Int {
                f,
                d,
                a: base,
                b: offset,
                c: base,
                e: base,
                mask: ty.mask(),
            }
        }
        (d, a) => {
            let a = body.source(a, ty)?;
            Op::Mov {
                d: body.target(d, ty)?,
                a,
            }
        }
    };
    Ok((op, Class::Move))
}

/// Global and generic addresses coincide; shared and local ones are shifted by their window.
fn cvta(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let ty = m.ty()?;
    if ty != Type::U64 {
        return Err(m.error("only 64-bit addresses are supported"));
    }
    let to_space = m.flag("to");
    let window = match space(m)? {
        Space::Shared => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Global => 0,
        space => return Err(m.error(format!("{space} addresses are not supported"))),
    };
    let [d, a] = exactly(m, operands)?;
    let a = match a {
        Operand::NameOffset(..) => return Err(m.error("wants a register or a variable")),
        a => body.source(a, ty)?,
    };
    let d = body.target(d, ty)?;
    let b = body.constant(if to_space {
        window.wrapping_neg()
    } else {
        window
    });
    let f = |a: u64, b: u64, _, _| a.wrapping_add(b);
    Ok((
        Op::Int {
            f,
            d,
            a,
            b,
            c: a,
            e: a,
            mask: u64::MAX,
        },
        Class::Move,
    ))
}
