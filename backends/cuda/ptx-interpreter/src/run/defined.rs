//! Registers know in which lanes they were written.

use super::step::Faulty;
use super::warp::Warp;
use crate::error::Fault;
use crate::module::Kernel;
use crate::program::Instruction;

/// Every register an executing lane uses must have been written in that lane.
pub(super) fn check_defined(
    kernel: &Kernel,
    warp: &Warp,
    instruction: &Instruction,
    mask: u32,
) -> Result<(), Faulty> {
    if let Some((pred, _)) = instruction.guard {
        let missing = mask & !warp.preds_defined[pred as usize];
        if missing != 0 {
            return Err(unwritten(missing, &kernel.pred_names[pred as usize]));
        }
    }
    let mask = instruction
        .guard
        .map_or(mask, |guard| mask & warp.holds(guard));
    for pred in &instruction.pred_reads {
        let missing = mask & !warp.preds_defined[*pred as usize];
        if missing != 0 {
            return Err(unwritten(missing, &kernel.pred_names[*pred as usize]));
        }
    }
    for reg in &instruction.reads {
        let missing = mask & !warp.defined[*reg as usize];
        if missing != 0 {
            return Err(unwritten(missing, &kernel.register_names[*reg as usize]));
        }
    }
    Ok(())
}

fn unwritten(missing: u32, name: &str) -> Faulty {
    let lane = missing.trailing_zeros() as usize;
    (
        Some(lane),
        Fault::UninitialisedRegister {
            register: name.to_owned(),
        },
    )
}
