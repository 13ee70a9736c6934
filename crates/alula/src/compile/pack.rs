//! Constant right sides of contractions in the packed form that their micro-kernels read: made
//! here once, so that no run packs them and processes share them from a mapped artifact.
//!
//! A constant that is read in no other form is dropped. The packed form holds the same elements
//! and zeros; it is named after the constant, and its order is that of the contraction's family.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use alula_cpu::{ContractError, CpuContract, Epilogue, Packing};
use alula_lower::plan::Lowered;
use alula_program::{Place, Plan, Slot, SlotId, Step};
use alula_tensor::{DType, Dim, Tensor, TensorType, ValueType};
use rayon::prelude::*;

use super::CompileError;

/// Elements that a task packs at least: some tenths of a millisecond.
const TASK_ELEMENTS: usize = 1 << 18;

/// A packed form to make of a constant.
struct Job {
    packing: Packing,
    elements: usize,
    /// Position of the new constant.
    target: usize,
}

/// What a launch reads in the place of a constant.
#[derive(Clone, Copy)]
struct Packed {
    /// The launch's parameter.
    param: usize,
    /// Position of the packed form among the constants.
    constant: usize,
    dtype: DType,
    elements: usize,
}

/// Replaces constant right sides by their packed form. `contracts` are those of the launches that
/// are one; the result holds for each launch the elements of its right side if it is packed now.
///
/// # Errors
/// [`CompileError::Target`] if a constant cannot be packed: a defect of ours, or no memory.
pub(super) fn pack(
    lowered: &mut Lowered,
    contracts: &[Option<&CpuContract>],
) -> Result<Vec<Option<u64>>, CompileError> {
    let known = lowered.constants.len();
    let mut jobs: BTreeMap<usize, Vec<Job>> = BTreeMap::new();
    let mut count = known;
    let packed: Vec<Option<Packed>> = contracts
        .iter()
        .zip(&lowered.launches)
        .map(|(contract, launch)| {
            let contract = contract.as_ref()?;
            let param = contract.b as usize;
            let source = (*launch.constants.get(param)?)?;
            let (packing, elements) = packing(contract, &lowered.constants[source].1)?;
            let dtype = packing.dtype();
            let known = jobs.entry(source).or_default();
            let same = known.iter().find(|job| job.packing == packing);
            let constant = same.map_or(count, |same| same.target);
            if constant == count {
                known.push(Job {
                    packing,
                    elements,
                    target: count,
                });
                count += 1;
            }
            Some(Packed {
                param,
                constant,
                dtype,
                elements,
            })
        })
        .collect();
    for plan in &mut lowered.plans {
        redirect(plan, &packed);
        plan.drop_unnamed_slots();
    }
    let is_read = read_constants(&lowered.plans, count);
    let mut constants: Vec<Option<(String, Tensor)>> =
        lowered.constants.drain(..).map(Some).collect();
    // Sources that nothing else reads leave the list here, and memory when their forms are made.
    let work: Vec<((String, Tensor), Vec<Job>)> = jobs
        .into_iter()
        .map(|(source, jobs)| {
            let constant = match is_read[source] {
                true => constants[source].clone(),
                false => constants[source].take(),
            };
            (constant.expect("each source is taken once"), jobs)
        })
        .collect();
    let made: Vec<Vec<(usize, (String, Tensor))>> = work
        .into_par_iter()
        .map(|((name, tensor), jobs)| {
            let make = |job: &Job| {
                let made = make(job, &tensor);
                let made = made.map_err(|reason| {
                    CompileError::Target(format!("packing constant {name:?}: {reason}"))
                })?;
                let name = format!("{name}, packed: {}", job.packing.describe());
                Ok((job.target, (name, made)))
            };
            jobs.iter().map(make).collect::<Result<_, CompileError>>()
        })
        .collect::<Result<_, _>>()?;
    constants.resize_with(count, || None);
    for (target, constant) in made.into_iter().flatten() {
        constants[target] = Some(constant);
    }
    renumber(lowered, constants, &is_read);
    let lengths = packed.iter();
    Ok(lengths
        .map(|packed| packed.map(|packed| packed.elements as u64))
        .collect())
}

