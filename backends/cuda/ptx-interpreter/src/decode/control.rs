//! Branches, exits, barriers, fences.

use super::{Decoded, exactly};
use crate::body::Body;
use crate::modifiers::Modifiers;
use crate::operand::Operand;
use crate::program::Op;
use crate::stats::Class;
use crate::types::Type;

pub(super) fn decode(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    match m.mnemonic {
        "bra" => {
            let uniform = m.flag("uni");
            let [Operand::Name(label)] = operands else {
                return Err(m.error("wants one label"));
            };
            body.jumps
                .push((body.code.len(), (*label).to_owned(), body.line));
            Ok((
                Op::Branch {
                    target: u32::MAX,
                    uniform,
                },
                Class::Control,
            ))
        }
        "ret" | "exit" => {
            if m.mnemonic == "ret" {
                m.flag("uni");
            }
            exactly::<0>(m, operands)?;
            Ok((Op::Exit, Class::Control))
        }
        "trap" => {
            exactly::<0>(m, operands)?;
            Ok((Op::Trap, Class::Control))
        }
        "bar" | "barrier" => barrier(body, m, operands),
        "membar" => {
            m.require(&[("cta", ()), ("gl", ()), ("sys", ())])?;
            exactly::<0>(m, operands)?;
            Ok((Op::Fence, Class::Barrier))
        }
        _ => {
            m.require(&[("sc", ()), ("acq_rel", ())])?;
            m.require(&[("cta", ()), ("gpu", ()), ("sys", ())])?;
            exactly::<0>(m, operands)?;
            Ok((Op::Fence, Class::Barrier))
        }
    }
}

fn barrier(body: &mut Body, m: &mut Modifiers, operands: &[Operand]) -> Decoded {
    if m.mnemonic == "bar" && m.flag("warp") {
        m.expect("sync")?;
        let [member] = exactly(m, operands)?;
        let member = body.source(member, Type::B32)?;
        return Ok((Op::WarpBarrier { member }, Class::Barrier));
    }
    m.flag("cta");
    m.expect("sync")?;
    // Without `.aligned`, warps may arrive split; here every barrier must be convergent.
    m.flag("aligned");
    let (id, threads) = match operands {
        [id] => (id, None),
        [id, threads] => (id, Some(threads)),
        _ => return Err(m.error("wants a barrier and perhaps a thread count")),
    };
    let id = body.source(id, Type::U32)?;
    let threads = match threads {
        Some(threads) => Some(body.source(threads, Type::U32)?),
        None => None,
    };
    Ok((Op::Barrier { id, threads }, Class::Barrier))
}
