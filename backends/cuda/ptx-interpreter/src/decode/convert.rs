//! Type conversion.

use super::Decoded;
use crate::body::Body;
use crate::float::Round;
use crate::integer::IntFn;
use crate::modifiers::Modifiers;
use crate::operand::Operand;
use crate::program::{Convert, Op};
use crate::stats::Class;
use crate::types::Type;

const FLOAT_ROUNDS: [(&str, Round); 5] = [
    ("rn", Round::Nearest),
    ("rna", Round::Away),
    ("rz", Round::Zero),
    ("rm", Round::Down),
    ("rp", Round::Up),
];
const INTEGER_ROUNDS: [(&str, Round); 4] = [
    ("rni", Round::Nearest),
    ("rzi", Round::Zero),
    ("rmi", Round::Down),
    ("rpi", Round::Up),
];

pub(super) fn decode(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    if m.flag("pack") {
        return pack(body, m, operands);
    }
    let from = m.ty()?;
    let to = m.ty()?;
    let float_round = m.choose(&FLOAT_ROUNDS);
    let integer_round = m.choose(&INTEGER_ROUNDS);
    let pair = matches!(to, Type::F16x2 | Type::Bf16x2);
    for ty in [from, to] {
        let odd = matches!(
            ty,
            Type::Pred | Type::B8 | Type::B16 | Type::B32 | Type::B64
        );
        if odd || matches!(from, Type::F16x2 | Type::Bf16x2 | Type::Tf32) {
            return Err(m.error(format!("cannot convert {from} to {to}")));
        }
    }
    if (pair || to == Type::Tf32) && from != Type::F32 {
        return Err(m.error(format!("cannot convert {from} to {to}")));
    }
    // Which rounding the ISA demands, by what the conversion can lose.
    let narrows = to == Type::Tf32
        || pair
        || to.bits() < from.bits()
        || (to != from && to.bits() == 16 && from.bits() == 16);
    let (wants_float, wants_integer) = match (from.is_float(), to.is_float()) {
        (false, false) => (false, false),
        (false, true) => (true, false),
        (true, false) => (false, true),
        (true, true) => (narrows, !narrows && integer_round.is_some()),
    };
    if float_round.is_some() != wants_float || integer_round.is_some() != wants_integer {
        let want = if wants_float {
            "a float rounding (.rn .rz .rm .rp)"
        } else if wants_integer {
            "an integer rounding (.rni .rzi .rmi .rpi)"
        } else {
            "no rounding"
        };
        return Err(m.error(format!("{from} to {to} takes {want}")));
    }
    if float_round == Some(Round::Away) && to != Type::Tf32 {
        return Err(m.error("`.rna` is for .tf32"));
    }
    if wants_integer && to.is_float() && to != from {
        return Err(m.error("rounding to an integral float keeps the type"));
    }
    let ftz = (from == Type::F32 || to == Type::F32) && m.flag("ftz");
    let narrow_half = from == Type::F32 && (pair || matches!(to, Type::F16 | Type::Bf16));
    let relu = (narrow_half || to == Type::Tf32) && m.flag("relu");
    let sat = m.flag("sat");
    if sat && (pair || matches!(to, Type::Bf16 | Type::Tf32)) {
        return Err(m.error(format!("`.sat` has no {to} form")));
    }
    let mut convert = Convert {
        to,
        from,
        round: float_round.or(integer_round).unwrap_or(Round::Nearest),
        integral: wants_integer && to.is_float(),
        ftz,
        sat,
        relu,
        register_bits: 32,
    };
    if pair {
        let [d, a, b] = super::exactly(m, operands)?;
        convert.to = if to == Type::F16x2 {
            Type::F16
        } else {
            Type::Bf16
        };
        let (a, b) = (body.source(a, from)?, body.source(b, from)?);
        let d = body.target(d, to)?;
        return Ok((Op::ConvertPair { convert, d, a, b }, Class::Convert));
    }
    let [d, a] = super::exactly(m, operands)?;
    let a = if from.is_float() {
        body.source(a, from)?
    } else {
        body.source_wide(a, from)?
    };
    let (d, bits) = if to.is_float() {
        (body.target(d, to)?, to.bits())
    } else {
        body.target_wide(d, to)?
            .ok_or_else(|| m.error("has no result"))?
    };
    convert.register_bits = bits;
    Ok((Op::Convert { convert, d, a }, Class::Convert))
}

/// `cvt.pack`: two saturated integers below the low bits of a third operand.
fn pack(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    fn packed<const BITS: u32, const SIGNED: bool>(a: u64, b: u64, c: u64, _: u64) -> u64 {
        let (low, high) = if SIGNED {
            (-(1i64 << (BITS - 1)), (1i64 << (BITS - 1)) - 1)
        } else {
            (0, (1i64 << BITS) - 1)
        };
        let part =
            |word: u64| i64::from(word as i32).clamp(low, high) as u64 & (u64::MAX >> (64 - BITS));
        c << (2 * BITS) | part(a) << BITS | part(b)
    }
    m.expect("sat")?;
    let last = m.ty()?;
    let (from, to) = if last == Type::B32 {
        (m.ty()?, m.ty()?)
    } else {
        (last, m.ty()?)
    };
    if from != Type::S32 || (last == Type::B32) != (to.bits() == 8) {
        return Err(m.error("types are not supported"));
    }
    let f: IntFn = match to {
        Type::U8 => packed::<8, false>,
        Type::S8 => packed::<8, true>,
        Type::U16 => packed::<16, false>,
        Type::S16 => packed::<16, true>,
        _ => return Err(m.error(format!("cannot pack to {to}"))),
    };
    let (d, a, b, c) = match operands {
        [d, a, b, c] if last == Type::B32 => (d, a, b, body.source(c, Type::B32)?),
        [d, a, b] if last != Type::B32 => (d, a, b, body.constant(0)),
        _ => return Err(m.error("has the wrong number of operands")),
    };
    let (a, b) = (body.source(a, from)?, body.source(b, from)?);
    let d = body.target(d, Type::B32)?;
    Ok((
        Op::Int {
            f,
            d,
            a,
            b,
            c,
            e: a,
            mask: Type::B32.mask(),
        },
        Class::Convert,
    ))
}
