//! How much memory a run needs, before it runs.
//!
//! A run holds the frame of its plan, planned memory that is packed by lifetime; beside it values
//! that steps make; and while a step runs other plans, what those hold: frames one behind the
//! other, two of them for a loop, whose iterations take turns. Scratch of kernels and copies of
//! what the caller takes are not in it, nor what alignment and gaps add where sizes are symbolic.

use std::collections::BTreeMap;
use std::fmt;

use alula_tensor::{Dim, Symbol, ValueType};

use crate::{Lifetime, Place, Plan, Program, SlotId, Step, SymbolOrigin, pack};

/// Bytes that are needed at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peak {
    /// The greatest of these under a binding of the symbols: each is what is alive at a step, and
    /// none is provably less than another. Empty for nothing at all.
    pub bytes: Vec<Dim>,
    /// Whether there are values besides whose sizes only the data decide.
    pub is_open: bool,
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes.as_slice() {
            [] => f.write_str("0")?,
            [dim] => write!(f, "{dim}")?,
            dims => {
                let texts: Vec<String> = dims.iter().map(Dim::to_string).collect();
                write!(f, "max({})", texts.join(", "))?;
            }
        }
        match self.is_open {
            true => f.write_str(" + data-dependent"),
            false => Ok(()),
        }
    }
}

/// Beyond so many, steps are compared by an expression rather than listed.
const LISTED_MAX: usize = 40;

impl Peak {
    fn of(dim: Dim) -> Peak {
        Peak {
            bytes: vec![dim],
            is_open: false,
        }
    }

    /// The greater of both.
    fn raise(&mut self, dim: &Dim) {
        let is_least = |other: &Dim, dim: &Dim| (other.clone() - dim.clone()).is_nonnegative();
        if dim.is(0) || self.bytes.iter().any(|known| is_least(known, dim)) {
            return;
        }
        self.bytes.retain(|known| !is_least(dim, known));
        self.bytes.push(dim.clone());
        if self.bytes.len() > LISTED_MAX {
            let all = self.bytes.drain(..);
            let most = all.reduce(|most, dim| most.maximum(&dim));
            self.bytes.extend(most);
        }
    }

    /// The greater of both.
    fn join(&mut self, other: &Peak) {
        other.bytes.iter().for_each(|dim| self.raise(dim));
        self.is_open |= other.is_open;
    }

    /// Both at once.
    fn plus(&self, other: &Peak) -> Peak {
        let mut sum = Peak {
            bytes: Vec::new(),
            is_open: self.is_open || other.is_open,
        };
        let zero = [Dim::new(0)];
        let or_zero = |dims: &'_ Vec<Dim>| match dims.as_slice() {
            [] => zero.to_vec(),
            dims => dims.to_vec(),
        };
        for a in or_zero(&self.bytes) {
            for b in or_zero(&other.bytes) {
                sum.raise(&(a.clone() + b));
            }
        }
        sum
    }

    /// The value under a binding of the symbols, if that gives all of them one.
    pub fn eval(&self, bind: &dyn Fn(&Symbol) -> Option<i64>) -> Option<i64> {
        let mut values = self.bytes.iter().map(|dim| dim.eval(bind).ok());
        values.try_fold(0, |most, value| Some(most.max(value?)))
    }
}

impl Program {
    /// What a run holds at its fullest, beside inputs and constants, over the symbols of the first
    /// plan's inputs.
    pub fn peak(&self) -> Peak {
        let Some(plan) = self.plans.first() else {
            return Peak::default();
        };
        let known = known(plan, &|_, input, axis| {
            let origin = SymbolOrigin::Input { input, axis };
            let mut defs = plan.symbols.iter();
            let def = defs.find(|def| def.origin == origin)?;
            Some(Dim::symbol(def.symbol.clone()))
        });
        Sizes { plans: &self.plans }.total(plan, &known)
    }
}

impl Plan {
    /// What the plan's own frame takes: planned memory, without that of plans that it runs.
    pub fn peak(&self) -> Peak {
        let symbols = self.symbols.iter().map(|def| def.symbol.clone());
        let known = symbols.map(|symbol| (symbol.clone(), Dim::symbol(symbol)));
        frame(self, &known.collect())
    }
}

/// Symbols of a plan over those of the outermost plan's inputs.
type Known = BTreeMap<Symbol, Dim>;

/// A dim over those; `None` if data decide it.
fn resolve(dim: &Dim, known: &Known) -> Option<Dim> {
    let mut symbols = std::collections::BTreeSet::new();
    dim.collect_symbols(&mut symbols);
    let is_known = symbols.iter().all(|symbol| known.contains_key(symbol));
    is_known.then(|| dim.substitute(&|symbol| known.get(symbol).cloned()))
}

/// The symbols of a plan that are known; `given` has the value of one that an outer plan knows, or
/// of an input's extent.
fn known(plan: &Plan, given: &dyn Fn(&Symbol, usize, usize) -> Option<Dim>) -> Known {
    let mut known = Known::new();
    for def in &plan.symbols {
        let dim = match &def.origin {
            SymbolOrigin::Input { input, axis } => given(&def.symbol, *input, *axis),
            SymbolOrigin::Outer => given(&def.symbol, usize::MAX, 0),
            SymbolOrigin::Defined(dim) => resolve(dim, &known),
            SymbolOrigin::Content { .. } | SymbolOrigin::Extent { .. } => None,
        };
        known.extend(dim.map(|dim| (def.symbol.clone(), dim)));
    }
    known
}

