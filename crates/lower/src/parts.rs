//! Values that are parts of others: slices that lie in what they are taken of, and operands of a
//! concatenation that are written where they belong, so that nothing is copied.
//!
//! After fusing, so that what is left of slices and concatenations are launches of their own. A
//! slice of elements that lie one behind the other becomes a part of its operand. A concatenation
//! becomes the memory of those operands that launches write and that are nothing else: no input,
//! constant or output, none that gives a symbol its value, none that is a part of another value
//! already, and each once. What is left of it is copied by launches for the parts between, if they
//! are no more than what was saved. A concatenation of concatenations is one piece of memory.
//!
//! Along the outermost axis an operand is one stretch of the result. Along another one it lies
//! there row by row, with the strides of the result, which whoever writes or reads it must follow:
//! definitions and contractions do, if it has the same axes for them. Such parts interleave, so
//! that no launch may write one and touch another.
//!
//! Memory lives as long as any of its parts, so that a part may keep more alive than a copy would:
//! what would make planned memory larger stays a copy.

mod lives;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use alula_kernel::Compute;
use alula_program::{Place, Plan, Slot, SlotId, Step};
use alula_tensor::{Dim, TensorType, ValueType};

pub use self::lives::lifetimes;
use self::lives::{about, gives_symbol, held, pinned, written};
use self::source::{Source, Stretches, stretches};
use crate::build::Layout;
use crate::plan::{KernelWork, Launch, Lowered};

/// Bytes next to each other that a part has at least where it does not lie in one piece: a vector.
const RUN_BYTES: i64 = 64;

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
            layouts: BTreeMap::new(),
            held: held(plan),
        };
        let before = parts.launches.len();
        let mut steps = Vec::with_capacity(plan.steps.len());
        for position in 0..plan.steps.len() {
            match parts.step(plan, position) {
                Some(pieces) => steps.push(pieces),
                None => steps.push(vec![plan.steps[position].clone()]),
            }
        }
        plan.steps = steps.into_iter().flatten().collect();
        parts.lay_out(plan);
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
    /// Where elements of slots are that do not lie in one piece.
    layouts: BTreeMap<usize, Layout>,
    /// About the bytes that planned memory takes by now.
    held: usize,
}

/// Memory that a concatenation may take over, and which of its stretches are in it.
struct Candidate {
    root: usize,
    /// Bytes of the result before it.
    offset: Dim,
    stretches: BTreeSet<usize>,
    /// Bytes that it spans there, and where its elements are if not in one piece.
    spread: Option<(Dim, Layout)>,
}

/// A concatenation whose operands may become parts of it.
struct Join<'j> {
    compute: &'j Compute,
    found: &'j Stretches,
    args: &'j [SlotId],
    result: SlotId,
    /// Bytes of an element.
    size: Dim,
}

