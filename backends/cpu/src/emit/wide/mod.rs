//! Wide loops: loops over lanes at 512 bits, printed by an assembler.
//!
//! The code generator has vectors of 128 bits only. Where the machine has AVX-512, the innermost
//! loops whose instructions all have a form here become functions of their own: the code of the
//! kernel around them computes what is the same in all lanes, stores it to a frame on its stack and
//! calls. What has no form here, `Plan` and `print` refuse, and the code generator prints it.
//!
//! A function is `extern "sysv64" fn(frame, begin, end, is_first)` over iterations `begin..end`; or
//! over all of them again and again, where the loop around it only goes from row to row.
//! The results are, bit for bit, those of the code generator: whole groups of lanes are followed by
//! one group under a mask, and folds keep the partial values that `LoopKind::Lanes` fixes.

mod assembler;
mod body;
mod call;
mod cast;
mod extremes;
mod function;
mod integers;
mod memory;
mod narrowed;
mod ops;
mod pattern;
mod plan;
mod reach;
mod scaled;
mod steps;

pub(super) use call::NAMESPACE;
pub(super) use function::Function;

use crate::CpuFeatures;

/// The wide loops of one kernel.
#[derive(Default)]
pub(super) struct Wide {
    /// In the order in which they were printed.
    pub(super) functions: Vec<Function>,
    /// Whether instructions are wanted as text.
    pub(super) is_listed: bool,
}

/// Whether code for this machine has wide loops.
pub(super) fn is_wide(features: &CpuFeatures) -> bool {
    let all = ["avx512f", "avx512vl", "avx512dq", "bmi2"];
    features.arch == "x86_64" && all.iter().all(|name| features.has(name))
}
