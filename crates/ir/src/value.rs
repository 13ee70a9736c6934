//! Nodes and values: plain data.

use alula_tensor::{Dim, Tensor, ValueType};

use crate::{Attrs, OpDef};

/// A value of a graph: an input, a constant or a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// A node of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// An application of an operator.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator's row.
    pub op: &'static OpDef,
    /// What is fixed.
    pub attrs: Attrs,
    /// What it is applied to; `None` where an optional operand is absent.
    pub operands: Vec<Option<ValueId>>,
    /// What it makes.
    pub results: Vec<ValueId>,
    /// Where it came from, for messages and profiles: usually the model's node name.
    pub name: String,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Def {
    /// The graph's input of that position.
    Input(usize),
    /// A constant.
    Constant(Tensor),
    /// A result of a node.
    Result {
        /// The node.
        node: NodeId,
        /// The position among its results.
        index: usize,
    },
}

/// What is known of a value.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its type.
    pub ty: ValueType,
    /// The elements of a small integer tensor in row-major order, where they are known as dims.
    pub content: Option<Vec<Dim>>,
    /// A name from the model, if there is one.
    pub name: Option<String>,
    /// Where it comes from.
    pub def: Def,
}

/// What gives a symbol its value at run time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The extent of a graph input.
    Input {
        /// The input's position.
        input: usize,
        /// The axis.
        axis: usize,
    },
    /// An element of an integer tensor, known once it is computed.
    Content {
        /// The tensor.
        value: ValueId,
        /// The position of the element.
        index: usize,
    },
    /// The value of an expression over other symbols: it stands in where the expression would
    /// make types unreadable.
    Defined(Dim),
    /// An extent that an operator decides while it runs.
    Extent {
        /// The operator's result.
        value: ValueId,
        /// The axis.
        axis: usize,
    },
}
