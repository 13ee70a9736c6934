//! Errors of the graph IR, one enum per room that reports them.

/// Why a node cannot be typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// The number of operands is wrong.
    #[error("takes {wanted} operands, not {given}")]
    Arity {
        /// What the operator takes.
        wanted: String,
        /// What the node has.
        given: usize,
    },
    /// An operand that must be there is absent.
    #[error("operand {0} is absent")]
    MissingOperand(usize),
    /// An attribute that must be there is absent.
    #[error("attribute {0} is absent")]
    MissingAttr(String),
    /// An attribute is not one of the operator's, or of the wrong kind.
    #[error("attribute {name}: {reason}")]
    BadAttr {
        /// The attribute.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An operand has a dtype that the operator does not take.
    #[error("operand {operand} is {given}, but the operator takes {wanted}")]
    BadDType {
        /// The operand's position.
        operand: usize,
        /// Its type.
        given: String,
        /// What would do.
        wanted: String,
    },
    /// Facts about operands and attributes disagree.
    #[error("{0}")]
    Mismatch(String),
    /// The combination is valid but not supported.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// Why a node cannot be evaluated by the reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The operands have values that the operator has no meaning for.
    #[error("{0}")]
    Value(String),
    /// A result would exceed a limit.
    #[error("result of {0} bytes exceeds the limit")]
    TooLarge(u64),
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] alula_tensor::TensorError),
    /// The operator has no reference for this.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// Why a node cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// The combination is valid but there is no kernel for it.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// Why a graph cannot be changed as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A node cannot be typed.
    #[error("{op} {name:?}: {error}")]
    Infer {
        /// The operator.
        op: &'static str,
        /// The node's name.
        name: String,
        /// Why.
        error: InferError,
    },
    /// A value is replaced by one of another type.
    #[error("a value of type {old} cannot be replaced by one of type {new}")]
    TypeChange {
        /// Type of what is replaced.
        old: String,
        /// Type of what replaces it.
        new: String,
    },
}

/// A broken invariant of a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {broken}")]
pub struct VerifyError {
    /// The node or value, as text.
    pub place: String,
    /// What does not hold.
    pub broken: String,
}
