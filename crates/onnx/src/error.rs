//! Why a model cannot be imported.

use std::fmt;
use std::path::PathBuf;

/// A node of the model, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRef {
    /// Its name, or that of its first output.
    pub name: String,
    /// Its operator, with the domain unless that is ONNX's main one.
    pub op_type: String,
    /// The version of the operator's domain that the model imports.
    pub opset: i64,
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} (opset {})", self.op_type, self.name, self.opset)
    }
}

/// Something that is valid ONNX and that we do not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Where.
    pub node: NodeRef,
    /// What.
    pub reason: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.reason)
    }
}

fn lines(items: &[Unsupported]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}

/// Why a model cannot be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is larger than the limit.
    #[error("the model file has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The bytes are no ONNX model.
    #[error(transparent)]
    Decode(#[from] crate::proto::DecodeError),
    /// External data cannot be looked for.
    #[error(transparent)]
    External(#[from] crate::external::ExternalError),
    /// A tensor's payload does not make sense.
    #[error("tensor {name:?}: {error}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// Why.
        error: crate::tensor_data::TensorDataError,
    },
    /// The model breaks a rule of ONNX outside of any node.
    #[error("{0}")]
    Model(String),
    /// A node breaks a rule of ONNX, or does not type.
    #[error("{node}: {reason}")]
    Node {
        /// Where.
        node: NodeRef,
        /// What disagrees.
        reason: String,
    },
    /// Nodes that are valid and that we do not do: all of them.
    #[error("{} of the model's nodes are not supported:{}", .0.len(), lines(.0))]
    Unsupported(Vec<Unsupported>),
    /// More than a limit allows.
    #[error("the model has more than {limit} {what}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}
