//! A rewrite rule: data that says what it matches and what it makes of it.
//!
//! A rule's patterns and its replacement are text in the IR's own words (see [`crate::pattern`]).
//! Where the right side must compute, a function builds it on a [`Patch`]. What holds for every
//! rule is not said by the rule: the driver makes sure that inner nodes of a match have no other
//! user, that the replaced value keeps its type, and that rewriting ends.

use std::borrow::Cow;

use alula_ir::{Graph, GraphError, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;

/// What a rule does to numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Numerics {
    /// Not a bit differs, except the sign of zeros and the payload of NaNs.
    Exact,
    /// Rounds at other places: differs as another order of the same sum would.
    Rounding,
    /// Computes something else that is near; applied only when asked for.
    Approximate,
}

/// Why a match was not rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss(pub Cow<'static, str>);

impl Miss {
    /// The rule does not apply; nothing worth reporting.
    pub const NONE: Miss = Miss(Cow::Borrowed(""));
}

impl From<&'static str> for Miss {
    fn from(reason: &'static str) -> Miss {
        Miss(Cow::Borrowed(reason))
    }
}

impl From<String> for Miss {
    fn from(reason: String) -> Miss {
        Miss(Cow::Owned(reason))
    }
}

impl From<GraphError> for Miss {
    fn from(error: GraphError) -> Miss {
        Miss(Cow::Owned(error.to_string()))
    }
}

impl std::fmt::Display for Miss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A condition in the body of a rule, with the reason for a near miss.
pub(crate) fn require(condition: bool, reason: &'static str) -> Result<(), Miss> {
    if condition {
        Ok(())
    } else {
        Err(reason.into())
    }
}

/// A condition without which a rule does not apply at all, so that nobody wonders why not.
pub(crate) fn fits(condition: bool) -> Result<(), Miss> {
    if condition { Ok(()) } else { Err(Miss::NONE) }
}

/// A condition on a match.
pub type Guard = fn(&Graph, &Match<'_>) -> Result<(), Miss>;

/// Builds what replaces the matched result.
pub type Build = fn(&Match<'_>, &mut Patch<'_>) -> Result<ValueId, Miss>;

/// The right side of a rule.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    /// Text with the holes of the pattern.
    Text(&'static str),
    /// A function.
    Build(Build),
}

/// A rewrite rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Completes "apply ..."; the name of its file and of its test.
    pub name: &'static str,
    /// One line: what becomes what.
    pub summary: &'static str,
    /// What it does to numbers.
    pub numerics: Numerics,
    /// What it matches: spellings of the same thing, with the same holes.
    pub patterns: &'static [&'static str],
    /// Conditions beyond the pattern.
    pub guard: Option<Guard>,
    /// What it makes.
    pub right: Right,
    /// Whether inner nodes may have other users: true where that costs nothing.
    pub sharing: bool,
}

impl Rule {
    const fn new(name: &'static str, summary: &'static str, numerics: Numerics) -> Rule {
        Rule {
            name,
            summary,
            numerics,
            patterns: &[],
            guard: None,
            right: Right::Text("?x"),
            sharing: false,
        }
    }

    /// A rule after which not a bit differs.
    pub(crate) const fn exact(name: &'static str, summary: &'static str) -> Rule {
        Rule::new(name, summary, Numerics::Exact)
    }

    /// A rule that rounds at other places.
    pub(crate) const fn rounding(name: &'static str, summary: &'static str) -> Rule {
        Rule::new(name, summary, Numerics::Rounding)
    }

    /// A rule that computes something near.
    pub(crate) const fn approximate(name: &'static str, summary: &'static str) -> Rule {
        Rule::new(name, summary, Numerics::Approximate)
    }

    /// Sets what is matched.
    pub(crate) const fn matching(mut self, patterns: &'static [&'static str]) -> Rule {
        self.patterns = patterns;
        self
    }

    /// Adds a condition.
    pub(crate) const fn when(mut self, guard: Guard) -> Rule {
        self.guard = Some(guard);
        self
    }

    /// Sets the replacement as text.
    pub(crate) const fn to(mut self, replacement: &'static str) -> Rule {
        self.right = Right::Text(replacement);
        self
    }

    /// Sets the replacement as a function.
    pub(crate) const fn build(mut self, build: Build) -> Rule {
        self.right = Right::Build(build);
        self
    }

    /// Allows inner nodes to have other users.
    pub(crate) const fn sharing(mut self) -> Rule {
        self.sharing = true;
        self
    }
}
