//! Bindings: what values of symbols make of a plan. Computed once for each tuple of values, kept.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, RwLock};

use alula_program::{Check, Lifetime, Place, Plan, Step, pack};
use alula_tensor::{Dim, DimError, ValueType};

use crate::StepError;
use crate::execute::Core;
use crate::prepare::Prepared;
use crate::symbols::{Env, SymbolTable};

/// Where a root slot lives under a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the frame's part of the arena.
    Arena { offset: usize, bytes: usize },
    /// In the memory that an output of the run goes to.
    Result { output: usize, bytes: usize },
    /// In memory of its own, allocated when it is written.
    Own,
    /// Somewhere that exists already, or an alias.
    Elsewhere,
}

/// A plan under given values of the symbols that are known when it begins.
#[derive(Debug)]
pub(crate) struct Binding {
    /// Each slot's home.
    pub(crate) homes: Vec<Home>,
    /// For each slot that is a part of its root's bytes, where it begins and ends; `None` also
    /// where that depends on later symbols.
    pub(crate) parts: Vec<Option<Range<usize>>>,
    /// Each slot's extents; `None` where they depend on later symbols or it is no tensor.
    pub(crate) shapes: Vec<Option<Vec<usize>>>,
    /// Each step's kernel symbols; `None` where some are known later only.
    pub(crate) symbols: Vec<Option<Vec<i64>>>,
    /// Scalar evaluations of each launch; `None` where they are known later only.
    pub(crate) work: Vec<Option<u64>>,
    /// Bytes of the frame in the arena.
    pub(crate) arena_bytes: usize,
    /// Most scratch that a kernel takes, as far as its sizes are known.
    pub(crate) scratch_bytes: u64,
    /// Positions of the plan's checks that wait for later symbols.
    pub(crate) open_checks: Vec<usize>,
}

/// Bindings of a plan. When there are too many they are all forgotten: a model whose shapes never
/// repeat must not grow for ever.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    known: RwLock<HashMap<Vec<i64>, Arc<Binding>>>,
}

const BINDINGS_MAX: usize = 256;

impl Bindings {
    pub(crate) fn get(&self, key: &[i64]) -> Option<Arc<Binding>> {
        let known = self
            .known
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(key).cloned()
    }

    pub(crate) fn put(&self, key: &[i64], binding: &Arc<Binding>) {
        let mut known = self
            .known
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() >= BINDINGS_MAX {
            known.clear();
        }
        known.insert(key.to_vec(), Arc::clone(binding));
    }
}

