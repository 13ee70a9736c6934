//! What is known of a plan before any run: computed once when a session is made.

use std::collections::BTreeSet;

use alula_program::{ParamAccess, Place, Plan, Program, SlotId, Step, SymbolOrigin};
use alula_tensor::{Dim, Symbol, ValueType};

use crate::symbols::SymbolTable;

/// A symbol that becomes known when a slot is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    /// The symbol's number.
    pub(crate) symbol: usize,
    /// Where the value comes from.
    pub(crate) from: From,
}

/// Where a symbol's value comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// An extent of a slot's value.
    Extent(SlotId, usize),
    /// An element of a slot's integer tensor.
    Content(SlotId, usize),
}

/// A plan with what follows from it alone.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// For each slot the one that holds its bytes: itself unless it is an alias or a part.
    pub(crate) root: Vec<usize>,
    /// Where each slot begins in the root's bytes, if it is a part of them.
    pub(crate) offset: Vec<Option<Dim>>,
    /// Symbols that this plan gives values to, which an outer plan's of the same name must not
    /// shadow.
    pub(crate) own: Vec<usize>,
    /// Symbols that are expressions over others, in an order in which they can be evaluated.
    pub(crate) defined: Vec<(usize, Dim)>,
    /// Symbols known when the plan begins.
    pub(crate) early: Vec<Late>,
    /// Symbols known after each step.
    pub(crate) late: Vec<Vec<Late>>,
    /// Symbols that sizes and shapes depend on and that are known at the beginning: together
    /// they decide a binding.
    pub(crate) key: Vec<usize>,
    /// Whether extents of inputs decide all that is known of symbols: with the same ones, another
    /// run of the plan is bound alike.
    pub(crate) is_steady: bool,
    /// For each root the output whose memory it may lie in from the start.
    pub(crate) result: Vec<Option<usize>>,
    /// Roots whose dynamic values nobody reads after a step.
    pub(crate) dead_after: Vec<Vec<usize>>,
}

impl Prepared {
    /// `lends` says whether kernels can write to the memory of outputs themselves.
    pub(crate) fn new(
        program: &Program,
        plan: &Plan,
        table: &mut SymbolTable,
        lends: bool,
    ) -> Prepared {
        let root: Vec<usize> = (0..plan.slots.len())
            .map(|slot| plan.root(SlotId(slot as u32)))
            .collect();
        let mut used = BTreeSet::new();
        for dim in dims(program, plan) {
            dim.collect_symbols(&mut used);
        }
        let (mut own, mut early, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut defined = Vec::new();
        let mut late: Vec<Vec<Late>> = vec![Vec::new(); plan.steps.len()];
        for def in &plan.symbols {
            let symbol = table.intern(&def.symbol);
            let (from, slot) = match def.origin {
                SymbolOrigin::Defined(ref dim) => {
                    let mut mentioned = BTreeSet::new();
                    dim.collect_symbols(&mut mentioned);
                    for symbol in &mentioned {
                        table.intern(symbol);
                    }
                    if mentioned.is_subset(&known) {
                        known.insert(def.symbol.clone());
                    }
                    own.push(symbol);
                    defined.push((symbol, dim.clone()));
                    continue;
                }
                SymbolOrigin::Outer => {
                    known.insert(def.symbol.clone());
                    continue;
                }
                SymbolOrigin::Input { input, axis } => {
                    let slot = plan.inputs[input].slot;
                    (From::Extent(slot, axis), slot)
                }
                SymbolOrigin::Extent { slot, axis } => (From::Extent(slot, axis), slot),
                SymbolOrigin::Content { slot, index } => (From::Content(slot, index), slot),
            };
            own.push(symbol);
            let entry = Late { symbol, from };
            let base = root[slot.0 as usize];
            match plan.slots[base].place {
                Place::Input(_) | Place::Constant(_) => {
                    known.insert(def.symbol.clone());
                    early.push(entry);
                }
                Place::Arena { .. } | Place::Dynamic | Place::Alias(_) | Place::Part { .. } => {
                    for (step, late) in plan.steps.iter().zip(&mut late) {
                        let mut writes = written(program, step);
                        if writes.any(|slot| root[slot.0 as usize] == base) {
                            late.push(entry);
                        }
                    }
                }
            }
        }
        for symbol in &used {
            table.intern(symbol);
        }
        let is_key = |symbol: &&Symbol| known.contains(*symbol);
        let key = used
            .iter()
            .filter(is_key)
            .filter_map(|symbol| table.number(symbol))
            .collect();
        let is_extent = |early: &Late| matches!(early.from, From::Extent(..));
        Prepared {
            is_steady: early.iter().all(is_extent) && late.iter().all(Vec::is_empty),
            dead_after: dead_after(plan, &root),
            result: match lends {
                true => results(program, plan, &root),
                false => vec![None; plan.slots.len()],
            },
            offset: (0..plan.slots.len())
                .map(|slot| plan.offset(SlotId(slot as u32)))
                .collect(),
            root,
            own,
            defined,
            early,
            late,
            key,
        }
    }
}

/// Every dim that sizes and launches of a plan depend on.
fn dims<'p>(program: &'p Program, plan: &'p Plan) -> Vec<Dim> {
    let mut dims = Vec::new();
    for slot in &plan.slots {
        dims.push(slot.bytes.clone());
        if let Place::Part { offset, .. } = &slot.place {
            dims.push(offset.clone());
        }
        if let ValueType::Tensor(ty) = &slot.ty {
            dims.extend(ty.shape.iter().cloned());
        }
    }
    for check in &plan.checks {
        dims.extend([check.left.clone(), check.right.clone()]);
    }
    for port in plan.inputs.iter().chain(&plan.outputs) {
        if let ValueType::Tensor(ty) = &port.ty {
            dims.extend(ty.shape.iter().cloned());
        }
    }
    for step in &plan.steps {
        if let Step::Launch { kernel, .. } = step {
            let entry = &program.kernels[*kernel];
            dims.extend(entry.params.iter().map(|param| param.bytes.clone()));
            dims.extend([entry.scratch.clone(), entry.work.clone()]);
            dims.extend(entry.symbols.iter().cloned().map(Dim::symbol));
        }
    }
    dims
}