impl Join<'_> {
    /// Bytes of the result before a position along the axis.
    fn at(&self, position: &Dim) -> Dim {
        position.clone() * self.found.row.clone() * self.size.clone()
    }
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

    /// Has slots take the layouts of what they lie in: the work of launches is each one's own.
    fn lay_out(&mut self, plan: &Plan) {
        for step in &plan.steps {
            let Step::Launch { kernel, args, .. } = step else {
                continue;
            };
            let layouts = args.iter().map(|slot| self.layouts.get(&(slot.0 as usize)));
            let layouts: Vec<Option<Layout>> = layouts.map(|layout| layout.cloned()).collect();
            if layouts.iter().any(Option::is_some) {
                self.launches[*kernel].layouts = layouts;
            }
        }
    }

    /// Keeps a change of the plan if that needs no more memory than before.
    fn keep(&mut self, plan: &mut Plan, change: impl FnOnce(&mut Plan)) -> bool {
        let old = plan.slots.clone();
        change(plan);
        let held = held(plan);
        if held > self.held {
            plan.slots = old;
            return false;
        }
        self.held = held;
        true
    }

    /// Whether an alias, a part of one, or itself a slot does not lie in one piece.
    fn is_spread(&self, plan: &Plan, mut slot: SlotId) -> bool {
        loop {
            if self.layouts.contains_key(&(slot.0 as usize)) {
                return true;
            }
            match plan.slots[slot.0 as usize].place {
                Place::Alias(base) | Place::Part { base, .. } => slot = base,
                _ => return false,
            }
        }
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
        // Devices hold constants and lend them whole.
        let is_constant = matches!(plan.slots[plan.root(base)].place, Place::Constant(_));
        let is_fixed = gives_symbol(plan, result) || self.is_spread(plan, base);
        if is_constant || is_fixed || !self.is_aligned(&offset) {
            return None;
        }
        // The launch that is dropped counts no more.
        let step = std::mem::replace(&mut plan.steps[position], nothing());
        let place = Place::Part { base, offset };
        if self.keep(plan, |plan| plan.slots[result].place = place) {
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
        let join = Join {
            compute,
            found,
            args: &args,
            result,
            size: Dim::from(compute.dtype.size_bytes()),
        };
        if gives_symbol(plan, result.0 as usize) {
            return None;
        }
        let (slots, held, layouts) = (plan.slots.clone(), self.held, self.layouts.clone());
        let mut joined = BTreeSet::new();
        let candidates = self.candidates(plan, &join);
        // One alone may keep the result alive for longer than all of them lived.
        let all = |plan: &mut Plan| candidates.iter().for_each(|one| put(plan, one, result));
        let is_whole = self.keep(plan, all);
        for one in &candidates {
            if is_whole || self.keep(plan, |plan| put(plan, one, result)) {
                joined.extend(one.stretches.iter().copied());
                let layout = one.spread.as_ref().map(|(_, layout)| layout.clone());
                self.layouts.extend(layout.map(|layout| (one.root, layout)));
            }
        }
        let rest = rest(found.parts.len(), &joined);
        let is_worth = !joined.is_empty() && rest.len() <= joined.len().max(1);
        let is_apart = found.is_outermost || !self.interleaves(plan, &join, &rest);
        if !is_worth || !is_apart {
            plan.slots = slots;
            (self.held, self.layouts) = (held, layouts);
            return None;
        }
        let steps = rest.into_iter().map(|range| {
            let own = self.piece_slot(plan, &join, range.clone());
            let (piece, operands) = found.piece(compute, range);
            let whole = &self.launches[kernel];
            let constants = operands.iter().map(|&k| whole.constants[k]).chain([None]);
            let launch = Launch {
                work: KernelWork::Compute(Box::new(piece)),
                name: whole.name.clone(),
                constants: constants.collect(),
                layouts: Vec::new(),
            };
            self.launches.push(launch);
            Step::Launch {
                kernel: self.launches.len() - 1,
                args: operands.iter().map(|&k| args[k]).chain([own]).collect(),
                name: name.clone(),
            }
        });
        Some(steps.collect())
    }

    /// A slot for neighbouring stretches that are copied.
    fn piece_slot(&mut self, plan: &mut Plan, join: &Join<'_>, range: Range<usize>) -> SlotId {
        let offset = join.at(&join.found.parts[range.start].start);
        let (shape, layout) = join.found.layout(join.compute, range);
        let slot = SlotId(plan.slots.len() as u32);
        let elements = match join.found.is_outermost {
            true => shape.iter().cloned().product(),
            false => layout.elements.clone(),
        };
        if !join.found.is_outermost {
            self.layouts.insert(slot.0 as usize, layout);
        }
        plan.slots.push(Slot {
            ty: ValueType::Tensor(TensorType::new(join.compute.dtype, shape)),
            bytes: elements * join.size.clone(),
            place: Place::Part {
                base: join.result,
                offset,
            },
        });
        slot
    }

    /// Whether a launch would write one of a result's parts and touch another.
    fn interleaves(&self, plan: &Plan, join: &Join<'_>, rest: &[Range<usize>]) -> bool {
        let root = join.result.0 as usize;
        let is_in = |slot: &SlotId| plan.root(*slot) == root && slot.0 as usize != root;
        let clashes = plan.steps.iter().any(|step| {
            let Step::Launch { kernel, args, .. } = step else {
                return false;
            };
            let touched: BTreeSet<&SlotId> = args.iter().filter(|slot| is_in(slot)).collect();
            let work = &self.launches[*kernel].work;
            let mut written = args.iter().enumerate().filter(|(_, slot)| is_in(slot));
            touched.len() > 1 && written.any(|(param, _)| work.writes(param))
        });
        let copies_own = rest.iter().cloned().any(|range| {
            let (_, operands) = join.found.piece(join.compute, range);
            operands.iter().any(|&k| is_in(&join.args[k]))
        });
        clashes || copies_own
    }

    /// Memory that a concatenation may take over, the largest first.
    fn candidates(&self, plan: &Plan, join: &Join<'_>) -> Vec<Candidate> {
        let mut candidates: Vec<(Candidate, Dim)> = Vec::new();
        for (position, stretch) in join.found.parts.iter().enumerate() {
            let Some(source) = stretch.source.as_ref().filter(|source| source.before.is(0)) else {
                continue;
            };
            let slot = join.args[source.operand];
            let (root, bytes) = (plan.root(slot), &plan.slots[slot.0 as usize].bytes);
            let (shape, layout) = join.found.layout(join.compute, position..position + 1);
            let elements: Dim = shape.iter().cloned().product();
            let may_move = self.may_move(plan, root) && !self.is_spread(plan, slot);
            if elements * join.size.clone() != *bytes || !may_move {
                continue;
            }
            let start = join.at(&stretch.start);
            let mut spread = None;
            if !join.found.is_outermost {
                // Rows begin and end at elements.
                let is_same = root == slot.0 as usize
                    && self.is_aligned(&join.size)
                    && join.compute.operands[source.operand].shape == shape
                    && self.follows(plan, slot, &shape);
                if !is_same || !is_long(join, position) {
                    continue;
                }
                let bytes = layout.elements.clone() * join.size.clone();
                spread = Some((bytes, layout));
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
                        spread,
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
        candidates.sort_by_key(|(_, sum)| std::cmp::Reverse(about(sum)));
        let candidates = candidates.into_iter();
        candidates.map(|(candidate, _)| candidate).collect()
    }

    /// Whether all that touch a slot take it under strides: launches of definitions, of one shape.
    fn follows(&self, plan: &Plan, slot: SlotId, shape: &[Dim]) -> bool {
        let has_parts = plan.slots.iter().any(|other| match other.place {
            Place::Alias(base) | Place::Part { base, .. } => base == slot,
            _ => false,
        });
        let mut touching = plan
            .steps
            .iter()
            .filter(|step| step.slots().contains(&slot));
        let takes = |step: &Step| {
            let Step::Launch { kernel, args, .. } = step else {
                return false;
            };
            let (operands, result) = match &self.launches[*kernel].work {
                KernelWork::Compute(compute) => (&compute.operands, compute.shape()),
                KernelWork::Contract(contract) => {
                    (&contract.epilogue.operands, contract.epilogue.shape())
                }
                KernelWork::Kernel(_) => return false,
            };
            let shapes = operands.iter().map(|operand| operand.shape.as_slice());
            let shapes = shapes.chain([result.as_slice()]);
            let mut seen = args.iter().zip(shapes).filter(|(arg, _)| **arg == slot);
            seen.all(|(_, seen)| seen == shape)
        };
        !has_parts && touching.all(takes)
    }

    /// Whether memory may become a part of other memory.
    fn may_move(&self, plan: &Plan, root: usize) -> bool {
        let is_planned = matches!(plan.slots[root].place, Place::Arena { .. });
        is_planned && self.written.contains(&root) && !self.pinned.contains(&root)
    }
}

/// Puts memory where it belongs in a concatenation.
fn put(plan: &mut Plan, one: &Candidate, base: SlotId) {
    let slot = &mut plan.slots[one.root];
    let offset = one.offset.clone();
    slot.place = Place::Part { base, offset };
    if let Some((bytes, _)) = &one.spread {
        slot.bytes = bytes.clone();
    }
}

/// Whether a part's rows are long enough to be walked one by one.
fn is_long(join: &Join<'_>, position: usize) -> bool {
    let stretch = &join.found.parts[position];
    let run = join.at(&(stretch.end.clone() - stretch.start.clone()));
    run.as_const().is_none_or(|bytes| bytes >= RUN_BYTES)
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
