//! What became of annotations, for reports.

use std::fmt::Write;

use alula_ir::{Graph, NodeId, ValueId};
use alula_tensor::{Granularity, Quant};

/// What became of the annotation of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The value's name, or that of the node that makes it.
    pub value: String,
    /// The annotation, without its scales.
    pub annotation: String,
    /// How the value comes to be what it says; `None` for constants.
    pub made: Option<Part>,
    /// What each reader does.
    pub read: Vec<Part>,
}

/// What a node makes of an annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Whether it takes what is stored as it is; else by definition: dequantized, or dense.
    pub is_native: bool,
    /// What it does, and why.
    pub how: String,
}

impl Fate {
    pub(super) fn new(graph: &Graph, value: ValueId, annotation: String) -> Fate {
        let name = graph.value(value).name.clone();
        let maker = || graph.producer(value).map(|id| graph.node(id).name.clone());
        Fate {
            value: name.or_else(maker).unwrap_or_default(),
            annotation,
            made: None,
            read: Vec::new(),
        }
    }

    /// Everything that was done with it.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.made.iter().chain(&self.read)
    }
}

impl Part {
    pub(super) fn new(graph: &Graph, id: NodeId) -> Part {
        let node = graph.node(id);
        Part {
            node: node.name.clone(),
            op: node.op.name.to_owned(),
            is_native: false,
            how: String::new(),
        }
    }

    pub(super) fn input(graph: &Graph, id: ValueId) -> Part {
        Part {
            node: graph.value(id).name.clone().unwrap_or_default(),
            op: "input".to_owned(),
            is_native: false,
            how: String::new(),
        }
    }

    pub(super) fn natively(self, how: &str) -> Part {
        let (is_native, how) = (true, how.to_owned());
        Part {
            is_native,
            how,
            ..self
        }
    }

    pub(super) fn by_definition(self, how: &str) -> Part {
        let how = how.to_owned();
        Part { how, ..self }
    }
}

/// An annotation without its numbers.
pub(super) fn short(quant: &Quant) -> String {
    let mut text = format!("quant<{}", quant.storage);
    let written = match quant.granularity {
        Granularity::Tensor => Ok(()),
        Granularity::Axis(axis) => write!(text, ", axis {axis}"),
        Granularity::Block { axis, size } => write!(text, ", axis {axis} block {size}"),
    };
    written.expect("a string takes everything");
    text + ">"
}
