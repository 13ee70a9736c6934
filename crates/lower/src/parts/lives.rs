//! When the memory of a plan is alive, how much that is, and what must stay where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use alula_program::{Lifetime, Place, Plan, SlotId, Step, SymbolOrigin, pack};
use alula_tensor::Dim;

use crate::plan::Launch;

/// What symbols count as where memory is compared.
const UNKNOWN_EXTENT: i64 = 64;

/// When planned memory is alive: from the first to the last step that touches it, and beyond all
/// for an output.
pub fn lifetimes(plan: &mut Plan) {
    for (root, life) in lives(plan) {
        if let Place::Arena { first, last } = &mut plan.slots[root].place {
            (*first, *last) = (life.start, life.end);
        }
    }
}

/// The first and last step that touch each root.
fn lives(plan: &Plan) -> BTreeMap<usize, Range<usize>> {
    let mut lives: BTreeMap<usize, Range<usize>> = BTreeMap::new();
    let mut touch = |slot: SlotId, step: usize| {
        lives.entry(plan.root(slot)).or_insert(step..step).end = step;
    };
    for (position, step) in plan.steps.iter().enumerate() {
        for slot in step.slots() {
            touch(slot, position);
        }
    }
    for port in &plan.outputs {
        touch(port.slot, plan.steps.len());
    }
    lives
}

/// About the bytes that planned memory takes.
pub(super) fn held(plan: &Plan) -> usize {
    let lives = lives(plan).into_iter();
    let planned = lives.filter(|(root, _)| matches!(plan.slots[*root].place, Place::Arena { .. }));
    let lives = planned.map(|(root, life)| Lifetime {
        bytes: about(&plan.slots[root].bytes),
        first: life.start,
        last: life.end,
    });
    let lives: Vec<Lifetime> = lives.collect();
    pack(&lives).map_or(usize::MAX, |(_, total)| total)
}

/// A number of bytes for a guess at the symbols.
pub(super) fn about(bytes: &Dim) -> usize {
    let bytes = bytes.eval(&|_| Some(UNKNOWN_EXTENT)).unwrap_or(0);
    usize::try_from(bytes).unwrap_or(0)
}

/// Slots that give symbols their values.
fn origins(plan: &Plan) -> impl Iterator<Item = usize> {
    plan.symbols.iter().filter_map(|def| match def.origin {
        SymbolOrigin::Content { slot, .. } | SymbolOrigin::Extent { slot, .. } => {
            Some(plan.root(slot))
        }
        SymbolOrigin::Input { .. } | SymbolOrigin::Defined(_) | SymbolOrigin::Outer => None,
    })
}

/// Whether a symbol has its value of what a slot holds.
pub(super) fn gives_symbol(plan: &Plan, slot: usize) -> bool {
    origins(plan).any(|origin| origin == slot)
}

/// Slots that give symbols their values or are outputs.
pub(super) fn pinned(plan: &Plan) -> BTreeSet<usize> {
    let outputs = plan.outputs.iter().map(|port| plan.root(port.slot));
    origins(plan).chain(outputs).collect()
}

/// Slots that one launch writes, and nothing else.
pub(super) fn written(plan: &Plan, launches: &[Launch]) -> BTreeSet<usize> {
    let mut writers: BTreeMap<usize, usize> = BTreeMap::new();
    for step in &plan.steps {
        if let Step::Launch { kernel, args, .. } = step {
            let work = &launches[*kernel].work;
            for (_, slot) in args.iter().enumerate().filter(|(k, _)| work.writes(*k)) {
                *writers.entry(slot.0 as usize).or_default() += 1;
            }
        }
    }
    let once = writers.into_iter().filter(|(_, count)| *count == 1);
    once.map(|(slot, _)| slot).collect()
}
