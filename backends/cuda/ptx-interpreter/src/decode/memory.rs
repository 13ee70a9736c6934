//! Loads, stores, atomics, asynchronous copies.

use super::{Decoded, elements, exactly};
use crate::body::Body;
use crate::error::ParseError;
use crate::float::Format;
use crate::integer;
use crate::modifiers::Modifiers;
use crate::operand::Operand;
use crate::program::{Atomic, Op};
use crate::stats::Class;
use crate::types::{Space, Type};

/// Cache hints and scopes: they change speed or inter-block ordering, which blocks run one after
/// another cannot observe.
const HINTS: [&str; 21] = [
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "nc",
    "weak",
    "volatile",
    "relaxed",
    "acquire",
    "release",
    "cta",
    "gpu",
    "sys",
    "L1::no_allocate",
    "L1::evict_first",
    "L1::evict_last",
    "L2::128B",
    "L2::256B",
];

pub(super) fn decode(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    match m.mnemonic {
        "ld" => load(body, m, operands),
        "st" => store(body, m, operands),
        "atom" | "red" => atomic(body, m, operands),
        "cp" => copy(body, m, operands),
        "prefetch" => {
            let space = m.find(Space::parse).unwrap_or(Space::Generic);
            m.require(&[("L1", ()), ("L2", ())])?;
            let [address] = exactly(m, operands)?;
            body.address(address, space)?;
            // A prefetch has no effect that a kernel can see, wherever it points.
            Ok((Op::Fence, Class::Memory))
        }
        _ => Err(m.error("instruction is not supported")),
    }
}

/// The element type, count and space of a load or store.
fn shape(m: &mut Modifiers) -> Result<(Type, usize, Space), ParseError> {
    let ty = m.ty()?;
    if matches!(
        ty,
        Type::Pred | Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::Tf32
    ) {
        return Err(m.error(format!("memory holds .b16 or .b32, not {ty}")));
    }
    let count = m.choose(&[("v2", 2), ("v4", 4)]).unwrap_or(1);
    if count * ty.bytes() > 16 {
        return Err(m.error("vector accesses are at most 16 bytes"));
    }
    let space = m.find(Space::parse).unwrap_or(Space::Generic);
    m.drop_all(&HINTS);
    Ok((ty, count, space))
}

fn counted<'o, 'a>(
    m: &Modifiers,
    operand: &'o Operand<'a>,
    count: usize,
) -> Result<&'o [Operand<'a>], ParseError> {
    let parts = elements(operand);
    if parts.len() != count || matches!(operand, Operand::Vector(_)) != (count > 1) {
        return Err(m.error(format!("wants {count} elements, {} given", parts.len())));
    }
    Ok(parts)
}

fn load(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let (ty, count, space) = shape(m)?;
    let [d, address] = exactly(m, operands)?;
    let address = body.address(address, space)?;
    let mut parts = Vec::new();
    for operand in counted(m, d, count)? {
        parts.push(body.target_wide(operand, ty)?);
    }
    Ok((Op::Load { address, ty, parts }, Class::Memory))
}

fn store(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let (ty, count, space) = shape(m)?;
    if matches!(space, Space::Param | Space::Const) {
        return Err(m.error(format!("{space} memory is read-only")));
    }
    let [address, value] = exactly(m, operands)?;
    let address = body.address(address, space)?;
    let mut parts = Vec::new();
    for operand in counted(m, value, count)? {
        parts.push(body.source_wide(operand, ty)?);
    }
    Ok((Op::Store { address, ty, parts }, Class::Memory))
}

