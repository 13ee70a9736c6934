//! The graph: values and nodes, with petgraph inside for users and order.

mod edit;

use std::collections::{BTreeMap, BTreeSet};

use alula_tensor::{Dim, Symbol, Tensor, ValueType};
use indexmap::IndexMap;
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use crate::context::FreshOrigin;
use crate::{
    Attr, AttrDefault, Attrs, Def, GraphError, InferCtx, InferError, Inferred, Node, NodeId, OpDef,
    OperandFacts, Origin, Requirement, Value, ValueId,
};

/// Most elements of an integer tensor whose values are tracked as dims.
const CONTENT_MAX: usize = 1024;
/// Largest expression in a type or a tracked element; larger ones get a symbol of their own.
const DIM_SIZE_MAX: usize = 24;

/// A directed acyclic graph of typed operators with inputs and outputs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The name in text.
    pub name: String,
    net: StableDiGraph<Vertex, Use>,
    values: IndexMap<ValueId, (Value, NodeIndex)>,
    inputs: Vec<ValueId>,
    outputs: Vec<(String, ValueId)>,
    origins: IndexMap<Symbol, Origin>,
    pub(crate) requirements: Vec<Requirement>,
    next_value: u32,
    next_symbol: u32,
}

/// What a petgraph vertex stands for.
#[derive(Clone, Debug)]
enum Vertex {
    /// An input or a constant.
    Source,
    Node(Box<Node>),
}

