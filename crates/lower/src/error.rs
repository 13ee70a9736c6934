//! Why a graph cannot be lowered.

/// Why a graph cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerFailure {
    /// A node has no kernel.
    #[error("{op} {name:?}: {error}")]
    Node {
        /// The operator.
        op: &'static str,
        /// The node's name.
        name: String,
        /// Why.
        error: alula_ir::LowerError,
    },
    /// A node could not be replaced by others.
    #[error(transparent)]
    Graph(#[from] alula_ir::GraphError),
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
