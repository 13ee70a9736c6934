//! Values that lie between layers as bf16, where products of bf16 read them.
//!
//! A product that rounds its left side to bf16 gets the same from a value that was rounded when it
//! was stored; half as many bytes come and go, and nothing is split. The micro-kernels round what
//! they store at no cost, loops in an instruction for each vector: processors with tiles have one.
//! Others that read it (a residual, a pooling) see it rounded, too: that is within what `medium`
//! says of products, and what no product reads is kept in f32.
//!
//! After chains were put together, since what lies within them is f32, and before results share
//! memory.

use std::collections::BTreeMap;

use alula_cpu::{CpuContract, Isa, Products};
use alula_lower::narrow::{Stored, is_move, loads_neighbours, store_as, stored, work_stored_as};
use alula_lower::plan::{KernelWork, Launch, Lowered};
use alula_program::{Plan, Step};
use alula_tensor::DType;

use super::cpu::Planned;
use super::launches::{Words, defect};
use super::{CompileError, scalars};

/// What becomes of a launch that touches a value.
struct Change {
    kernel: usize,
    launch: Launch,
    planned: Planned,
}

/// Stores values as bf16 where that serves.
///
/// # Errors
/// [`CompileError::Emit`] where loops that the target runs have no words for bf16: a defect of
/// ours.
pub(super) fn narrow(
    lowered: &mut Lowered,
    planned: &mut [Planned],
    words: &Words,
) -> Result<(), CompileError> {
    if !planned.iter().any(multiplies_bf16) {
        return Ok(());
    }
    let mut plans = std::mem::take(&mut lowered.plans);
    let mut count = 0;
    let result = plans.iter_mut().try_for_each(|plan| {
        // A value that is only moved is rounded where it is moved to: those come first.
        for value in stored(plan, DType::F32).into_iter().rev() {
            let Some(changes) = changes(plan, &value, lowered, planned, words)? else {
                continue;
            };
            if store_as(plan, value.root, DType::BF16) {
                count += 1;
                for change in changes {
                    lowered.launches[change.kernel] = change.launch;
                    planned[change.kernel] = change.planned;
                }
            }
        }
        Ok(())
    });
    lowered.plans = plans;
    tracing::debug!(values = count, "stored as bf16");
    result
}

/// Whether it is a product that rounds its left side to bf16.
fn multiplies_bf16(planned: &Planned) -> bool {
    matches!(planned, Planned::Contract(contract, ..) if rounds_left(contract))
}

/// As [`multiplies_bf16`]: tiles do, vectors read only the right side so.
pub(super) fn rounds_left(contract: &CpuContract) -> bool {
    contract.products == Products::One && contract.isa == Isa::Amx
}

/// The launches that touch a value, changed; `None` where one of them cannot, or none is better for
/// it.
fn changes(
    plan: &Plan,
    value: &Stored,
    lowered: &Lowered,
    planned: &[Planned],
    words: &Words,
) -> Result<Option<Vec<Change>>, CompileError> {
    let mut by_step: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(step, param) in &value.uses {
        by_step.entry(step).or_default().push(param);
    }
    let serves = by_step.iter().any(|(&step, params)| {
        let Some((kernel, planned)) = of_step(plan, planned, step) else {
            return false;
        };
        match (planned, &lowered.launches[kernel].work) {
            (Planned::Contract(contract, ..), _) => {
                let is_residual = contract.result == Some(DType::BF16);
                rounds_left(contract) && params.contains(&(contract.a as usize)) || is_residual
            }
            (Planned::Loops(_), work @ KernelWork::Compute(compute)) => {
                compute.dtype == DType::BF16 && is_move(work)
            }
            (Planned::Loops(_) | Planned::Chain(_), _) => false,
        }
    });
    if !serves {
        return Ok(None);
    }
    let mut changes = Vec::with_capacity(by_step.len());
    for (step, params) in by_step {
        let Some((kernel, of_step)) = of_step(plan, planned, step) else {
            return Ok(None);
        };
        let launch = &lowered.launches[kernel];
        // Vectors of elements of two bytes that are apart are loaded one by one.
        let is_loops = matches!(of_step, Planned::Loops(_));
        if is_loops && !loads_neighbours(&launch.work, &params) {
            return Ok(None);
        }
        let Some(work) = work_stored_as(&launch.work, &params, DType::BF16) else {
            return Ok(None);
        };
        let launch = Launch {
            work,
            ..launch.clone()
        };
        let planned = match of_step {
            Planned::Contract(contract, tile, packed) => contract
                .stored_as_bf16(&params)
                .map(|contract| Planned::Contract(Box::new(contract), tile.clone(), *packed)),
            Planned::Loops(_) if matches!(launch.work, KernelWork::Compute(_)) => {
                let inlined = scalars::inlined(&launch, &lowered.constants);
                let loops = words.kernel(&inlined);
                Some(Planned::Loops(loops.map_err(|error| {
                    defect((plan, step), &launch.name, "stored as bf16", error)
                })?))
            }
            Planned::Loops(_) | Planned::Chain(_) => None,
        };
        let Some(planned) = planned else {
            return Ok(None);
        };
        changes.push(Change {
            kernel,
            launch,
            planned,
        });
    }
    Ok(Some(changes))
}

/// The kernel that a step launches.
fn of_step<'p>(plan: &Plan, planned: &'p [Planned], step: usize) -> Option<(usize, &'p Planned)> {
    match &plan.steps[step] {
        Step::Launch { kernel, .. } => Some((*kernel, &planned[*kernel])),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