/// A use of a value: an edge from its definition to its user.
#[derive(Clone, Copy, Debug)]
struct Use {
    value: ValueId,
    operand: usize,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph {
            name: name.into(),
            ..Graph::default()
        }
    }

    fn add_value(&mut self, value: Value, vertex: NodeIndex) -> ValueId {
        let id = ValueId(self.next_value);
        self.next_value += 1;
        self.values.insert(id, (value, vertex));
        id
    }

    /// Adds an input. Symbols that occur alone as an extent get their value from it.
    pub fn input(&mut self, name: impl Into<String>, ty: impl Into<ValueType>) -> ValueId {
        let ty = ty.into();
        let input = self.inputs.len();
        if let Some(tensor) = ty.as_tensor() {
            for (axis, dim) in tensor.shape.iter().enumerate() {
                if let Some(symbol) = dim.as_symbol() {
                    let origin = Origin::Input { input, axis };
                    self.origins.entry(symbol.clone()).or_insert(origin);
                }
            }
        }
        let def = Def::Input(input);
        let vertex = self.net.add_node(Vertex::Source);
        let value = Value {
            ty,
            content: None,
            name: Some(name.into()),
            def,
        };
        let id = self.add_value(value, vertex);
        self.inputs.push(id);
        id
    }

    /// Adds a constant.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        let vertex = self.net.add_node(Vertex::Source);
        let ty = tensor.ty().into();
        let content = constant_content(&tensor);
        let value = Value {
            ty,
            content,
            name: None,
            def: Def::Constant(tensor),
        };
        self.add_value(value, vertex)
    }

    /// Adds a constant with a name from the model.
    pub fn named_constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let id = self.constant(tensor);
        self.value_mut(id).name = Some(name.to_owned());
        id
    }

    /// Applies an operator: completes its attributes, infers its results and adds the node.
    ///
    /// # Errors
    /// [`GraphError::Infer`] when the operator does not take these operands and attributes.
    pub fn push(
        &mut self,
        op: &'static OpDef,
        operands: &[Option<ValueId>],
        attrs: Attrs,
        name: &str,
    ) -> Result<Vec<ValueId>, GraphError> {
        self.push_with_results(op, operands, attrs, name, 1)
    }

    /// As [`Graph::push`] with present operands, for an operator with one result.
    ///
    /// # Errors
    /// As [`Graph::push`].
    pub fn apply(
        &mut self,
        op: &'static OpDef,
        operands: &[ValueId],
        attrs: Attrs,
        name: &str,
    ) -> Result<ValueId, GraphError> {
        let operands: Vec<_> = operands.iter().copied().map(Some).collect();
        Ok(self.push(op, &operands, attrs, name)?[0])
    }

    /// As [`Graph::push`], for operators that leave the number of results open.
    ///
    /// # Errors
    /// As [`Graph::push`].
    pub fn push_with_results(
        &mut self,
        op: &'static OpDef,
        operands: &[Option<ValueId>],
        mut attrs: Attrs,
        name: &str,
        results_wanted: usize,
    ) -> Result<Vec<ValueId>, GraphError> {
        let fail = |error| GraphError::Infer {
            op: op.name,
            name: name.to_owned(),
            error,
        };
        // Absent operands at the end are the same as none.
        let count = operands
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |last| last + 1);
        let operands = &operands[..count];
        check_operands(op, operands).map_err(fail)?;
        complete_attrs(op, &mut attrs).map_err(fail)?;
        let (inferred, fresh) = {
            let facts = operands
                .iter()
                .map(|o| o.map(|id| self.facts(id)))
                .collect();
            let mut ctx = InferCtx {
                attrs: &attrs,
                operands: facts,
                results_wanted,
                fresh: Vec::new(),
                next_symbol: self.next_symbol,
            };
            let inferred = (op.infer)(&mut ctx).map_err(fail)?;
            (inferred, ctx.fresh)
        };
        check_results(&inferred).map_err(fail)?;
        Ok(self.insert_node(op, operands, attrs, name, inferred, fresh))
    }

    fn insert_node(
        &mut self,
        op: &'static OpDef,
        operands: &[Option<ValueId>],
        attrs: Attrs,
        name: &str,
        inferred: Vec<Inferred>,
        fresh: Vec<(Symbol, FreshOrigin)>,
    ) -> Vec<ValueId> {
        let vertex = self.net.add_node(Vertex::Source);
        let node = NodeId(vertex.index() as u32);
        let results: Vec<ValueId> = inferred
            .into_iter()
            .enumerate()
            .map(|(index, Inferred { ty, content })| {
                let content = content
                    .filter(|dims| dims.len() <= CONTENT_MAX)
                    .map(|dims| {
                        dims.into_iter()
                            .map(|dim| self.abbreviate(dim, false))
                            .collect()
                    });
                let ty = self.abbreviate_type(ty);
                let def = Def::Result { node, index };
                self.add_value(
                    Value {
                        ty,
                        content,
                        name: None,
                        def,
                    },
                    vertex,
                )
            })
            .collect();
        for (symbol, origin) in fresh {
            self.next_symbol += 1;
            let origin = match origin {
                FreshOrigin::Known(origin) => origin,
                FreshOrigin::Extent { result, axis } => Origin::Extent {
                    value: results[result],
                    axis,
                },
            };
            self.origins.insert(symbol, origin);
        }
        for (operand, value) in operands.iter().enumerate() {
            if let Some(value) = *value {
                let from = self.values[&value].1;
                self.net.add_edge(from, vertex, Use { value, operand });
            }
        }
        self.net[vertex] = Vertex::Node(Box::new(Node {
            op,
            attrs,
            operands: operands.to_vec(),
            results: results.clone(),
            name: name.to_owned(),
        }));
        results
    }

    /// The dim, or a symbol that is defined to be it if it is large.
    fn abbreviate(&mut self, dim: Dim, is_extent: bool) -> Dim {
        if dim.size() <= DIM_SIZE_MAX {
            return dim;
        }
        let origin = Origin::Defined(dim);
        let prefix = if is_extent { "$e" } else { "$" };
        let known = self.origins.iter().find(|(symbol, known)| {
            **known == origin && symbol.name().starts_with("$e") == is_extent
        });
        if let Some((symbol, _)) = known {
            return Dim::symbol(symbol.clone());
        }
        let symbol = Symbol::new(format!("{prefix}{}", self.next_symbol));
        self.next_symbol += 1;
        self.origins.insert(symbol.clone(), origin);
        Dim::symbol(symbol)
    }

    /// A type as inferred, with large dims named. What operands are annotated with says nothing of
    /// results.
    fn abbreviate_type(&mut self, ty: ValueType) -> ValueType {
        match ty {
            ValueType::Tensor(mut tensor) => {
                (tensor.quant, tensor.sparsity) = (None, None);
                let shape = std::mem::take(&mut tensor.shape);
                tensor.shape = shape
                    .into_iter()
                    .map(|dim| self.abbreviate(dim, true))
                    .collect();
                ValueType::Tensor(tensor)
            }
            ValueType::Unranked(_)
            | ValueType::Sequence(_)
            | ValueType::Optional(_)
            | ValueType::Map { .. } => ty,
        }
    }

    fn facts(&self, id: ValueId) -> OperandFacts<'_> {
        let value = self.value(id);
        let constant = match &value.def {
            Def::Constant(tensor) => Some(tensor),
            Def::Input(_) | Def::Result { .. } => None,
        };
        OperandFacts {
            value: id,
            ty: &value.ty,
            content: value.content.clone(),
            constant,
        }
    }

    /// Declares an output. The same value may be declared under several names.
    pub fn output(&mut self, name: impl Into<String>, value: ValueId) {
        assert!(
            self.values.contains_key(&value),
            "an output is a value of the graph"
        );
        self.outputs.push((name.into(), value));
    }

    /// Forgets which values are outputs.
    pub fn clear_outputs(&mut self) {
        self.outputs.clear();
    }

    /// The inputs in order.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The outputs in order, with their names.
    pub fn outputs(&self) -> &[(String, ValueId)] {
        &self.outputs
    }

    /// What is known of a value.
    ///
    /// # Panics
    /// When the value is not of this graph or was removed.
    #[track_caller]
    pub fn value(&self, id: ValueId) -> &Value {
        match self.values.get(&id) {
            Some((value, _)) => value,
            None => panic!("value {id:?} is not in graph {}", self.name),
        }
    }

    /// Gives a value a name.
    pub fn set_name(&mut self, id: ValueId, name: &str) {
        self.value_mut(id).name = Some(name.to_owned());
    }

    /// Replaces what is known of a value's type by something that says the same or more:
    /// annotations, or dims found to be equal. Inference is not run again.
    pub fn refine_type(&mut self, id: ValueId, ty: ValueType) {
        self.value_mut(id).ty = ty;
    }

    /// Forgets or sets the known elements of a value.
    pub fn set_content(&mut self, id: ValueId, content: Option<Vec<Dim>>) {
        self.value_mut(id).content = content;
    }

    pub(crate) fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self
            .values
            .get_mut(&id)
            .expect("the value is of this graph")
            .0
    }

    /// The type of a value.
    pub fn ty(&self, id: ValueId) -> &ValueType {
        &self.value(id).ty
    }

    /// The constant, if the value is one.
    pub fn as_constant(&self, id: ValueId) -> Option<&Tensor> {
        match &self.value(id).def {
            Def::Constant(tensor) => Some(tensor),
            Def::Input(_) | Def::Result { .. } => None,
        }
    }

    /// The node that makes a value, if one does.
    pub fn producer(&self, id: ValueId) -> Option<NodeId> {
        match self.value(id).def {
            Def::Result { node, .. } => Some(node),
            Def::Input(_) | Def::Constant(_) => None,
        }
    }

    /// All values, in order of making.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        self.values.iter().map(|(&id, (value, _))| (id, value))
    }

    /// A node.
    ///
    /// # Panics
    /// When the node is not of this graph or was removed.
    #[track_caller]
    pub fn node(&self, id: NodeId) -> &Node {
        self.get_node(id)
            .unwrap_or_else(|| panic!("node {id:?} is not in graph {}", self.name))
    }

    /// A node, unless it was removed.
    pub fn get_node(&self, id: NodeId) -> Option<&Node> {
        match self.net.node_weight(NodeIndex::new(id.0 as usize))? {
            Vertex::Node(node) => Some(node),
            Vertex::Source => None,
        }
    }

    /// Changes a node's name.
    pub fn set_node_name(&mut self, id: NodeId, name: &str) {
        if let Some(Vertex::Node(node)) = self.net.node_weight_mut(NodeIndex::new(id.0 as usize)) {
            name.clone_into(&mut node.name);
        }
    }

    /// Replaces an attribute of a node. Types are not inferred again: the new value must give the
    /// results the types that they have.
    pub fn set_attr(&mut self, id: NodeId, name: &str, value: Attr) {
        if let Some(Vertex::Node(node)) = self.net.node_weight_mut(NodeIndex::new(id.0 as usize)) {
            node.attrs.set(name, value);
        }
    }

    /// Number of nodes.
    pub fn num_nodes(&self) -> usize {
        self.net
            .node_weights()
            .filter(|v| matches!(v, Vertex::Node(_)))
            .count()
    }

    /// All nodes, in order of making.
    pub(crate) fn each_node(&self) -> impl Iterator<Item = &Node> {
        self.net.node_weights().filter_map(|vertex| match vertex {
            Vertex::Node(node) => Some(&**node),
            Vertex::Source => None,
        })
    }

    /// All nodes, each after the makers of its operands and of the symbols in its attributes; ties
    /// in order of making.
    pub fn nodes(&self) -> Vec<NodeId> {
        let is_node = |index: &NodeIndex| matches!(self.net[*index], Vertex::Node(_));
        crate::order::topological(&self.net, &self.symbol_pairs())
            .into_iter()
            .filter(is_node)
            .map(|index| NodeId(index.index() as u32))
            .collect()
    }

    /// Pairs of a node that gives a symbol its value and one whose attributes mention the symbol.
    fn symbol_pairs(&self) -> Vec<(NodeIndex, NodeIndex)> {
        let made: BTreeMap<&Symbol, NodeIndex> = self
            .origins
            .iter()
            .filter_map(|(symbol, origin)| match origin {
                Origin::Content { value, .. } | Origin::Extent { value, .. } => {
                    Some((symbol, self.values.get(value)?.1))
                }
                Origin::Input { .. } | Origin::Defined(_) => None,
            })
            .collect();
        let mut pairs = Vec::new();
        if made.is_empty() {
            return pairs;
        }
        // Of each symbol, the nodes that must have run for it to have a value.
        let mut makers: BTreeMap<Symbol, BTreeSet<NodeIndex>> = BTreeMap::new();
        for index in self.net.node_indices() {
            let Vertex::Node(node) = &self.net[index] else {
                continue;
            };
            let mut symbols = BTreeSet::new();
            collect_attr_symbols(&node.attrs, &mut symbols);
            let mut before = BTreeSet::new();
            for symbol in symbols {
                before.extend(self.makers_of(&symbol, &made, &mut makers));
            }
            let before = before.into_iter().filter(|maker| *maker != index);
            pairs.extend(before.map(|maker| (maker, index)));
        }
        pairs
    }

    fn makers_of(
        &self,
        symbol: &Symbol,
        made: &BTreeMap<&Symbol, NodeIndex>,
        known: &mut BTreeMap<Symbol, BTreeSet<NodeIndex>>,
    ) -> BTreeSet<NodeIndex> {
        if let Some(makers) = known.get(symbol) {
            return makers.clone();
        }
        let mut makers: BTreeSet<NodeIndex> = made.get(symbol).copied().into_iter().collect();
        // Definitions mention earlier ones only; the entry ends what a broken graph would repeat.
        known.insert(symbol.clone(), makers.clone());
        if let Some(Origin::Defined(dim)) = self.origins.get(symbol) {
            let mut mentioned = BTreeSet::new();
            dim.collect_symbols(&mut mentioned);
            for symbol in mentioned {
                makers.extend(self.makers_of(&symbol, made, known));
            }
            known.insert(symbol.clone(), makers.clone());
        }
        makers
    }

    /// The users of a value with the operand's position, in order of making.
    pub fn uses(&self, value: ValueId) -> Vec<(NodeId, usize)> {
        let from = self.values[&value].1;
        let mut uses: Vec<_> = self
            .net
            .edges_directed(from, Direction::Outgoing)
            .filter(|edge| edge.weight().value == value)
            .map(|edge| (NodeId(edge.target().index() as u32), edge.weight().operand))
            .collect();
        uses.sort_unstable();
        uses
    }

    /// How often a value is an output.
    pub fn num_outputs_of(&self, value: ValueId) -> usize {
        self.outputs
            .iter()
            .filter(|(_, output)| *output == value)
            .count()
    }

    /// Number of uses, outputs included.
    pub fn num_uses(&self, value: ValueId) -> usize {
        let from = self.values[&value].1;
        let edges = self.net.edges_directed(from, Direction::Outgoing);
        edges.filter(|edge| edge.weight().value == value).count() + self.num_outputs_of(value)
    }

    /// The number that the next made-up symbol gets. Graphs that share symbols must not make up
    /// the same ones.
    pub fn symbol_counter(&self) -> u32 {
        self.next_symbol
    }

    /// See [`Graph::symbol_counter`].
    pub fn set_symbol_counter(&mut self, next: u32) {
        self.next_symbol = next.max(self.next_symbol);
    }

    /// What gives each symbol its value.
    pub fn origins(&self) -> &IndexMap<Symbol, Origin> {
        &self.origins
    }
}

