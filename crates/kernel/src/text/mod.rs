//! The text of kernels, definitions and contractions.
//!
//! Kernels print canonically (values numbered in the order of their appearance) and parse back:
//!
//! ```text
//! kernel row_sum(x: f32[4*N] read, out: f32[N] write) symbols(N) {
//!   local row: f32[4]
//!   grid %0 < N
//!   %1: i64 = const 4
//!   %2: f32 = const 0.0
//!   %3: i64 = mul %0, %1
//!   for %4 < %1 lanes 4 carry (%5: f32 = %2 then %9 into %6 by add) {
//!     %7: i64 = add %3, %4
//!     %8: f32 = load x[%7]
//!     %9: f32 = add %5, %8
//!   }
//!   store out[%0] = %6
//! }
//! ```
//!
//! `dim` introduces a dim, `cast` and `bitcast` convert, `if %c { }` guards, `barrier` waits;
//! workgroups have a line `lanes 64 as %1` and write `shared row[%3]` for arrays of the group.
//! A `;` starts a comment. Definitions and contractions ([`Printed`]) parse back, too
//! ([`parse_definitions`]).

#[cfg(test)]
mod definition_tests;
mod lexer;
mod parse;
mod parse_compute;
mod print;
mod print_compute;
#[cfg(test)]
mod tests;

pub use parse::{parse_kernel, parse_kernels};
pub use parse_compute::{Definition, parse_definitions};

/// Why a text is no kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Something with a readable form: one expression on each line, names for operands.
///
/// ```text
/// compute (x0: f32[N, 4], x1: f32[M]) -> f32[N, 4] over (i0 < N, i1 < 4) {
///   equal M = N
///   e0: f32 = load x0[i0, i1]
///   e1: f32 = load x1[i0]
///   e2: f32 = mul e0, e1
///   result e2
/// }
/// ```
///
/// `equal` lines are pairs of dims that a run must find equal; indices, literals and dims stand
/// where they are used.
pub struct Printed<'a, T>(pub &'a T);
