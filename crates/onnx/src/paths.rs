//! Conditions that decide the rank or dtype of a value, or whether the rest of a graph types.
//!
//! Exporters of scripted code write `If(extent == 1) { squeeze } else { identity }`: what follows
//! has another rank on each path. A graph here is typed, so the importer follows both paths to the
//! end of the graph. Where only one of them types, a run that makes sense takes it: the graph is
//! that path's, and requires the condition to be so. Where both do, the rest of the graph becomes
//! the two branches of one `if`.

use alula_ir::{Attr, Attrs, ValueId};
use alula_ops::control::IF;
use alula_ops::elementwise::{arithmetic::EQ, choice::CAST};
use alula_ops::shape::{AS_DIMS, RESHAPE};
use alula_tensor::{DType, Dim, Tensor, TensorType};

use crate::model::{Importer, SubGraph};
use crate::proto::{NodeProto, ValueInfoProto};
use crate::scope::{Bound, Decisions};
use crate::{ImportError, NodeRef, Unsupported};

/// Most times that a path through a model is tried.
const TRIALS_MAX: usize = 256;

/// A condition that must be decided before the import can go on.
pub(crate) struct Undecided {
    /// The `If` among those of the scope's node that have no known condition.
    position: usize,
    /// The condition as the node has it, in the scope's graph.
    given: ValueId,
    /// The condition as a scalar.
    cond: ValueId,
    node: NodeRef,
}

/// What became of trying a path.
enum Trial {
    Types(Box<SubGraph>),
    /// Its first error.
    Fails(String),
    /// Nodes that we do not do.
    Unsupported(Vec<Unsupported>),
}