/// The slots that a step writes.
fn written<'p>(program: &'p Program, step: &'p Step) -> Box<dyn Iterator<Item = SlotId> + 'p> {
    match step {
        Step::Launch { kernel, args, .. } => {
            let params = &program.kernels[*kernel].params;
            let writes = args
                .iter()
                .zip(params)
                .filter(|(_, param)| param.access == ParamAccess::Write);
            Box::new(writes.map(|(slot, _)| *slot))
        }
        Step::Dims { result, .. } => Box::new(std::iter::once(*result)),
        Step::Host { results, .. } | Step::If { results, .. } | Step::Loop { results, .. } => {
            Box::new(results.iter().copied())
        }
    }
}

/// For each root the output that it is, if it can lie in that output's memory: it is planned, all
/// of it is one output, and only launches touch it, one that writes it as a whole or once.
fn results(program: &Program, plan: &Plan, root: &[usize]) -> Vec<Option<usize>> {
    let mut result = vec![None; plan.slots.len()];
    let mut is_fit: Vec<bool> = plan
        .slots
        .iter()
        .map(|slot| matches!(slot.place, Place::Arena { .. }))
        .collect();
    for (output, port) in plan.outputs.iter().enumerate() {
        let base = root[port.slot.0 as usize];
        if result[base].replace(output).is_some() || plan.offset(port.slot).is_some() {
            is_fit[base] = false;
        }
    }
    for step in &plan.steps {
        let Step::Launch { args, .. } = step else {
            for slot in step.slots() {
                is_fit[root[slot.0 as usize]] = false;
            }
            continue;
        };
        for slot in written(program, step) {
            let base = root[slot.0 as usize];
            let touched = args.iter().filter(|arg| root[arg.0 as usize] == base);
            let is_written_twice = written(program, step)
                .filter(|slot| root[slot.0 as usize] == base)
                .count()
                > 1;
            let has_parts = touched.clone().any(|slot| plan.offset(*slot).is_some());
            if is_written_twice || touched.count() > 1 && has_parts {
                is_fit[base] = false;
            }
        }
    }
    let pairs = result.into_iter().zip(is_fit);
    pairs
        .map(|(result, is_fit)| result.filter(|_| is_fit))
        .collect()
}

/// For each step the roots in no planned memory that it is the last to touch.
fn dead_after(plan: &Plan, root: &[usize]) -> Vec<Vec<usize>> {
    let mut last: Vec<Option<usize>> = vec![None; plan.slots.len()];
    for (position, step) in plan.steps.iter().enumerate() {
        for slot in step.slots() {
            last[root[slot.0 as usize]] = Some(position);
        }
    }
    for port in &plan.outputs {
        last[root[port.slot.0 as usize]] = None;
    }
    let mut dead = vec![Vec::new(); plan.steps.len()];
    for (slot, last) in last.into_iter().enumerate() {
        let is_ours = matches!(plan.slots[slot].place, Place::Dynamic | Place::Arena { .. });
        if let Some(step) = last.filter(|_| is_ours) {
            dead[step].push(slot);
        }
    }
    dead
}