/// How a contraction wants this constant packed; `None` if it is used in another way, too, or the
/// packing depends on sizes that only a run knows.
fn packing(contract: &CpuContract, constant: &Tensor) -> Option<(Packing, usize)> {
    let (bias, residual, tile) = match &contract.epilogue {
        Epilogue::Fused { bias, residual, .. } => (
            bias.as_ref().map(|(position, ..)| *position),
            residual.map(|(position, _)| position),
            &[][..],
        ),
        Epilogue::Tile { operands } => (None, None, operands.as_slice()),
    };
    let others = [
        Some(contract.a),
        contract.a_zero,
        contract.b_zero,
        bias,
        residual,
    ];
    if others.contains(&Some(contract.b)) || tile.contains(&contract.b) {
        return None;
    }
    let packing = contract.packing(&|_| None).ok()?;
    let elements = packing.elements().ok().filter(|&elements| elements > 0)?;
    (packing.source() == constant.dtype()).then_some((packing, elements))
}

/// Makes a packed form.
fn make(job: &Job, source: &Tensor) -> Result<Tensor, String> {
    let (packing, dtype) = (&job.packing, job.packing.dtype());
    let mut packed = Tensor::zeros(dtype, &[job.elements]).map_err(|error| error.to_string())?;
    let made = match dtype {
        DType::F32 => {
            let source = source.as_slice::<f32>();
            let source = source.ok_or("its elements are not aligned")?;
            let out = packed.as_mut_slice::<f32>().expect("it was made so");
            side_by_side(out, packing.part_len(), |parts, out| {
                packing.pack(source, parts, out)
            })
        }
        _ => side_by_side(packed.bytes_mut(), packing.part_len(), |parts, out| {
            packing.pack_bytes(source.bytes(), parts, out)
        }),
    };
    made.map_err(|error| error.to_string())?;
    Ok(packed)
}

/// Has `write` fill all of `out`, some parts of it at a time.
fn side_by_side<T: Send>(
    out: &mut [T],
    each: usize,
    write: impl Fn(Range<usize>, &mut [T]) -> Result<(), ContractError> + Sync,
) -> Result<(), ContractError> {
    let parts = TASK_ELEMENTS.div_ceil(each);
    out.par_chunks_mut(parts * each)
        .enumerate()
        .try_for_each(|(task, out)| {
            let first = task * parts;
            write(first..first + out.len() / each, out)
        })
}

/// Passes packed forms to the launches that take them.
fn redirect(plan: &mut Plan, packed: &[Option<Packed>]) {
    let mut slot_of: BTreeMap<usize, SlotId> = BTreeMap::new();
    for step in &mut plan.steps {
        let Step::Launch { kernel, args, .. } = step else {
            continue;
        };
        let Some(packed) = packed[*kernel] else {
            continue;
        };
        args[packed.param] = *slot_of.entry(packed.constant).or_insert_with(|| {
            plan.slots.push(Slot {
                ty: ValueType::Tensor(TensorType::of(packed.dtype, &[packed.elements])),
                bytes: Dim::from(packed.elements * packed.dtype.size_bytes()),
                place: Place::Constant(packed.constant),
            });
            SlotId(plan.slots.len() as u32 - 1)
        });
    }
}

/// Whether a slot of any plan is a constant.
fn read_constants(plans: &[Plan], count: usize) -> Vec<bool> {
    let mut is_read = vec![false; count];
    for slot in plans.iter().flat_map(|plan| &plan.slots) {
        if let Place::Constant(constant) = slot.place {
            is_read[constant] = true;
        }
    }
    is_read
}

/// Keeps the constants that are read, in order.
fn renumber(lowered: &mut Lowered, constants: Vec<Option<(String, Tensor)>>, is_read: &[bool]) {
    let mut place_of = vec![None; constants.len()];
    for (position, constant) in constants.into_iter().enumerate() {
        if let Some(constant) = constant.filter(|_| is_read[position]) {
            place_of[position] = Some(lowered.constants.len());
            lowered.constants.push(constant);
        }
    }
    for slot in lowered.plans.iter_mut().flat_map(|plan| &mut plan.slots) {
        if let Place::Constant(constant) = &mut slot.place {
            *constant = place_of[*constant].expect("what is read stays");
        }
    }
    for constant in lowered.launches.iter_mut().flat_map(|l| &mut l.constants) {
        *constant = constant.and_then(|constant| place_of[constant]);
    }
}
