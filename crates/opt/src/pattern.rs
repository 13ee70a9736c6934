//! Patterns and replacements: text in the words of the IR, with holes.
//!
//! ```text
//! add(?x, 0)                         operator, hole, literal
//! mul(?x, sigmoid(?x))               a hole that occurs twice is one value
//! clip|relu(?x)                      one of several operators
//! add(%c=conv(?x, ?w:const, _), ?b)  a name for an inner value; `_`: operand is absent
//! concat(?x, ..)                     any further operands
//! transpose(?x){perm = ?p}           attributes: a value, or a hole
//! conv(?x, ?w, ..){..}               attributes do not matter
//! ```
//!
//! A hole is `?name`, with a kind after a colon where it takes less than everything (`const`,
//! `splat`: a constant of one repeated value, `float`, `int`, `bool`: dtypes), and a `?` behind it
//! where the operand may be absent. A literal matches a constant all of whose elements have exactly
//! that value; `~1.4142135` matches what differs by less than one part in 2^17, for constants
//! that exporters round.
//!
//! Attributes that a pattern does not mention must have their defaults, unless it says `..`.
//! Operands of commutative operators match both ways.

mod parse;
mod search;

use alula_ir::{Attr, Graph, NodeId, OpDef, ValueId};
use alula_tensor::{DTypeClass, Scalar, Tensor};

pub(crate) use parse::{parse_pattern, parse_replacement};
pub(crate) use search::matches;

/// What a hole takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoleKind {
    Any,
    Constant,
    Splat,
    Class(DTypeClass),
    Integer,
}

/// A literal of a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Literal {
    pub value: f64,
    pub is_near: bool,
}

/// An expected operand.
#[derive(Clone, Debug)]
pub(crate) enum Pat {
    Absent,
    Hole {
        slot: usize,
        kind: HoleKind,
        optional: bool,
    },
    Literal(Literal),
    Node(Box<NodePat>),
}

/// An expected attribute.
#[derive(Clone, Debug)]
pub(crate) enum AttrPat {
    Value(Attr),
    Hole(usize),
}

/// An expected node.
#[derive(Clone, Debug)]
pub(crate) struct NodePat {
    /// Slot of the value's name, if it has one.
    pub bind: Option<usize>,
    /// Operators that fit.
    pub ops: Vec<&'static OpDef>,
    /// Which result of the node the value is.
    pub result: usize,
    pub operands: Vec<Pat>,
    /// Whether further operands may follow.
    pub open_operands: bool,
    pub attrs: Vec<(String, AttrPat)>,
    /// Whether attributes that are not mentioned may have any value.
    pub open_attrs: bool,
}

/// A parsed pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub root: NodePat,
    /// Names of values, by slot.
    pub values: Vec<String>,
    /// Names of attribute holes, by slot.
    pub attrs: Vec<String>,
}

/// A parsed replacement.
#[derive(Clone, Debug)]
pub(crate) enum Replacement {
    Value(String),
    Literal(f64),
    Node {
        op: &'static OpDef,
        operands: Vec<Replacement>,
        attrs: Vec<(String, AttrMade)>,
    },
}

/// An attribute of a replacement.
#[derive(Clone, Debug)]
pub(crate) enum AttrMade {
    Value(Attr),
    /// An attribute hole, or a value hole that is bound to a splat.
    Hole(String),
}

/// What the holes of a pattern are bound to.
#[derive(Clone, Debug)]
pub struct Match<'p> {
    pub(crate) pattern: &'p Pattern,
    /// The node at the root.
    pub root: NodeId,
    /// The matched result of the root, which is replaced.
    pub result: ValueId,
    pub(crate) values: Vec<Option<ValueId>>,
    pub(crate) attrs: Vec<Option<Attr>>,
    /// All matched nodes, the root first.
    pub nodes: Vec<NodeId>,
}

impl Match<'_> {
    /// The value of a hole or of a named inner value.
    ///
    /// # Panics
    /// When the pattern has no such name or leaves it open here: a bug of the rule.
    #[track_caller]
    pub fn value(&self, name: &str) -> ValueId {
        match self.optional(name) {
            Some(value) => value,
            None => panic!("the pattern binds no value {name}"),
        }
    }

    /// The value of a hole, if it is bound.
    pub fn optional(&self, name: &str) -> Option<ValueId> {
        let slot = self.pattern.values.iter().position(|known| known == name)?;
        self.values[slot]
    }

    /// The attribute of a hole; `None` where the node does not have it.
    pub fn attr(&self, name: &str) -> Option<&Attr> {
        let slot = self.pattern.attrs.iter().position(|known| known == name)?;
        self.attrs[slot].as_ref()
    }

    /// The node that makes a named inner value.
    ///
    /// # Panics
    /// When there is none: a bug of the rule.
    #[track_caller]
    pub fn node(&self, graph: &Graph, name: &str) -> NodeId {
        match graph.producer(self.value(name)) {
            Some(node) => node,
            None => panic!("{name} is not made by a node"),
        }
    }
}

/// The value that all elements of a constant have, if there is one.
pub(crate) fn splat(tensor: &Tensor) -> Option<Scalar> {
    let size = tensor.dtype().size_bytes();
    let bytes = tensor.bytes();
    if size == 0 || bytes.is_empty() {
        return None;
    }
    let (first, rest) = bytes.split_at(size);
    rest.chunks_exact(size)
        .all(|chunk| chunk == first)
        .then(|| Scalar::load(tensor.dtype(), first))
}

/// The value of a constant of one repeated value.
pub(crate) fn splat_of(graph: &Graph, value: ValueId) -> Option<Scalar> {
    splat(graph.as_constant(value)?)
}