fn atomic(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    let ty = m.ty()?;
    let space = m.find(Space::parse).unwrap_or(Space::Generic);
    if !matches!(space, Space::Generic | Space::Global | Space::Shared) {
        return Err(m.error(format!("has no {space} form")));
    }
    m.drop_all(&[
        "relaxed", "acquire", "release", "acq_rel", "cta", "gpu", "sys",
    ]);
    let word = m.require(&[
        ("add", "add"),
        ("min", "min"),
        ("max", "max"),
        ("and", "and"),
        ("or", "or"),
        ("xor", "xor"),
        ("exch", "exch"),
        ("cas", "cas"),
        ("inc", "inc"),
        ("dec", "dec"),
    ])?;
    let is_red = m.mnemonic == "red";
    let half = matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2);
    let f = match (word, ty) {
        ("add", Type::F32) => Some(Atomic::F32),
        ("add", Type::F64) => Some(Atomic::F64),
        ("add", _) if half => {
            m.expect("noftz")?;
            let packed = matches!(ty, Type::F16x2 | Type::Bf16x2);
            Format::of(ty).map(|format| Atomic::Half { format, packed })
        }
        ("add", Type::U32 | Type::S32 | Type::U64)
        | ("min" | "max", Type::U32 | Type::S32 | Type::U64 | Type::S64) => {
            integer::arithmetic(word, "", ty).map(Atomic::Int)
        }
        ("and" | "or" | "xor", Type::B32 | Type::B64) => {
            integer::logic(word, ty.bits()).map(Atomic::Int)
        }
        ("exch", Type::B32 | Type::B64) if !is_red => Some(Atomic::Exchange),
        ("cas", Type::B16 | Type::B32 | Type::B64) if !is_red => Some(Atomic::CompareSwap),
        ("inc", Type::U32) => Some(Atomic::Increment),
        ("dec", Type::U32) => Some(Atomic::Decrement),
        _ => None,
    };
    let f = f.ok_or_else(|| m.error(format!("`.{word}` has no {ty} form")))?;
    let (d, rest) = match operands {
        [d, rest @ ..] if !is_red => (Some(d), rest),
        rest => (None, rest),
    };
    let (address, b, c) = match (rest, word) {
        ([address, b, c], "cas") => (address, b, c),
        ([address, b], other) if other != "cas" => (address, b, b),
        _ => return Err(m.error("has the wrong number of operands")),
    };
    let address = body.address(address, space)?;
    let (b, c) = (body.source(b, ty)?, body.source(c, ty)?);
    let d = match d {
        Some(d) => body.target_wide(d, ty)?.map(|(reg, _)| reg),
        None => None,
    };
    Ok((
        Op::Atomic {
            f,
            ty,
            address,
            d,
            b,
            c,
        },
        Class::Atomic,
    ))
}

fn copy(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    m.expect("async")?;
    let op = if m.flag("commit_group") {
        exactly::<0>(m, operands)?;
        Op::AsyncCommit
    } else if m.flag("wait_all") {
        exactly::<0>(m, operands)?;
        Op::AsyncWait { groups: None }
    } else if m.flag("wait_group") {
        let [groups] = exactly(m, operands)?;
        let groups = number(m, groups)?;
        Op::AsyncWait {
            groups: Some(groups.min(u64::from(u32::MAX)) as u32),
        }
    } else {
        let bypass = m.require(&[("ca", false), ("cg", true)])?;
        if !m.flag("shared") {
            m.expect("shared::cta")?;
        }
        m.expect("global")?;
        m.drop_all(&["L2::64B", "L2::128B", "L2::256B"]);
        if !(3..=4).contains(&operands.len()) {
            return Err(m.error(format!("takes 3 or 4 operands, {} given", operands.len())));
        }
        let size = number(m, &operands[2])? as usize;
        if !(size == 16 || (!bypass && matches!(size, 4 | 8))) {
            return Err(m.error(format!("cannot copy {size} bytes")));
        }
        let to = body.address(&operands[0], Space::Shared)?;
        let from = body.address(&operands[1], Space::Global)?;
        let source_size = match operands.get(3) {
            Some(operand) => Some(body.source(operand, Type::U32)?),
            None => None,
        };
        Op::AsyncCopy {
            to,
            from,
            size,
            source_size,
        }
    };
    Ok((op, Class::AsyncCopy))
}

fn number(m: &Modifiers, operand: &Operand) -> Result<u64, ParseError> {
    match operand {
        Operand::Int(value, false) => Ok(*value),
        _ => Err(m.error("wants a constant")),
    }
}