fn constant_content(tensor: &Tensor) -> Option<Vec<Dim>> {
    if tensor.len() > CONTENT_MAX || !tensor.dtype().is_integer() {
        return None;
    }
    Some(tensor.to_i64s()?.into_iter().map(Dim::new).collect())
}

fn check_operands(op: &OpDef, operands: &[Option<ValueId>]) -> Result<(), InferError> {
    let (least, greatest) = op.arity();
    let given = operands.len();
    if given < least || greatest.is_some_and(|most| given > most) {
        let wanted = match greatest {
            Some(most) if most == least => least.to_string(),
            Some(most) => format!("{least} to {most}"),
            None => format!("at least {least}"),
        };
        return Err(InferError::Arity { wanted, given });
    }
    match operands
        .iter()
        .enumerate()
        .find(|(k, o)| o.is_none() && !op.is_optional(*k))
    {
        Some((position, _)) => Err(InferError::MissingOperand(position)),
        None => Ok(()),
    }
}

fn complete_attrs(op: &OpDef, attrs: &mut Attrs) -> Result<(), InferError> {
    let bad = |name: &str, reason: String| InferError::BadAttr {
        name: name.to_owned(),
        reason,
    };
    for (name, value) in attrs.iter() {
        match op.attr(name) {
            None => return Err(bad(name, format!("not an attribute of {}", op.name))),
            Some(spec) if spec.kind != value.kind() => {
                let reason = format!("is {:?}, must be {:?}", value.kind(), spec.kind);
                return Err(bad(name, reason.to_lowercase()));
            }
            Some(_) => {}
        }
    }
    for spec in op.attrs {
        if !attrs.has(spec.name) {
            match spec.default_value() {
                Some(value) => attrs.set(spec.name, value),
                None if spec.default == AttrDefault::Required => {
                    return Err(InferError::MissingAttr(spec.name.to_owned()));
                }
                None => {}
            }
        }
    }
    Ok(())
}

