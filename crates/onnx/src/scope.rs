//! Names: what a node's inputs refer to, through function calls and sub-graphs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alula_ir::{Graph, ValueId};
use alula_tensor::Tensor;

use crate::CallRef;
use crate::function::FunctionKey;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// A value of the scope's graph.
    Value(ValueId),
    /// The result of a node that is not supported; reported already.
    Missing,
}

/// Versions of domains; the main domain is the empty string.
pub(crate) type Opsets = BTreeMap<String, i64>;

/// Names and versions of one graph or function body.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) names: BTreeMap<String, Bound>,
    pub(crate) opsets: Opsets,
    /// The function whose body this is, if it is one.
    pub(crate) function: Option<FunctionKey>,
    /// The call that leads here, for messages: set in sub-graphs of a function's body, too.
    pub(crate) call: Option<Arc<CallRef>>,
}

impl Frame {
    pub(crate) fn new(opsets: Opsets) -> Frame {
        Frame {
            names: BTreeMap::new(),
            opsets,
            function: None,
            call: None,
        }
    }

    /// A frame for a sub-graph of a node here.
    pub(crate) fn inner(&self) -> Frame {
        Frame {
            call: self.call.clone(),
            ..Frame::new(self.opsets.clone())
        }
    }
}

/// What was decided, by trying, for each `If` of the scope's node at hand that has no known
/// condition, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decisions {
    pub(crate) made: Vec<Option<bool>>,
    /// Number of such `If`s met so far.
    pub(crate) asked: usize,
}

impl Decisions {
    pub(crate) fn make(&mut self, position: usize, holds: bool) {
        let count = self.made.len().max(position + 1);
        self.made.resize(count, None);
        self.made[position] = Some(holds);
    }
}

/// A graph under construction. Bodies of functions are frames on top of its own.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) graph: Graph,
    pub(crate) frames: Vec<Frame>,
    /// What the graph takes from the enclosing scope's graph: values there, in the order of the
    /// inputs that stand for them here.
    pub(crate) captures: Vec<ValueId>,
    pub(crate) decisions: Decisions,
    /// Conditions of the enclosing graph that are taken to hold here, or not to.
    pub(crate) assumed: Vec<(ValueId, bool)>,
    /// Indices that each run checks against these extents.
    pub(crate) demands: BTreeSet<(ValueId, Vec<String>)>,
}

/// Scopes from the outermost graph in.
#[derive(Debug, Default)]
pub(crate) struct Scopes(pub(crate) Vec<Scope>);

impl Scopes {
    pub(crate) fn top(&mut self) -> &mut Scope {
        self.0.last_mut().expect("an import has a scope")
    }

    pub(crate) fn top_frame(&mut self) -> &mut Frame {
        self.top().frames.last_mut().expect("a scope has a frame")
    }

    /// What a name stands for in the innermost scope. A name of an enclosing graph becomes an
    /// input of each graph in between; constants are shared instead.
    pub(crate) fn lookup(&mut self, name: &str) -> Option<Bound> {
        self.lookup_in(self.0.len().checked_sub(1)?, name)
    }

    fn lookup_in(&mut self, level: usize, name: &str) -> Option<Bound> {
        let frame = self.0[level].frames.last()?;
        if let Some(bound) = frame.names.get(name) {
            return Some(*bound);
        }
        // The body of a function sees only its own names.
        if frame.function.is_some() || level == 0 {
            return None;
        }
        let Bound::Value(outer) = self.lookup_in(level - 1, name)? else {
            return Some(Bound::Missing);
        };
        let graph = &self.0[level - 1].graph;
        let (ty, content) = (graph.ty(outer).clone(), graph.value(outer).content.clone());
        let constant = graph.as_constant(outer).cloned();
        let scope = &mut self.0[level];
        let assumed = scope.assumed.iter().find(|(value, _)| *value == outer);
        let constant = constant.or_else(|| {
            let shape = ty.as_tensor()?.static_shape()?;
            let holds = assumed?.1;
            Tensor::from_bools(&shape, &vec![holds; shape.iter().product()]).ok()
        });
        let inner = match constant {
            Some(tensor) => scope.graph.named_constant(name, tensor),
            None => {
                scope.captures.push(outer);
                let inner = scope.graph.input(name, ty);
                scope.graph.set_content(inner, content);
                inner
            }
        };
        // Below any function frame: the name belongs to the graph itself.
        scope
            .frames
            .last_mut()?
            .names
            .insert(name.to_owned(), Bound::Value(inner));
        Some(Bound::Value(inner))
    }
}
