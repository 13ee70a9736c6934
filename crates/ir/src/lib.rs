//! The graph IR: typed tensor operators in a directed acyclic graph.
//!
//! A [`Graph`] is built through [`Graph::push`], which infers every result type, so an untyped
//! graph never exists. Operators are rows of data ([`OpDef`]); this crate holds the row's type and
//! knows no operator by name. [`Graph::verify`] states the invariants; the text form
//! ([`std::fmt::Display`], [`parse`]) is canonical and parses back.

mod attr;
mod context;
mod error;
mod graph;
mod names;
mod opdef;
mod order;
mod parse;
mod print;
mod registry;
mod requirement;
mod token;
mod value;
mod verify;

pub use attr::{Attr, AttrDefault, AttrKind, AttrSpec, Attrs};
pub use context::{EvalCtx, HostValue, InferCtx, Inferred, LowerCtx, OperandFacts};
pub use error::{EvalError, GraphError, InferError, LowerError, VerifyError};
pub use graph::Graph;
pub use opdef::{Lowering, OpDef, Traits};
pub use parse::{ParseError, parse, parse_type};
pub use registry::Registry;
pub use requirement::Requirement;
pub use value::{Def, Node, NodeId, Origin, Value, ValueId};
