//! Why a model cannot be imported.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What stands for the operator of an input, in messages.
pub(crate) const INPUT: &str = "input";
/// What stands for the operator of an initializer, in messages.
pub(crate) const INITIALIZER: &str = "initializer";

/// A call of a function of the model, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRef {
    /// The function: domain and name.
    pub function: String,
    /// The name of the node that calls it.
    pub caller: String,
    /// The call whose function's body the caller is in.
    pub outer: Option<Arc<CallRef>>,
}

impl fmt::Display for CallRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {} called by {:?}", self.function, self.caller)?;
        match &self.outer {
            Some(outer) => write!(f, " {outer}"),
            None => Ok(()),
        }
    }
}

/// A node of the model, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRef {
    /// Its name, or that of its first output.
    pub name: String,
    /// Its operator, with the domain unless that is ONNX's main one; `input` or `initializer` for
    /// what is no node.
    pub op_type: String,
    /// The version of the operator's domain that the model imports; 0 if none.
    pub opset: i64,
    /// The call that its function's body stands for, if it is in one.
    pub call: Option<Arc<CallRef>>,
}

impl NodeRef {
    /// The node without the call that it is in.
    pub(crate) fn plain(&self) -> String {
        let (op, name) = (&self.op_type, &self.name);
        match self.opset {
            0 => format!("{op} {name:?}"),
            opset => format!("{op} {name:?} (opset {opset})"),
        }
    }
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plain())?;
        match &self.call {
            Some(call) => write!(f, " {call}"),
            None => Ok(()),
        }
    }
}

/// Something that is valid ONNX and that we do not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Where.
    pub node: NodeRef,
    /// What.
    pub reason: String,
    /// Further calls of the function it is in that meet it, too.
    pub more_calls: usize,
}

impl Unsupported {
    /// Something met once.
    pub fn new(node: NodeRef, reason: String) -> Unsupported {
        Unsupported {
            node,
            reason,
            more_calls: 0,
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.reason)?;
        match self.more_calls {
            0 => Ok(()),
            1 => write!(f, " (1 more call)"),
            more => write!(f, " ({more} more calls)"),
        }
    }
}

/// What the items are of.
fn parts(items: &[Unsupported]) -> &'static str {
    let is_node = |item: &Unsupported| !matches!(item.node.op_type.as_str(), INPUT | INITIALIZER);
    match items.iter().all(is_node) {
        true => "of the model's nodes",
        false => "parts of the model",
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
    /// Elements of a type that we do not do.
    #[error("tensor {name:?}: {reason}")]
    DataType {
        /// The tensor's name.
        name: String,
        /// Which.
        reason: String,
    },
    /// Nodes, inputs and initializers that are valid and that we do not do: all of them.
    #[error("{} {} are not supported:{}", .0.len(), parts(.0), lines(.0))]
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
