//! Why a graph cannot be lowered.

use std::fmt;

use alula_ir::{GraphError, LowerError};

/// A node that has no kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFailure {
    /// The operator.
    pub op: &'static str,
    /// The node's name.
    pub name: String,
    /// Why.
    pub reason: NodeReason,
}

/// Why a node has no kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeReason {
    /// There is no kernel for it.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// It cannot be replaced by what it is made of.
    #[error(transparent)]
    Compose(#[from] GraphError),
}

impl fmt::Display for NodeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.op, self.name, self.reason)
    }
}

fn listed(nodes: &[NodeFailure]) -> String {
    match nodes {
        [node] => node.to_string(),
        nodes => {
            let lines: String = nodes.iter().map(|node| format!("\n  {node}")).collect();
            format!("{} nodes have no kernel:{lines}", nodes.len())
        }
    }
}

/// Why a graph cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerFailure {
    /// Nodes have no kernel: all of the graph's.
    #[error("{}", listed(.0))]
    Nodes(Vec<NodeFailure>),
    /// A node could not be replaced by others.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An annotation on a type has no operators.
    #[error("{value}: {reason}")]
    Annotation {
        /// The value.
        value: String,
        /// Why.
        reason: String,
    },
    /// A symbol has no value at run time.
    #[error("symbol {symbol} of {place} gets its value from nothing")]
    Symbol {
        /// The symbol.
        symbol: String,
        /// Where it is used.
        place: String,
    },
    /// A fusion plan does not fit the graph.
    #[error("fusion plan: {0}")]
    FusionPlan(String),
}