/// Extents must not be negative, and known ones must not multiply beyond 64 bits.
fn check_results(results: &[Inferred]) -> Result<(), InferError> {
    for result in results {
        let Some(ty) = result.ty.as_tensor() else {
            continue;
        };
        let mut product = 1_i64;
        for dim in &ty.shape {
            let Some(extent) = dim.as_const() else {
                continue;
            };
            if extent < 0 {
                return Err(InferError::Mismatch(format!(
                    "result {ty} has a negative extent"
                )));
            }
            product = product.saturating_mul(extent.max(1));
        }
        if product > i64::MAX / 16 {
            return Err(InferError::Mismatch(format!("result {ty} is too large")));
        }
    }
    Ok(())
}

fn same_but_annotations(a: &ValueType, b: &ValueType) -> bool {
    match (a, b) {
        (ValueType::Tensor(a), ValueType::Tensor(b)) => a.dtype == b.dtype && a.shape == b.shape,
        _ => a == b,
    }
}

pub(crate) fn collect_type_symbols(ty: &ValueType, into: &mut BTreeSet<Symbol>) {
    match ty {
        ValueType::Tensor(tensor) => {
            tensor
                .shape
                .iter()
                .for_each(|dim| dim.collect_symbols(into));
        }
        ValueType::Unranked(_) | ValueType::Map { .. } => {}
        ValueType::Sequence(inner) | ValueType::Optional(inner) => {
            collect_type_symbols(inner, into);
        }
    }
}

/// Symbols of dims in attributes, and those that sub-graphs take from outside.
pub(crate) fn collect_attr_symbols(attrs: &Attrs, into: &mut BTreeSet<Symbol>) {
    for (_, attr) in attrs.iter() {
        match attr {
            Attr::Dims(dims) => dims.iter().for_each(|dim| dim.collect_symbols(into)),
            Attr::Graph(graph) => {
                let mut inner = graph.symbols();
                inner.retain(|symbol| !graph.origins.contains_key(symbol));
                into.append(&mut inner);
            }
            _ => {}
        }
    }
}
