//! Loops of GPU kernels bound to workgroups and lanes.
//!
//! Two schedules: one thread for each element of the result, or for each row that a fold runs over
//! ([`Policy::Gpu`]); or one workgroup for each row, whose lanes share the row's loops
//! ([`spread()`]). Rows that are long, and that neighbouring lanes read side by side, go to
//! workgroups; so do rows that are too few to fill a GPU with threads. The choice depends on the
//! definition only, so that a definition has one kernel.

mod spread;
mod stride;

use alula_kernel::{Compute, Inst, Kernel, Loop, Rhs, ValueId};

use crate::build::{ParamSpec, Policy, build};

pub use spread::spread;

/// Rows that keep a GPU busy with one thread each.
const THREADS_MIN: i64 = 1024;

/// The kernel of a definition, its loops bound as `policy` has it: on a GPU, in the schedule that
/// suits the definition.
///
/// # Panics
/// As [`build`]; when a GPU's lanes are not a power of two above 1.
pub fn schedule(name: &str, compute: &Compute, params: &[ParamSpec], policy: Policy) -> Kernel {
    let Policy::Gpu { lanes } = policy else {
        return build(name, compute, params, policy);
    };
    let rows = build(name, compute, params, Policy::Rows);
    let shared = pays(&rows, lanes).then(|| spread(&rows, lanes)).flatten();
    shared.unwrap_or_else(|| build(name, compute, params, policy))
}

/// The kernel of a definition with folds, a workgroup for each row, whether it pays or not.
///
/// # Panics
/// As [`schedule`].
pub fn schedule_rows(
    name: &str,
    compute: &Compute,
    params: &[ParamSpec],
    lanes: u32,
) -> Option<Kernel> {
    let rows = build(name, compute, params, Policy::Rows);
    if folds(&rows).is_empty() {
        return None;
    }
    spread(&rows, lanes)
}

/// Whether the lanes of a workgroup have enough to share in each row.
fn pays(rows: &Kernel, lanes: u32) -> bool {
    let folds = folds(rows);
    let is_long = |fold: &&Loop| known(rows, fold.extent).is_none_or(|e| e >= i64::from(lanes));
    if folds.is_empty() || !folds.iter().all(is_long) {
        return false;
    }
    let points = rows.num_points().as_const();
    points.is_some_and(|points| points < THREADS_MIN)
        || folds.iter().all(|fold| stride::walks_along(rows, fold))
}

/// Loops of a row that carry a fold.
fn folds(rows: &Kernel) -> Vec<&Loop> {
    let loops = rows.body.0.iter().filter_map(|inst| match inst {
        Inst::Loop(inner) if !inner.carried.is_empty() => Some(inner),
        _ => None,
    });
    loops.collect()
}

/// The value of a constant of the kernel's outermost block.
fn known(kernel: &Kernel, value: ValueId) -> Option<i64> {
    kernel.body.0.iter().find_map(|inst| match inst {
        Inst::Let {
            id,
            rhs: Rhs::Const(literal),
        } if *id == value => i64::try_from(literal.0.as_int()?).ok(),
        _ => None,
    })
}