impl Importer<'_> {
    /// What was decided for the next `If` of the scope's node that has no known condition.
    pub(crate) fn next_decision(&mut self) -> Option<bool> {
        let decisions = &mut self.scopes.top().decisions;
        decisions.asked += 1;
        decisions.made.get(decisions.asked - 1).copied().flatten()
    }

    /// Asks the scope to decide the condition of the `If` that was met last.
    pub(crate) fn ask(&mut self, given: ValueId, cond: ValueId, node: NodeRef) {
        let position = self.scopes.top().decisions.asked - 1;
        self.undecided = Some(Undecided {
            position,
            given,
            cond,
            node,
        });
    }

    /// Imports the nodes of a graph, from where the scope's decisions hold, and its outputs.
    pub(crate) fn scope_body(
        &mut self,
        nodes: &[NodeProto],
        outputs: &[ValueInfoProto],
    ) -> Result<(), ImportError> {
        let mut at = 0;
        while let Some(node) = nodes.get(at) {
            self.scopes.top().decisions.asked = 0;
            match self.node(node) {
                Ok(()) => {
                    self.scopes.top().decisions = Decisions::default();
                    at += 1;
                }
                Err(error) => match self.undecided.take() {
                    Some(undecided) => {
                        if self.decide(&undecided, &nodes[at..], outputs)? {
                            return Ok(());
                        }
                    }
                    None => return Err(error),
                },
            }
        }
        self.outputs(outputs)
    }

    /// Follows both paths. Returns whether the scope is complete; if not, a decision was made and
    /// the node is to be imported again.
    fn decide(
        &mut self,
        undecided: &Undecided,
        rest: &[NodeProto],
        outputs: &[ValueInfoProto],
    ) -> Result<bool, ImportError> {
        let then = self.follow(undecided, true, rest, outputs)?;
        let otherwise = self.follow(undecided, false, rest, outputs)?;
        let fail = |reason: String| ImportError::Node {
            node: undecided.node.clone(),
            reason,
        };
        let (holds, why) = match (then, otherwise) {
            (Trial::Types(then), Trial::Types(otherwise)) => {
                self.fork(undecided, *then, *otherwise, outputs)
                    .map_err(fail)?;
                return Ok(true);
            }
            (Trial::Types(_), Trial::Fails(why)) => (true, why),
            (Trial::Fails(why), Trial::Types(_)) => (false, why),
            (Trial::Fails(a), Trial::Fails(b)) => {
                return Err(fail(format!("no branch can be taken: {a}; {b}")));
            }
            (Trial::Unsupported(nodes), _) | (_, Trial::Unsupported(nodes)) => {
                self.report(nodes);
                for info in outputs {
                    // What is missing is reported already.
                    self.scopes
                        .top_frame()
                        .names
                        .entry(info.name().to_owned())
                        .or_insert(Bound::Missing);
                }
                return Ok(true);
            }
        };
        let why = shortened(&why);
        let must = if holds { "hold" } else { "not hold" };
        self.warn(format!(
            "{}: its condition must {must}, which each run checks; otherwise {why}",
            undecided.node
        ));
        let who = format!("{}, which could not run otherwise ({why}),", undecided.node);
        self.require(undecided.cond, holds, &who).map_err(fail)?;
        self.rebind(undecided.given, holds);
        self.scopes.top().decisions.make(undecided.position, holds);
        Ok(false)
    }

    /// Imports the rest of the graph with the condition taken to hold or not.
    fn follow(
        &mut self,
        undecided: &Undecided,
        holds: bool,
        rest: &[NodeProto],
        outputs: &[ValueInfoProto],
    ) -> Result<Trial, ImportError> {
        self.trials += 1;
        if self.trials > TRIALS_MAX {
            return Err(ImportError::Limit {
                what: "paths through conditions that decide types",
                limit: TRIALS_MAX,
            });
        }
        let mut decisions = self.scopes.top().decisions.clone();
        decisions.make(undecided.position, holds);
        let reported = self.num_unsupported();
        let name = if holds { "then" } else { "else" };
        let assumed = vec![(undecided.given, holds)];
        let imported = self.in_scope(name, decisions, assumed, |importer| {
            importer.scope_body(rest, outputs)
        });
        let unsupported = self.take_unsupported(reported);
        match imported {
            Ok(_) if !unsupported.is_empty() => Ok(Trial::Unsupported(unsupported)),
            Ok(graph) => Ok(Trial::Types(Box::new(graph))),
            Err(error @ (ImportError::Node { .. } | ImportError::Model(_))) => {
                Ok(Trial::Fails(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the scope with an `if` whose branches are the two paths.
    fn fork(
        &mut self,
        undecided: &Undecided,
        then: SubGraph,
        otherwise: SubGraph,
        outputs: &[ValueInfoProto],
    ) -> Result<(), String> {
        let name = undecided.node.name.clone();
        let graph = self.graph();
        let mut operands = vec![Some(undecided.cond)];
        operands.extend(then.captures.iter().copied().map(Some));
        operands.extend(otherwise.captures.iter().copied().map(Some));
        let attrs = Attrs::new()
            .with("then_inputs", then.captures.len() as i64)
            .with("then", Attr::Graph(Box::new(then.graph)))
            .with("else", Attr::Graph(Box::new(otherwise.graph)));
        let results = graph
            .push_with_results(&IF, &operands, attrs, &name, outputs.len())
            .map_err(|error| error.to_string())?;
        for (info, id) in outputs.iter().zip(results) {
            graph.output(info.name(), id);
        }
        Ok(())
    }

    /// Lets names of a condition that is required stand for its truth. The condition itself stays
    /// as it is computed: the requirement looks at it.
    fn rebind(&mut self, given: ValueId, holds: bool) {
        let graph = self.graph();
        let shape = graph
            .ty(given)
            .as_tensor()
            .and_then(TensorType::static_shape);
        let truth = shape.and_then(|shape| {
            let count = shape.iter().product();
            Tensor::from_bools(&shape, &vec![holds; count]).ok()
        });
        let Some(truth) = truth else {
            return;
        };
        let truth = Bound::Value(graph.constant(truth));
        for bound in self.scopes.top_frame().names.values_mut() {
            if *bound == Bound::Value(given) {
                *bound = truth;
            }
        }
    }

    /// Requires a condition to hold, or not to: dims to be equal where it compares them.
    fn require(&mut self, cond: ValueId, holds: bool, who: &str) -> Result<(), String> {
        let graph = self.graph();
        let fail = |error: alula_ir::GraphError| error.to_string();
        if let Some((left, right)) = compared_dims(graph, cond).filter(|_| holds) {
            return graph.require(left, right, who).map_err(fail);
        }
        let mut value = cond;
        for (op, attrs) in [
            (&CAST, Attrs::new().with("to", DType::I64)),
            (&RESHAPE, Attrs::new().with("to", Vec::<Dim>::new())),
            (&AS_DIMS, Attrs::new()),
        ] {
            value = graph.apply(op, &[value], attrs, who).map_err(fail)?;
        }
        let content = graph.value(value).content.clone().unwrap_or_default();
        let [truth] = content.as_slice() else {
            return Err("its condition is not one element".to_owned());
        };
        let wanted = Dim::new(i64::from(holds));
        graph.require(truth.clone(), wanted, who).map_err(fail)
    }
}

/// The beginning of a reason that is long because of what it is made of.
fn shortened(reason: &str) -> String {
    const CHARS_MAX: usize = 240;
    match reason.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{} ...", &reason[..end]),
        None => reason.to_owned(),
    }
}

/// The two dims that a condition compares, if it is nothing but that.
fn compared_dims(graph: &alula_ir::Graph, mut cond: ValueId) -> Option<(Dim, Dim)> {
    loop {
        let node = graph.node(graph.producer(cond)?);
        let element = |position: usize| {
            let id = node.operands.get(position).copied().flatten()?;
            match graph.value(id).content.as_deref() {
                Some([dim]) => Some(dim.clone()),
                _ => None,
            }
        };
        if node.op.name == EQ.name {
            return Some((element(0)?, element(1)?));
        }
        let to = node.attrs.get("to").and_then(|to| match to {
            Attr::DType(dtype) => Some(*dtype),
            _ => None,
        });
        match node.op.name {
            name if name == RESHAPE.name => cond = node.operands[0]?,
            name if name == CAST.name && to == Some(DType::Bool) => cond = node.operands[0]?,
            _ => return None,
        }
    }
}
