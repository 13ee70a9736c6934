//! What a rule builds in place of a match.
//!
//! Nodes that are made of constants only are folded as they are made, so that rules write weight
//! arithmetic as operators and later patterns see constants. Dequantizations wait for the pass
//! that folds, which sees who uses them.

use std::collections::BTreeSet;
use std::sync::Arc;

use alula_ir::{Attr, Attrs, Graph, NodeId, OpDef, ValueId};
use alula_tensor::{DType, Quant, Scalar, Shape, Tensor, TensorType};

use crate::fold::{Folder, Folding};
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
    /// The nodes of the match, most of which leave the graph with it.
    pub(crate) matched: &'g [NodeId],
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
        let leaves = |user: NodeId| {
            user == node || self.matched.contains(&user) || self.dead.contains(&user)
        };
        match self.folder.fold_new(self.graph, node, &leaves) {
            Folding::Done(tensors) => {
                self.dead.insert(node);
                Ok(tensors
                    .into_iter()
                    .map(|tensor| self.graph.constant(tensor))
                    .collect())
            }
            Folding::No => Ok(results),
            // What would be computed anew in each run is worse than what was there.
            Folding::Refused(limit) => {
                Err(format!("constants are not folded: {}", limit.reason()).into())
            }
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

    /// [`Patch::with_operands`] of a node that is only moved: it keeps its name.
    ///
    /// # Errors
    /// As [`Patch::apply`].
    pub fn moved(&mut self, node: NodeId, operand: ValueId) -> Result<ValueId, Miss> {
        let own = self.graph.node(node).name.clone();
        let name = std::mem::replace(&mut self.name, own);
        let made = self.with_operands(node, &[Some(operand)]);
        self.name = name;
        Ok(made?[0])
    }

    /// The node of a value again, with the value quantized by an annotation.
    ///
    /// # Errors
    /// A miss when no node makes it alone or again.
    pub fn quantized(&mut self, value: ValueId, quant: Quant) -> Result<ValueId, Miss> {
        let Some(id) = self.graph.producer(value) else {
            return Err("no node makes it".into());
        };
        let node = self.graph.node(id).clone();
        let traits = node.op.traits;
        if node.results.len() != 1 || traits.random || traits.control_flow {
            return Err(format!("{} is not made again", node.op.name).into());
        }
        let name = std::mem::replace(&mut self.name, node.name.clone());
        let made = self.push_op(node.op, &node.operands, node.attrs, 1);
        self.name = name;
        let made = made?[0];
        let mut ty = self.ty(made)?;
        ty.quant = Some(Arc::new(quant));
        match self.graph.producer(made) {
            Some(_) => self.graph.refine_type(made, ty.into()),
            None => return Err("it is constant".into()),
        }
        if let Some(name) = self.graph.value(value).name.clone() {
            self.graph.set_name(made, &name);
        }
        Ok(made)
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