impl Binding {
    /// Sizes and places under the symbols known so far.
    ///
    /// # Errors
    /// A known size that is negative or beyond what memory can address, or over the limit.
    pub(crate) fn new(
        core: &Core,
        plan: &Plan,
        prepared: &Prepared,
        env: &Env,
    ) -> Result<Binding, StepError> {
        let (program, table, bytes_max) = (&core.program, &core.table, core.limits.bytes_max);
        let mut open_checks = Vec::new();
        for position in 0..plan.checks.len() {
            if known(check(plan, position, table, env))?.is_none() {
                open_checks.push(position);
            }
        }
        let mut homes = vec![Home::Elsewhere; plan.slots.len()];
        let mut shapes = Vec::with_capacity(plan.slots.len());
        let (mut planned, mut lives) = (Vec::new(), Vec::new());
        let mut total = 0_u64;
        for (position, slot) in plan.slots.iter().enumerate() {
            let shape = match &slot.ty {
                ValueType::Tensor(ty) => known(table.shape(&ty.shape, env))?,
                _ => None,
            };
            shapes.push(shape);
            match slot.place {
                Place::Dynamic => homes[position] = Home::Own,
                Place::Arena { first, last } => match known(table.size(&slot.bytes, env))? {
                    None => homes[position] = Home::Own,
                    Some(bytes) if let Some(output) = prepared.result[position] => {
                        homes[position] = Home::Result { output, bytes };
                    }
                    Some(bytes) => {
                        total = total.max(bytes as u64);
                        planned.push(position);
                        lives.push(Lifetime { bytes, first, last });
                    }
                },
                Place::Input(_) | Place::Constant(_) | Place::Alias(_) | Place::Part { .. } => {}
            }
        }
        limit(total, bytes_max)?;
        let (offsets, arena_bytes) =
            pack(&lives).ok_or_else(|| StepError::value("the plan's memory is beyond 64 bits"))?;
        limit(arena_bytes as u64, bytes_max)?;
        for ((slot, life), offset) in planned.into_iter().zip(&lives).zip(offsets) {
            let bytes = life.bytes;
            homes[slot] = Home::Arena { offset, bytes };
        }
        debug_assert_eq!(prepared.root.len(), homes.len());
        let parts = parts(plan, prepared, &homes, table, env)?;
        let symbols: Vec<Option<Vec<i64>>> = plan
            .steps
            .iter()
            .map(|step| match step {
                Step::Launch { kernel, .. } => program.kernels[*kernel]
                    .symbols
                    .iter()
                    .map(|symbol| env.get(table.number(symbol)?).copied().flatten())
                    .collect(),
                _ => None,
            })
            .collect();
        let work = plan.steps.iter().map(|step| match step {
            Step::Launch { kernel, .. } => evaluations(&program.kernels[*kernel].work, table, env),
            _ => None,
        });
        let mut scratch_bytes = 0;
        for (step, values) in plan.steps.iter().zip(&symbols) {
            if let (Step::Launch { kernel, .. }, Some(values)) = (step, values) {
                // What the kernel cannot do with these sizes, its launch reports.
                let scratch = core.module.scratch_bytes(*kernel, values).unwrap_or(0);
                scratch_bytes = scratch_bytes.max(scratch);
            }
        }
        Ok(Binding {
            work: work.collect(),
            homes,
            parts,
            shapes,
            symbols,
            arena_bytes,
            scratch_bytes,
            open_checks,
        })
    }
}

/// Where parts begin and end in their roots' bytes, those of planned memory within them.
fn parts(
    plan: &Plan,
    prepared: &Prepared,
    homes: &[Home],
    table: &SymbolTable,
    env: &Env,
) -> Result<Vec<Option<Range<usize>>>, StepError> {
    let mut parts = Vec::with_capacity(plan.slots.len());
    for ((slot, offset), &root) in plan.slots.iter().zip(&prepared.offset).zip(&prepared.root) {
        let part = offset
            .as_ref()
            .map(|offset| table.part(offset, &slot.bytes, env));
        let part = part.map(known).transpose()?.flatten();
        if let (Some(part), Home::Arena { bytes, .. } | Home::Result { bytes, .. }) =
            (&part, homes[root])
            && part.end > bytes
        {
            let text = format!("bytes {part:?} of a value that has {bytes}");
            return Err(StepError::Value(text));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// A number of scalar evaluations, as many as can be said if there are more; `None` if it depends
/// on a symbol that is not known yet.
pub(crate) fn evaluations(work: &Dim, table: &SymbolTable, env: &Env) -> Option<u64> {
    match table.eval(work, env) {
        Ok(work) => Some(u64::try_from(work).unwrap_or(0)),
        Err(StepError::Dim(DimError::Overflow(_))) => Some(u64::MAX),
        Err(_) => None,
    }
}

/// Two dims that the plan relies on being equal are.
pub(crate) fn check(
    plan: &Plan,
    position: usize,
    table: &SymbolTable,
    env: &Env,
) -> Result<(), StepError> {
    let Check {
        left,
        right,
        nodes,
        reason,
    } = &plan.checks[position];
    let (x, y) = (table.eval(left, env)?, table.eval(right, env)?);
    if x == y {
        return Ok(());
    }
    Err(StepError::Value(match reason {
        Some(reason) => format!("{nodes}: {reason}"),
        None => format!("{nodes} takes {left} and {right} to be equal, but they are {x} and {y}"),
    }))
}

/// `None` for what depends on a symbol that is not known yet.
pub(crate) fn known<T>(value: Result<T, StepError>) -> Result<Option<T>, StepError> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(StepError::Dim(DimError::Unbound(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn limit(needed: u64, limit: u64) -> Result<(), StepError> {
    if needed <= limit {
        return Ok(());
    }
    Err(StepError::Limit {
        what: "the run's memory in bytes",
        needed,
        limit,
    })
}
