//! What a rule builds in place of a match.
//!
//! Nodes that are made of constants only are folded as they are made, so that rules write weight
//! arithmetic as operators and later patterns see constants.

use std::collections::BTreeSet;

use alula_ir::{Attr, Attrs, Graph, NodeId, OpDef, ValueId};
use alula_tensor::{DType, Scalar, Shape, Tensor, TensorType};

use crate::fold::Folder;
use crate::pattern::{AttrMade, Match, Replacement, splat_of};
use crate::rule::Miss;

/// A change of a graph while it is made.
pub struct Patch<'g> {
    pub(crate) graph: &'g mut Graph,
    /// Nodes that nothing uses any more; they are still there and still hold their operands.
    pub(crate) dead: &'g mut BTreeSet<NodeId>,
    pub(crate) folder: &'g mut Folder,
    /// The name of the node that is replaced, which the new ones inherit.
    pub(crate) name: String,
    pub(crate) made: Vec<NodeId>,
}

impl Patch<'_> {
    /// The graph as it is.
    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// The type of a tensor value.
    ///
    /// # Errors
    /// A miss when it is no tensor.
    pub fn ty(&self, value: ValueId) -> Result<TensorType, Miss> {
        let ty = self.graph.ty(value).as_tensor().cloned();
        ty.ok_or(Miss::from("a value is not a tensor"))
    }

    /// The extents of a tensor value.
    ///
    /// # Errors
    /// A miss when it is no tensor.
    pub fn shape(&self, value: ValueId) -> Result<Shape, Miss> {
        Ok(self.ty(value)?.shape)
    }

    /// Adds a constant.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.graph.constant(tensor)
    }

    /// Adds a constant of rank 0.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> ValueId {
        let value = if dtype.is_float() {
            Scalar::Float(value)
        } else {
            Scalar::Int(value as i128)
        };
        let tensor = Tensor::from_scalars(dtype, &[], &[value]);
        self.graph
            .constant(tensor.expect("one element fills a scalar"))
    }

    /// Applies an operator with one result.
    ///
    /// # Errors
    /// A miss when there is no such operator, or it does not take these operands.
    pub fn apply(&mut self, op: &str, operands: &[ValueId], attrs: Attrs) -> Result<ValueId, Miss> {
        let operands: Vec<_> = operands.iter().copied().map(Some).collect();
        Ok(self.push(op, &operands, attrs, 1)?[0])
    }

    /// Applies an operator.
    ///
    /// # Errors
    /// As [`Patch::apply`].
    pub fn push(
        &mut self,
        op: &str,
        operands: &[Option<ValueId>],
        attrs: Attrs,
        results_wanted: usize,
    ) -> Result<Vec<ValueId>, Miss> {
        let op = alula_ops::registry()
            .get(op)
            .ok_or_else(|| format!("no operator {op}"))?;
        self.push_op(op, operands, attrs, results_wanted)
    }

    /// Applies an operator of which the row is at hand.
    ///
    /// # Errors
    /// As [`Patch::apply`].
    pub fn push_op(
        &mut self,
        op: &'static OpDef,
        operands: &[Option<ValueId>],
        attrs: Attrs,
        results_wanted: usize,
    ) -> Result<Vec<ValueId>, Miss> {
        let results =
            self.graph
                .push_with_results(op, operands, attrs, &self.name, results_wanted)?;
        let node = self.graph.producer(results[0]).expect("a node was made");
        self.made.push(node);
        match self.folder.fold(self.graph, node) {
            Some(tensors) => {
                self.dead.insert(node);
                Ok(tensors
                    .into_iter()
                    .map(|tensor| self.graph.constant(tensor))
                    .collect())
            }
            None => Ok(results),
        }
    }

    /// The same operator with the same attributes on other operands.
    ///
    /// # Errors
    /// As [`Patch::apply`].
    pub fn with_operands(
        &mut self,
        node: NodeId,
        operands: &[Option<ValueId>],
    ) -> Result<Vec<ValueId>, Miss> {
        let node = self.graph.node(node).clone();
        self.push_op(node.op, operands, node.attrs, node.results.len())
    }

    /// The users of a value that are not dead.
    pub fn uses(&self, value: ValueId) -> Vec<(NodeId, usize)> {
        live_uses(self.graph, self.dead, value)
    }

    /// Builds the text replacement of a match.
    pub(crate) fn instantiate(
        &mut self,
        made: &Replacement,
        found: &Match<'_>,
        dtype: DType,
    ) -> Result<ValueId, Miss> {
        match made {
            Replacement::Value(name) => Ok(found.value(name)),
            Replacement::Literal(value) => Ok(self.scalar(dtype, *value)),
            Replacement::Node {
                op,
                operands,
                attrs,
            } => {
                let mut values = Vec::with_capacity(operands.len());
                // Literals have the dtype of the operands beside them.
                let mut beside = dtype;
                for operand in operands {
                    if let Replacement::Value(name) = operand {
                        beside = self.ty(found.value(name))?.dtype;
                    }
                }
                for operand in operands {
                    values.push(Some(self.instantiate(operand, found, beside)?));
                }
                let mut made = Attrs::new();
                for (name, attr) in attrs {
                    match attr {
                        AttrMade::Value(value) => made.set(name, value.clone()),
                        AttrMade::Hole(hole) => {
                            if let Some(value) = self.attr_of(hole, found)? {
                                made.set(name, value);
                            }
                        }
                    }
                }
                Ok(self.push_op(op, &values, made, 1)?[0])
            }
        }
    }

    fn attr_of(&self, hole: &str, found: &Match<'_>) -> Result<Option<Attr>, Miss> {
        match found.optional(hole) {
            None => Ok(found.attr(hole).cloned()),
            Some(value) => match splat_of(self.graph, value) {
                Some(Scalar::Float(value)) => Ok(Some(Attr::Float(value))),
                Some(Scalar::Int(value)) => {
                    let value = i64::try_from(value).map_err(|_| Miss::from("too large"))?;
                    Ok(Some(Attr::Int(value)))
                }
                None => Err("the constant has more than one value".into()),
            },
        }
    }
}

/// The users of a value that are not dead.
pub(crate) fn live_uses(
    graph: &Graph,
    dead: &BTreeSet<NodeId>,
    value: ValueId,
) -> Vec<(NodeId, usize)> {
    let mut uses = graph.uses(value);
    uses.retain(|(user, _)| !dead.contains(user));
    uses
}
