//! Attention as one launch: a product, loops over its rows, and a product of what comes out, run
//! block by block of rows with what lies between them near.
//!
//! After right sides were packed and before results share memory: the launches of a chain run where
//! the last one did.

use std::collections::BTreeMap;

use alula_cpu::{BLOCK_SYMBOLS, ChainArg, CpuContract, Matrices};
use alula_kernel::{Kernel, may_share, without_copy};
use alula_lower::block::block_of_rows;
use alula_lower::build::{ParamSpec, build_serial};
use alula_lower::narrow::compute_stored_as;
use alula_lower::plan::{KernelWork, Launch, Lowered};
use alula_program::{Place, Plan, SlotId, Step, SymbolOrigin};
use alula_tensor::{DType, Dim};

use super::cpu::Planned;
use super::launches::{NoCode, Words, defect};
use super::narrow::rounds_left;
use super::{CompileError, scalars};

/// Bytes of a packed right side of one entry at most: both are read again for each block of rows.
const RIGHT_BYTES_MAX: i64 = 1 << 20;
/// Bytes of a value in between from which a chain of one entry pays.
const BETWEEN_BYTES_MIN: i64 = 1 << 20;
/// What an extent that only a run knows is taken to be where a chain needs work enough.
const UNKNOWN_AT_LEAST: i64 = 1;
/// What an extent that only a run knows is taken to be where a chain needs little to be near.
const UNKNOWN_ABOUT: i64 = 128;

/// Launches that run block by block of rows.
#[derive(serde::Serialize)]
pub(super) struct PlannedChain {
    pub(super) entries: Dim,
    pub(super) rows: Dim,
    /// Bytes of a row of each value in between.
    pub(super) between: Vec<Dim>,
    pub(super) parts: Vec<(Planned, Vec<ChainArg>)>,
}

/// A chain that was found in a plan.
struct Found {
    matrices: Matrices,
    /// Positions of the steps, in order.
    steps: Vec<usize>,
    /// For each step but the last: which parameter of the next one its result is.
    read: Vec<usize>,
    /// Loops over a block of rows, for each step but the first and last.
    loops: Vec<Kernel>,
    /// The last product of what the loops before it store as bf16, if they do.
    narrow: Option<CpuContract>,
}

/// Puts chains together; `works` are the scalar evaluations of each launch. Tells where each launch
/// is now; a part of a chain is no launch any more.
///
/// # Errors
/// [`CompileError::Emit`] where loops that the target runs have no words over a block: a defect of
/// ours.
pub(super) fn chain(
    lowered: &mut Lowered,
    planned: &mut Vec<Planned>,
    works: &mut Vec<Dim>,
    words: &Words,
) -> Result<Vec<Option<usize>>, CompileError> {
    let mut plans = std::mem::take(&mut lowered.plans);
    let result: Result<(), CompileError> = plans.iter_mut().try_for_each(|plan| {
        let mut steps = Steps::of(plan);
        for first in 0..plan.steps.len() {
            if let Some(found) = find(plan, &steps, first, lowered, planned, words)? {
                put_together(plan, &found, lowered, planned, works);
                let (_, before) = found.steps.split_last().expect("a chain has steps");
                before.iter().for_each(|&step| steps.merged[step] = true);
            }
        }
        let mut merged = steps.merged.iter();
        plan.steps.retain(|_| merged.next() == Some(&false));
        Ok(())
    });
    lowered.plans = plans;
    result?;
    for plan in &mut lowered.plans {
        plan.drop_unnamed_slots();
        alula_lower::lifetimes(plan);
    }
    Ok(drop_unlaunched(lowered, planned, works))
}

/// The steps of a plan while chains are put together.
struct Steps {
    /// Where values are mentioned, by root: step, position among its slots and slot, in order.
    mentions: Vec<Vec<(usize, usize, SlotId)>>,
    /// Whether a step is a part of a chain further on, and is still to be removed.
    merged: Vec<bool>,
}

