//! Optimisation of graphs: rewrite rules, constant folding, merging of equal nodes.
//!
//! [`optimize`] runs the whole pipeline. A rule is data in a file of its own below `rules`; the
//! driver in `engine` holds every rule to the same conditions, so that a rule says only what it
//! matches and what it makes of it.

mod axes;
mod channels;
mod content;
mod cse;
mod engine;
mod fold;
mod options;
mod patch;
mod pattern;
mod pipeline;
mod rule;
mod rules;
mod sparsity;

pub use options::{FoldLimit, FoldRefusal, NearMiss, OptError, Options, PassReport, Report};
pub use patch::Patch;
pub use pattern::Match;
pub use pipeline::{names, optimize};
pub use rule::{Build, Guard, Miss, Numerics, Right, Rule};
pub use rules::{all_rules, apply_rule, sets};
