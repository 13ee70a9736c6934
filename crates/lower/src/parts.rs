//! Values that are parts of others: slices that lie in what they are taken of, and operands of a
//! concatenation that are written where they belong, so that nothing is copied.
//!
//! After fusing, so that what is left of slices and concatenations are launches of their own. A
//! slice of elements that lie one behind the other becomes a part of its operand. A concatenation
//! along its outermost axis becomes the memory of those operands that launches write and that are
//! nothing else: no input, constant or output, none that gives a symbol its value, none that is a
//! part of another value already, and each once. What is left of it is copied by launches for the
//! parts between, if they are no more than what was saved. A concatenation of concatenations is
//! one piece of memory.
//!
//! Memory lives as long as any of its parts, so that a part may keep more alive than a copy would:
//! what would raise the most that is alive at a step stays a copy.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use alula_kernel::Compute;
use alula_program::{Place, Plan, Slot, SlotId, Step, SymbolOrigin};
use alula_tensor::{Dim, TensorType, ValueType};

use self::source::{Source, Stretches, stretches};
use crate::plan::{KernelWork, Launch, Lowered};

/// What symbols count as where memory is compared.
const UNKNOWN_EXTENT: i64 = 64;

/// Makes parts of what needs no memory of its own. `alignment` is what offsets in bytes are
/// multiples of, and lengths of what is written.
pub(crate) fn place(lowered: &mut Lowered, alignment: usize) {
    for position in 0..lowered.plans.len() {
        let plan = &mut lowered.plans[position];
        let mut parts = Parts {
            pinned: pinned(plan),
            written: written(plan, &lowered.launches),
            launches: &mut lowered.launches,
            alignment: Dim::from(alignment),
            alive: 0,
        };
        let before = parts.launches.len();
        parts.alive = alive(plan);
        let mut steps = Vec::with_capacity(plan.steps.len());
        for position in 0..plan.steps.len() {
            match parts.step(plan, position) {
                Some(pieces) => steps.push(pieces),
                None => steps.push(vec![plan.steps[position].clone()]),
            }
        }
        plan.steps = steps.into_iter().flatten().collect();
        lifetimes(plan);
        tracing::debug!(
            graph = plan.name,
            pieces = lowered.launches.len() - before,
            parts = plan.slots.iter().filter(|slot| is_part(slot)).count(),
        );
    }
    drop_unused(lowered);
}

fn is_part(slot: &Slot) -> bool {
    matches!(slot.place, Place::Part { .. })
}