impl Steps {
    fn of(plan: &Plan) -> Self {
        let mut mentions = vec![Vec::new(); plan.slots.len()];
        for (step, of) in plan.steps.iter().enumerate() {
            for (position, slot) in of.slots().into_iter().enumerate() {
                mentions[plan.root(slot)].push((step, position, slot));
            }
        }
        Self {
            mentions,
            merged: vec![false; plan.steps.len()],
        }
    }

    /// The one launch that reads a value, and as which parameter, if nothing else needs the value.
    fn only_reader(&self, plan: &Plan, value: SlotId) -> Option<(usize, usize)> {
        let root = value.0 as usize;
        // What writes it comes first.
        let &[_, (step, param, slot)] = self.mentions[root].as_slice() else {
            return None;
        };
        let is_planned = matches!(plan.slots[root].place, Place::Arena { .. });
        let is_output = plan.outputs.iter().any(|port| plan.root(port.slot) == root);
        let gives_symbol = plan.symbols.iter().any(|def| match def.origin {
            SymbolOrigin::Content { slot, .. } | SymbolOrigin::Extent { slot, .. } => {
                plan.root(slot) == root
            }
            SymbolOrigin::Input { .. } | SymbolOrigin::Defined(_) | SymbolOrigin::Outer => false,
        });
        let is_whole = plan.offset(slot).is_none()
            && plan.slots[slot.0 as usize].bytes == plan.slots[root].bytes;
        let is_only = is_planned && is_whole && !is_output && !gives_symbol && !self.merged[step];
        is_only.then_some((step, param))
    }
}

