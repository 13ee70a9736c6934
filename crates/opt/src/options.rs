//! What the user decides about optimisation, and what optimisation reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alula_ir::VerifyError;

use crate::pipeline::pass_names;
use crate::rule::{Numerics, Rule};
use crate::rules::{all_rules, sets};

/// What the user decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rules and passes that are not applied, by name.
    pub disabled: BTreeSet<String>,
    /// If given, the only rules and sets of rules that are applied. Passes are not affected.
    pub only: Option<BTreeSet<String>>,
    /// Whether rules that compute something near are applied.
    pub allow_approximate: bool,
    /// Most bytes by which folding one node may grow the model; a cast may double its operand.
    pub fold_bytes_max: u64,
    /// Most bytes by which all folding may grow the model; by default 32 MiB, or as much as its
    /// constants have if that is more.
    pub fold_total_max: Option<u64>,
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
            fold_total_max: None,
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

    /// The same options with names of sets in `only` replaced by their rules; refuses names that
    /// mean nothing.
    pub(crate) fn resolved(&self) -> Result<Options, OptError> {
        let is_rule = |name: &str| all_rules().any(|rule| rule.name == name);
        let is_pass = |name: &str| pass_names().any(|pass| pass == name);
        for name in self.disabled.iter().chain(self.only.iter().flatten()) {
            if !is_rule(name) && !is_pass(name) {
                return Err(OptError::UnknownRule(name.clone()));
            }
        }
        let Some(only) = &self.only else {
            return Ok(self.clone());
        };
        let mut rules = BTreeSet::new();
        for name in only {
            match sets().find(|(set, _)| set == name) {
                Some((_, of_set)) => {
                    rules.extend(of_set.iter().map(|rule| rule.name.to_owned()));
                }
                None if is_rule(name) => {
                    rules.insert(name.clone());
                }
                None => return Err(OptError::PassAsRule(name.clone())),
            }
        }
        Ok(Options {
            only: Some(rules),
            ..self.clone()
        })
    }
}

/// Why optimisation stopped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OptError {
    /// An option names a rule that does not exist.
    #[error("there is no rule or pass named {0}")]
    UnknownRule(String),
    /// The only rules to apply include a pass, which is none.
    #[error("{0} is a pass and no rule: passes run unless they are disabled")]
    PassAsRule(String),
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

/// Why a node that could be folded was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldRefusal {
    /// Bytes that its results need.
    pub bytes: u64,
    /// What speaks against it.
    pub limit: FoldLimit,
}

/// A bound on constant folding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldLimit {
    /// What one node may add to the model.
    Node,
    /// What all nodes together may add.
    Total,
    /// The work of its reference.
    Work,
}

impl FoldLimit {
    /// What speaks against folding, in a few words.
    pub const fn reason(self) -> &'static str {
        match self {
            FoldLimit::Node => "more than one node may add to the model",
            FoldLimit::Total => "more than is left of what all nodes may add to the model",
            FoldLimit::Work => "its reference would take too long",
        }
    }
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
    /// Near misses beyond the bound, repetitions included.
    pub near_misses_left_out: usize,
    /// Passes in the order in which they ran.
    pub passes: Vec<PassReport>,
    /// Nodes that became constants.
    pub folded_nodes: usize,
    /// Bytes of these constants.
    pub folded_bytes: u64,
    /// Nodes that would have become constants beyond a bound.
    pub fold_refused: BTreeMap<String, FoldRefusal>,
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
