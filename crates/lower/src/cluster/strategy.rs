//! Named strategies, and what was decided under them.

use std::fmt;
use std::str::FromStr;

/// What may fuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// Nothing: a kernel for each node.
    None,
    /// Definitions without folds into each other.
    Elementwise,
    /// As `Elementwise`, and into the epilogues of contractions.
    Epilogue,
    /// As `Epilogue`, and into and out of folds.
    Reduction,
    /// What is taken unless another is named: at present as `Reduction`, which fuses whatever
    /// counts as no more work.
    #[default]
    Auto,
}

impl Strategy {
    /// Every strategy, from least to most.
    pub const ALL: [Strategy; 5] = [
        Strategy::None,
        Strategy::Elementwise,
        Strategy::Epilogue,
        Strategy::Reduction,
        Strategy::Auto,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::None => "none",
            Strategy::Elementwise => "elementwise",
            Strategy::Epilogue => "epilogue",
            Strategy::Reduction => "reduction",
            Strategy::Auto => "auto",
        }
    }

    /// The strategy that this one is another name for, if it is.
    pub const fn alias_of(self) -> Option<Strategy> {
        match self {
            Strategy::Auto => Some(Strategy::Reduction),
            Strategy::None | Strategy::Elementwise | Strategy::Epilogue | Strategy::Reduction => {
                None
            }
        }
    }

    pub(super) fn inlines(self) -> bool {
        self != Strategy::None
    }

    pub(super) fn fills_epilogues(self) -> bool {
        matches!(
            self,
            Strategy::Epilogue | Strategy::Reduction | Strategy::Auto
        )
    }

    pub(super) fn crosses_folds(self) -> bool {
        matches!(self, Strategy::Reduction | Strategy::Auto)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(name: &str) -> Result<Strategy, String> {
        Strategy::ALL
            .into_iter()
            .find(|s| s.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = Strategy::ALL.iter().map(|s| s.name()).collect();
                format!(
                    "there is no strategy {name:?}; there are {}",
                    names.join(", ")
                )
            })
    }
}

/// Whether one value's making was fused into its use, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The value, by name.
    pub value: String,
    /// The node that makes it.
    pub producer: String,
    /// `None` if it fused, else the reason.
    pub refused: Option<String>,
}

/// What fusing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FusionReport {
    /// The graph's name.
    pub graph: String,
    /// The same as `groups`, by names that are unique: what a [`super::FusionPlan`] holds.
    pub labels: Vec<Vec<String>>,
    /// Nodes of each work item, in order.
    pub groups: Vec<Vec<String>>,
    /// Decisions on every value that is used inside the graph.
    pub decisions: Vec<Decision>,
}
