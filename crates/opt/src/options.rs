//! What the user decides about optimisation, and what optimisation reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alula_ir::VerifyError;

use crate::pipeline::pass_names;
use crate::rule::{Numerics, Rule};
use crate::rules::all_rules;

/// What the user decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rules and passes that are not applied, by name.
    pub disabled: BTreeSet<String>,
    /// If given, the only rules that are applied. Passes are not affected.
    pub only: Option<BTreeSet<String>>,
    /// Whether rules that compute something near are applied.
    pub allow_approximate: bool,
    /// Most bytes by which folding one node may grow the model.
    pub fold_bytes_max: u64,
    /// Whether dequantized constants are folded, which undoes their compression.
    pub fold_dequantize: bool,
    /// Whether the graph is verified after every rewrite and pass.
    pub verify: bool,
    /// Most rewrites in all, for finding the one that breaks an output.
    pub fires_max: Option<usize>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            disabled: BTreeSet::new(),
            only: None,
            allow_approximate: false,
            fold_bytes_max: 4 << 20,
            fold_dequantize: false,
            verify: cfg!(debug_assertions),
            fires_max: None,
        }
    }
}

impl Options {
    /// Whether a rule is applied.
    pub(crate) fn applies(&self, rule: &Rule) -> bool {
        (self.allow_approximate || rule.numerics != Numerics::Approximate)
            && !self.disabled.contains(rule.name)
            && self
                .only
                .as_ref()
                .is_none_or(|only| only.contains(rule.name))
    }

    /// Refuses names that mean nothing.
    pub(crate) fn check(&self) -> Result<(), OptError> {
        for name in self.disabled.iter().chain(self.only.iter().flatten()) {
            let is_rule = all_rules().any(|rule| rule.name == *name);
            if !is_rule && !pass_names().any(|pass| pass == *name) {
                return Err(OptError::UnknownRule(name.clone()));
            }
        }
        Ok(())
    }
}

/// Why optimisation stopped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OptError {
    /// An option names a rule that does not exist.
    #[error("there is no rule or pass named {0}")]
    UnknownRule(String),
    /// A rule or pass broke an invariant of the graph.
    #[error("the graph does not verify after {after}: {}", .errors[0])]
    Verify {
        /// The rule or pass, and where it was applied.
        after: String,
        /// All that does not hold.
        errors: Vec<VerifyError>,
    },
}

/// A place where a rule matched but was not applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NearMiss {
    /// The rule.
    pub rule: &'static str,
    /// The name of the node at the root of the match.
    pub node: String,
    /// Why not.
    pub reason: String,
}

/// What a pass did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// The pass, or the set of rules.
    pub name: &'static str,
    /// Nodes changed.
    pub changes: usize,
    /// Time it took.
    pub time: Duration,
}

/// What optimisation did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How often each rule was applied.
    pub fires: BTreeMap<&'static str, usize>,
    /// Places where rules matched but were not applied; bounded, and without repetitions.
    pub near_misses: BTreeSet<NearMiss>,
    /// Passes in the order in which they ran.
    pub passes: Vec<PassReport>,
    /// Nodes that became constants.
    pub folded_nodes: usize,
    /// Bytes of these constants.
    pub folded_bytes: u64,
    /// Nodes that would have become constants beyond the budget, with the bytes they need.
    pub fold_refused: BTreeMap<String, u64>,
    /// Nodes at first, those of sub-graphs included.
    pub nodes_before: usize,
    /// Nodes in the end.
    pub nodes_after: usize,
    /// Whether a bound ended it before nothing was left to do.
    pub is_incomplete: bool,
}

impl Report {
    /// All rewrites.
    pub fn total_fires(&self) -> usize {
        self.fires.values().sum()
    }

    /// Time of all passes.
    pub fn total_time(&self) -> Duration {
        self.passes.iter().map(|pass| pass.time).sum()
    }
}