/// The chain that begins at a step.
fn find(
    plan: &Plan,
    steps: &Steps,
    first: usize,
    lowered: &Lowered,
    planned: &[Planned],
    words: &Words,
) -> Result<Option<Found>, CompileError> {
    let Some((kernel, args)) = launch(plan, first).filter(|_| !steps.merged[first]) else {
        return Ok(None);
    };
    let Planned::Contract(contract, ..) = &planned[kernel] else {
        return Ok(None);
    };
    let Some(matrices) = contract.result_in_blocks().filter(|m| pays(contract, m)) else {
        return Ok(None);
    };
    let mut found = Found {
        steps: vec![first],
        read: Vec::new(),
        loops: Vec::new(),
        narrow: None,
        matrices,
    };
    let mut value = *args.last().expect("a contraction has a result");
    while let Some((step, param)) = steps.only_reader(plan, value) {
        let Some((kernel, args)) = launch(plan, step) else {
            return Ok(None);
        };
        found.steps.push(step);
        found.read.push(param);
        let launch = &lowered.launches[kernel];
        match &planned[kernel] {
            Planned::Contract(contract, ..) => {
                let is_last = param == contract.a as usize
                    && contract.left_in_blocks().as_ref() == Some(&found.matrices)
                    && is_near(contract);
                if is_last {
                    narrow_last(&mut found, plan, contract, lowered, words)?;
                }
                return Ok(is_last.then_some(found));
            }
            Planned::Loops(_) => {
                let launch = scalars::inlined(launch, &lowered.constants);
                let loops = block(&launch, param, &found.matrices, DType::F32, words);
                let loops = loops.map_err(|error| {
                    defect((plan, step), &launch.name, "over a block of rows", error)
                })?;
                let Some(loops) = loops else {
                    return Ok(None);
                };
                found.loops.push(loops);
                value = *args.last().expect("loops have a result");
            }
            Planned::Chain(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// Lets the loops before the last product store bf16, if that rounds what it reads anyway.
fn narrow_last(
    found: &mut Found,
    plan: &Plan,
    product: &CpuContract,
    lowered: &Lowered,
    words: &Words,
) -> Result<(), CompileError> {
    let ([.., step, _], [.., read, _]) = (&found.steps[..], &found.read[..]) else {
        return Ok(());
    };
    let narrow = product.stored_as_bf16(&[product.a as usize]);
    let narrow = narrow.filter(|_| rounds_left(product));
    let (Some(narrow), Some((kernel, _))) = (narrow, launch(plan, *step)) else {
        return Ok(());
    };
    let launch = scalars::inlined(&lowered.launches[kernel], &lowered.constants);
    let loops = block(&launch, *read, &found.matrices, DType::BF16, words)
        .map_err(|error| defect((plan, *step), &launch.name, "stored as bf16", error))?;
    if let (Some(loops), Some(last)) = (loops, found.loops.last_mut()) {
        *last = loops;
        found.narrow = Some(narrow);
    }
    Ok(())
}

/// The kernel and the arguments of a step that is a launch.
fn launch(plan: &Plan, step: usize) -> Option<(usize, &[SlotId])> {
    match &plan.steps[step] {
        Step::Launch { kernel, args, .. } => Some((*kernel, args)),
        _ => None,
    }
}

/// Whether a chain that begins with this product is faster than its parts.
fn pays(contract: &CpuContract, matrices: &Matrices) -> bool {
    let about = |dim: &Dim| dim.eval(&|_| Some(UNKNOWN_AT_LEAST)).unwrap_or(0);
    let Matrices {
        entries,
        rows,
        cols,
    } = matrices;
    let bytes = entries.clone() * rows.clone() * cols.clone() * Dim::new(4);
    is_near(contract) && (about(entries) > 1 || about(&bytes) >= BETWEEN_BYTES_MIN)
}

/// Whether the right side is short enough to be read for each block.
fn is_near(contract: &CpuContract) -> bool {
    let bytes = contract.right_bytes();
    let bytes = bytes.and_then(|bytes| bytes.eval(&|_| Some(UNKNOWN_ABOUT)).ok());
    bytes.is_some_and(|bytes| bytes <= RIGHT_BYTES_MAX)
}

/// The loops of a launch over a block of rows, which store what they compute as `dtype`; `None`
/// where rows need one another.
fn block(
    launch: &Launch,
    param: usize,
    matrices: &Matrices,
    dtype: DType,
    words: &Words,
) -> Result<Option<Kernel>, NoCode> {
    let KernelWork::Compute(compute) = &launch.work else {
        return Ok(None);
    };
    // What lies between is f32 or less throughout: wider values have no room there.
    let is_f32 = compute.dtype == DType::F32;
    if !is_f32 || param >= compute.operands.len() || launch.layouts.iter().any(Option::is_some) {
        return Ok(None);
    }
    let rows = matrices.entries.clone() * matrices.rows.clone();
    let Some(mut block) = block_of_rows(compute, param, [&rows, &matrices.cols], BLOCK_SYMBOLS)
    else {
        return Ok(None);
    };
    if dtype != DType::F32 {
        block = compute_stored_as(&block, &[block.operands.len()], dtype);
    }
    let params: Vec<ParamSpec> = launch.params(&block);
    let built = build_serial(&launch.name, &block, &params, words.policy);
    words.finish(built).map(Some)
}

/// Makes the last of the steps one launch of all of them; those before it are still to be removed.
fn put_together(
    plan: &mut Plan,
    found: &Found,
    lowered: &mut Lowered,
    planned: &mut Vec<Planned>,
    works: &mut Vec<Dim>,
) {
    let mut outer: Vec<SlotId> = Vec::new();
    let mut of_outer: BTreeMap<SlotId, u32> = BTreeMap::new();
    let mut parts = Vec::new();
    let mut between = Vec::new();
    let (mut names, mut operators) = (Vec::new(), Vec::new());
    let mut work = Dim::new(0);
    let mut loops = found.loops.iter();
    for (position, &step) in found.steps.iter().enumerate() {
        let Step::Launch { kernel, args, name } = &plan.steps[step] else {
            unreachable!("a chain is of launches");
        };
        names.push(name.clone());
        operators.push(lowered.launches[*kernel].name.clone());
        work = work + works[*kernel].clone();
        let is_last = position + 1 == found.steps.len();
        let read = position.checked_sub(1).map(|before| found.read[before]);
        let from = between.len().saturating_sub(1) as u32;
        let mut part = match (&planned[*kernel], &found.narrow) {
            (Planned::Contract(_, tile, packed), Some(narrow)) if is_last => {
                Planned::Contract(Box::new(narrow.clone()), tile.clone(), *packed)
            }
            (Planned::Contract(contract, tile, packed), _) => {
                Planned::Contract(contract.clone(), tile.clone(), *packed)
            }
            (Planned::Loops(_) | Planned::Chain(_), _) => {
                let loops = loops.next().expect("loops for each part between");
                Planned::Loops(loops.clone())
            }
        };
        let written = args.len() - 1;
        let mut to = None;
        if !is_last {
            let is_narrow = found.narrow.is_some() && position + 2 == found.steps.len();
            // Loops may leave their rows where they found them.
            let stays = match (&mut part, read) {
                (Planned::Loops(loops), Some(read))
                    if !is_narrow && may_share(loops, written, read) =>
                {
                    *loops = without_copy(loops, written, read);
                    true
                }
                _ => false,
            };
            if !stays {
                let bytes = if is_narrow { DType::BF16 } else { DType::F32 }.size_bytes();
                between.push(found.matrices.cols.clone() * Dim::from(bytes));
            }
            to = Some(between.len() as u32 - 1);
        }
        let mut own = Vec::with_capacity(args.len());
        for (param, slot) in args.iter().enumerate() {
            own.push(match (Some(param) == read, param == written, to) {
                (true, ..) => ChainArg::Between(from),
                (_, true, Some(to)) => ChainArg::Between(to),
                _ => ChainArg::Outer(*of_outer.entry(*slot).or_insert_with(|| {
                    outer.push(*slot);
                    outer.len() as u32 - 1
                })),
            });
        }
        parts.push((part, own));
    }
    let last = *found.steps.last().expect("a chain has steps");
    let kernel = lowered.launches.len();
    let Some((last_kernel, _)) = launch(plan, last) else {
        unreachable!("a chain is of launches");
    };
    lowered.launches.push(Launch {
        work: lowered.launches[last_kernel].work.clone(),
        name: operators.join("_"),
        constants: Vec::new(),
        layouts: Vec::new(),
    });
    works.push(work);
    planned.push(Planned::Chain(Box::new(PlannedChain {
        entries: found.matrices.entries.clone(),
        rows: found.matrices.rows.clone(),
        between,
        parts,
    })));
    plan.steps[last] = Step::Launch {
        kernel,
        args: outer,
        name: names.join(" + "),
    };
}

/// Drops launches that no plan runs any more. Tells where each of the others is now.
fn drop_unlaunched(
    lowered: &mut Lowered,
    planned: &mut Vec<Planned>,
    works: &mut Vec<Dim>,
) -> Vec<Option<usize>> {
    let mut place_of = vec![None; lowered.launches.len()];
    let steps = lowered.plans.iter_mut().flat_map(|plan| &mut plan.steps);
    for step in steps {
        if let Step::Launch { kernel, .. } = step {
            place_of[*kernel] = Some(0);
        }
    }
    for (count, place) in place_of.iter_mut().flatten().enumerate() {
        *place = count;
    }
    for step in lowered.plans.iter_mut().flat_map(|plan| &mut plan.steps) {
        if let Step::Launch { kernel, .. } = step {
            *kernel = place_of[*kernel].expect("what is launched stays");
        }
    }
    let keep = |old: &mut usize| {
        *old += 1;
        place_of[*old - 1].is_some()
    };
    let mut old = 0;
    lowered.launches.retain(|_| keep(&mut old));
    let mut old = 0;
    planned.retain(|_| keep(&mut old));
    let mut old = 0;
    works.retain(|_| keep(&mut old));
    place_of
}