/// What lies in planned memory.
fn frame(plan: &Plan, known: &Known) -> Peak {
    let mut peak = Peak::default();
    let mut lives = Vec::new();
    for slot in &plan.slots {
        if let Place::Arena { first, last } = slot.place {
            match resolve(&slot.bytes, known) {
                Some(bytes) => lives.push((first, last, bytes)),
                None => peak.is_open = true,
            }
        }
    }
    let constant = |(first, last, bytes): &(usize, usize, Dim)| {
        let bytes = usize::try_from(bytes.as_const()?).ok()?;
        let (first, last) = (*first, *last);
        Some(Lifetime { bytes, first, last })
    };
    let constants: Option<Vec<Lifetime>> = lives.iter().map(constant).collect();
    match constants.as_deref().and_then(pack) {
        Some((_, total)) => peak.raise(&Dim::from(total)),
        None => {
            for alive in alive(plan.steps.len(), &lives) {
                peak.raise(&alive);
            }
        }
    }
    peak
}

/// What is alive at each step.
fn alive(steps: usize, lives: &[(usize, usize, Dim)]) -> Vec<Dim> {
    let mut changes = vec![Dim::new(0); steps + 1];
    for (first, last, bytes) in lives {
        let (first, end) = ((*first).min(steps), last.saturating_add(1).min(steps));
        changes[first] = changes[first].clone() + bytes.clone();
        changes[end] = changes[end].clone() - bytes.clone();
    }
    changes.truncate(steps);
    let mut sum = Dim::new(0);
    for change in &mut changes {
        sum = sum + change.clone();
        *change = sum.clone();
    }
    changes
}

/// Sizes of plans that run one another: each runs later ones only.
struct Sizes<'p> {
    plans: &'p [Plan],
}

impl Sizes<'_> {
    /// A plan's frame and what is held beside it.
    fn total(&self, plan: &Plan, known: &Known) -> Peak {
        frame(plan, known).plus(&self.beside(plan, known))
    }

    /// What is held beside a plan's frame, at its fullest step.
    fn beside(&self, plan: &Plan, known: &Known) -> Peak {
        let mut peak = Peak::default();
        let mut lives = Vec::new();
        for (slot, (first, last)) in made(plan) {
            let slot = &plan.slots[slot];
            match resolve(&slot.bytes, known).filter(|_| !slot.ty.is_host_only()) {
                Some(bytes) => lives.push((first, last, bytes)),
                None => peak.is_open = true,
            }
        }
        for (step, alive) in plan.steps.iter().zip(alive(plan.steps.len(), &lives)) {
            peak.join(&self.inner(plan, step, known).plus(&Peak::of(alive)));
        }
        peak
    }

    /// What the plans that a step runs hold.
    fn inner(&self, plan: &Plan, step: &Step, known: &Known) -> Peak {
        let mut peak = Peak::default();
        match step {
            Step::If {
                then, otherwise, ..
            } => {
                for (position, passed) in [then, otherwise] {
                    let Some(inner) = self.plans.get(*position) else {
                        continue;
                    };
                    let passed = |input: usize| passed.get(input).copied();
                    let symbols = passed_symbols(plan, inner, known, &passed);
                    peak.join(&self.total(inner, &symbols));
                }
            }
            Step::Loop {
                body,
                carried,
                captures,
                results,
                ..
            } => {
                let Some(inner) = self.plans.get(*body) else {
                    return peak;
                };
                let passed = |input: usize| {
                    let value = input.checked_sub(2)?;
                    match carried.get(value) {
                        // An extent that changes from one iteration to the next is not known.
                        Some(slot) => {
                            let before = inner.inputs.get(input).map(|port| &port.ty);
                            let after = inner.outputs.get(1 + value).map(|port| &port.ty);
                            (before == after).then_some(*slot)
                        }
                        None => captures.get(value - carried.len()).copied(),
                    }
                };
                let symbols = passed_symbols(plan, inner, known, &passed);
                let own = frame(inner, &symbols);
                peak = own.plus(&own).plus(&self.beside(inner, &symbols));
                // A stack of slices has twice their bytes at most, and is copied.
                for slot in results.iter().skip(carried.len()) {
                    match resolve(&plan.slots[slot.0 as usize].bytes, known) {
                        Some(bytes) => peak = peak.plus(&Peak::of(bytes * Dim::new(2))),
                        None => peak.is_open = true,
                    }
                }
            }
            Step::Launch { .. } | Step::Host { .. } | Step::Dims { .. } => {}
        }
        peak
    }
}

/// The symbols of a plan that another one runs with these slots as its inputs.
fn passed_symbols(
    outer: &Plan,
    inner: &Plan,
    known_outside: &Known,
    passed: &dyn Fn(usize) -> Option<SlotId>,
) -> Known {
    known(inner, &|symbol, input, axis| {
        if input == usize::MAX {
            return known_outside.get(symbol).cloned();
        }
        let slot = outer.slots.get(passed(input)?.0 as usize)?;
        let ValueType::Tensor(ty) = &slot.ty else {
            return None;
        };
        resolve(ty.shape.get(axis)?, known_outside)
    })
}

/// Slots outside of planned memory, with the first and last step that touch them.
fn made(plan: &Plan) -> BTreeMap<usize, (usize, usize)> {
    let mut lives: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut touch = |slot: SlotId, step: usize| {
        let root = plan.root(slot);
        if plan.slots[root].place == Place::Dynamic {
            lives.entry(root).or_insert((step, step)).1 = step;
        }
    };
    for (position, step) in plan.steps.iter().enumerate() {
        step.slots()
            .into_iter()
            .for_each(|slot| touch(slot, position));
    }
    for port in &plan.outputs {
        touch(port.slot, plan.steps.len());
    }
    lives
}

#[cfg(test)]
mod tests;