/// When planned memory is alive: from the first to the last step that touches it, and beyond all
/// for an output.
pub(crate) fn lifetimes(plan: &mut Plan) {
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

/// About the most bytes of planned memory that are alive at a step.
fn alive(plan: &Plan) -> i64 {
    let mut changes = vec![0_i64; plan.steps.len() + 2];
    for (root, life) in lives(plan) {
        let slot = &plan.slots[root];
        if matches!(slot.place, Place::Arena { .. }) {
            let bytes = slot.bytes.eval(&|_| Some(UNKNOWN_EXTENT)).unwrap_or(0);
            changes[life.start] += bytes;
            changes[life.end + 1] -= bytes;
        }
    }
    let sums = changes.iter().scan(0_i64, |sum, change| {
        *sum = sum.saturating_add(*change);
        Some(*sum)
    });
    sums.max().unwrap_or(0)
}

/// Slots that give symbols their values or are outputs.
fn pinned(plan: &Plan) -> BTreeSet<usize> {
    let origins = plan.symbols.iter().filter_map(|def| match def.origin {
        SymbolOrigin::Content { slot, .. } | SymbolOrigin::Extent { slot, .. } => Some(slot),
        SymbolOrigin::Input { .. } | SymbolOrigin::Defined(_) | SymbolOrigin::Outer => None,
    });
    let outputs = plan.outputs.iter().map(|port| port.slot);
    origins.chain(outputs).map(|slot| plan.root(slot)).collect()
}

/// Slots that one launch writes, and nothing else.
fn written(plan: &Plan, launches: &[Launch]) -> BTreeSet<usize> {
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

/// Drops the work of launches that no step runs any more.
fn drop_unused(lowered: &mut Lowered) {
    let mut is_run = vec![false; lowered.launches.len()];
    let mut each = |visit: &mut dyn FnMut(&mut usize)| {
        for step in lowered.plans.iter_mut().flat_map(|plan| &mut plan.steps) {
            if let Step::Launch { kernel, .. } = step {
                visit(kernel);
            }
        }
    };
    each(&mut |kernel| is_run[*kernel] = true);
    let place_of: Vec<usize> = is_run
        .iter()
        .scan(0, |next, &is_run| {
            let place = *next;
            *next += usize::from(is_run);
            Some(place)
        })
        .collect();
    each(&mut |kernel| *kernel = place_of[*kernel]);
    let mut position = 0;
    lowered.launches.retain(|_| {
        position += 1;
        is_run[position - 1]
    });
}

struct Parts<'l> {
    launches: &'l mut Vec<Launch>,
    alignment: Dim,
    /// Slots that stay what they are.
    pinned: BTreeSet<usize>,
    /// Slots that one launch writes.
    written: BTreeSet<usize>,
    /// The most that is alive at a step by now.
    alive: i64,
}

/// Memory that a concatenation may take over, and which of its stretches are in it.
struct Candidate {
    root: usize,
    /// Bytes of the result before it.
    offset: Dim,
    stretches: BTreeSet<usize>,
}

impl Parts<'_> {
    /// What becomes of a step: other ones, or `None` if it stays.
    fn step(&mut self, plan: &mut Plan, position: usize) -> Option<Vec<Step>> {
        let Step::Launch { kernel, args, .. } = &plan.steps[position] else {
            return None;
        };
        let KernelWork::Compute(compute) = &self.launches[*kernel].work else {
            return None;
        };
        let result = args.last()?.0 as usize;
        let size = compute.dtype.size_bytes();
        let is_planned = matches!(plan.slots[result].place, Place::Arena { .. });
        if !is_planned || size == 0 || !self.written.contains(&result) {
            return None;
        }
        let found = stretches(compute);
        if let [only] = found.parts.as_slice() {
            let source = only.source.clone()?;
            return self.slice(plan, position, &source, size);
        }
        let compute = compute.as_ref().clone();
        self.join(plan, position, &compute, &found)
    }

    fn is_aligned(&self, offset: &Dim) -> bool {
        self.alignment.is(1) || offset.exact_div(&self.alignment).is_some()
    }

    /// Keeps a change of places if it needs no more memory than before.
    fn keep(&mut self, plan: &mut Plan, slot: usize, place: Place) -> bool {
        let old = std::mem::replace(&mut plan.slots[slot].place, place);
        let alive = alive(plan);
        if alive > self.alive {
            plan.slots[slot].place = old;
            return false;
        }
        self.alive = alive;
        true
    }

    /// A slice as a part of its operand.
    fn slice(
        &mut self,
        plan: &mut Plan,
        position: usize,
        source: &Source,
        size: usize,
    ) -> Option<Vec<Step>> {
        let Step::Launch { args, .. } = &plan.steps[position] else {
            return None;
        };
        let (base, result) = (args[source.operand], args.last()?.0 as usize);
        let offset = source.before.clone() * Dim::from(size);
        let gives_symbol = |def: &alula_program::SymbolDef| {
            matches!(def.origin, SymbolOrigin::Content { slot, .. } | SymbolOrigin::Extent { slot, .. }
                if plan.root(slot) == result)
        };
        // Devices hold constants and lend them whole.
        let is_constant = matches!(plan.slots[plan.root(base)].place, Place::Constant(_));
        if is_constant || plan.symbols.iter().any(gives_symbol) || !self.is_aligned(&offset) {
            return None;
        }
        // The launch that is dropped counts no more.
        let step = std::mem::replace(&mut plan.steps[position], nothing());
        let place = Place::Part { base, offset };
        if self.keep(plan, result, place) {
            return Some(Vec::new());
        }
        plan.steps[position] = step;
        None
    }

    /// A concatenation as the memory of its operands.
    fn join(
        &mut self,
        plan: &mut Plan,
        position: usize,
        compute: &Compute,
        found: &Stretches,
    ) -> Option<Vec<Step>> {
        let Step::Launch { kernel, args, name } = plan.steps[position].clone() else {
            return None;
        };
        let result = *args.last()?;
        let pinned_result = plan.symbols.iter().any(|def| {
            matches!(def.origin, SymbolOrigin::Content { slot, .. } | SymbolOrigin::Extent { slot, .. }
                if slot == result)
        });
        if pinned_result {
            return None;
        }
        let size = Dim::from(compute.dtype.size_bytes());
        let at = |dim: &Dim| dim.clone() * found.row.clone() * size.clone();
        let candidates = self.candidates(plan, &args, found, &at);
        let (places, most) = (
            plan.slots
                .iter()
                .map(|s| s.place.clone())
                .collect::<Vec<_>>(),
            self.alive,
        );
        let mut joined = BTreeSet::new();
        for candidate in candidates {
            let place = Place::Part {
                base: result,
                offset: candidate.offset,
            };
            if self.keep(plan, candidate.root, place) {
                joined.extend(candidate.stretches);
            }
        }
        let rest = rest(found.parts.len(), &joined);
        if joined.is_empty() || rest.len() > joined.len().max(1) {
            for (slot, place) in plan.slots.iter_mut().zip(places) {
                slot.place = place;
            }
            self.alive = most;
            return None;
        }
        let ty = plan.slots[result.0 as usize].ty.as_tensor()?.dtype;
        let mut steps = Vec::with_capacity(rest.len());
        for range in rest {
            let start = at(&found.parts[range.start].start);
            let (piece, operands) = found.piece(compute, range);
            let shape = piece.shape();
            let elements: Dim = shape.iter().cloned().product();
            plan.slots.push(Slot {
                ty: ValueType::Tensor(TensorType::new(ty, shape)),
                bytes: elements * size.clone(),
                place: Place::Part {
                    base: result,
                    offset: start,
                },
            });
            let own = SlotId(plan.slots.len() as u32 - 1);
            let whole = &self.launches[kernel];
            let constants = operands.iter().map(|&k| whole.constants[k]).chain([None]);
            let launch = Launch {
                work: KernelWork::Compute(Box::new(piece)),
                name: whole.name.clone(),
                constants: constants.collect(),
            };
            steps.push(Step::Launch {
                kernel: self.launches.len(),
                args: operands.iter().map(|&k| args[k]).chain([own]).collect(),
                name: name.clone(),
            });
            self.launches.push(launch);
        }
        Some(steps)
    }

    /// Memory that a concatenation may take over, the largest first.
    fn candidates(
        &self,
        plan: &Plan,
        args: &[SlotId],
        found: &Stretches,
        at: &dyn Fn(&Dim) -> Dim,
    ) -> Vec<Candidate> {
        let mut candidates: Vec<(Candidate, Dim)> = Vec::new();
        for (position, stretch) in found.parts.iter().enumerate() {
            let Some(source) = stretch.source.as_ref().filter(|source| source.before.is(0)) else {
                continue;
            };
            let slot = args[source.operand];
            let (root, bytes) = (plan.root(slot), &plan.slots[slot.0 as usize].bytes);
            let (start, end) = (at(&stretch.start), at(&stretch.end));
            if end - start.clone() != *bytes || !self.may_move(plan, root) {
                continue;
            }
            let offset = start - plan.offset(slot).unwrap_or(Dim::new(0));
            let known = candidates
                .iter_mut()
                .find(|(known, _)| known.root == root && known.offset == offset);
            match known {
                Some((known, sum)) => {
                    known.stretches.insert(position);
                    *sum = sum.clone() + bytes.clone();
                }
                None => {
                    let candidate = Candidate {
                        root,
                        offset,
                        stretches: BTreeSet::from([position]),
                    };
                    candidates.push((candidate, bytes.clone()));
                }
            }
        }
        // All of it, and what occurs twice only once.
        let mut taken = BTreeSet::new();
        candidates.retain(|(candidate, sum)| {
            *sum == plan.slots[candidate.root].bytes
                && self.is_aligned(&candidate.offset)
                && self.is_aligned(sum)
                && taken.insert(candidate.root)
        });
        let bytes = |sum: &Dim| sum.eval(&|_| Some(UNKNOWN_EXTENT)).unwrap_or(0);
        candidates.sort_by_key(|(_, sum)| std::cmp::Reverse(bytes(sum)));
        let candidates = candidates.into_iter();
        candidates.map(|(candidate, _)| candidate).collect()
    }

    /// Whether memory may become a part of other memory.
    fn may_move(&self, plan: &Plan, root: usize) -> bool {
        let is_planned = matches!(plan.slots[root].place, Place::Arena { .. });
        is_planned && self.written.contains(&root) && !self.pinned.contains(&root)
    }
}

/// Neighbouring stretches that are in no operand's memory.
fn rest(count: usize, joined: &BTreeSet<usize>) -> Vec<Range<usize>> {
    let mut rest: Vec<Range<usize>> = Vec::new();
    for position in (0..count).filter(|position| !joined.contains(position)) {
        match rest.last_mut() {
            Some(last) if last.end == position => last.end += 1,
            _ => rest.push(position..position + 1),
        }
    }
    rest
}

/// A step that touches nothing.
fn nothing() -> Step {
    Step::Launch {
        kernel: 0,
        args: Vec::new(),
        name: String::new(),
    }
}
