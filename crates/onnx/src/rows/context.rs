//! What a row's function is given: a node's inputs as values, its attributes, and the graph.

use std::cell::RefCell;

use alula_ir::{Attrs, Graph, GraphError, OpDef, ValueId};
use alula_tensor::{DType, Dim, Tensor, TensorType, ValueType};

use super::known::known_results;
use crate::model::{Importer, SubGraph};
use crate::proto::attribute_proto::AttributeType;
use crate::proto::{AttributeProto, GraphProto, NodeProto};
use crate::scope::Bound;
use crate::tensor::import_tensor;
use crate::{ImportError, NodeRef, dtype, types};

/// Why a row cannot build a node.
#[derive(Debug)]
pub enum RowError {
    /// Valid, but we do not do it.
    Unsupported(String),
    /// The node breaks a rule of ONNX or does not type.
    Invalid(String),
    /// Something else went wrong beneath it.
    Import(Box<ImportError>),
}

impl From<GraphError> for RowError {
    fn from(error: GraphError) -> RowError {
        match error {
            GraphError::Infer {
                op,
                error: alula_ir::InferError::Unsupported(reason),
                ..
            } => RowError::Unsupported(format!("{op}: {reason}")),
            GraphError::Infer { op, error, .. } => RowError::Invalid(format!("{op}: {error}")),
            other => RowError::Invalid(other.to_string()),
        }
    }
}

impl From<ImportError> for RowError {
    fn from(error: ImportError) -> RowError {
        RowError::Import(Box::new(error))
    }
}

/// The situation of a node that is built.
pub struct RowCtx<'i, 'm> {
    importer: &'i mut Importer<'m>,
    node: &'i NodeProto,
    name: String,
    /// The version of the operator's domain that the model imports.
    pub opset: i64,
    /// The `since` version of the operator's definition, among those that the row knows.
    pub version: i64,
    inputs: Vec<Option<ValueId>>,
    other_kind: RefCell<Option<String>>,
}

impl<'i, 'm> RowCtx<'i, 'm> {
    pub(crate) fn new(
        importer: &'i mut Importer<'m>,
        node: &'i NodeProto,
        name: String,
        opset: i64,
        version: i64,
        inputs: Vec<Option<ValueId>>,
    ) -> RowCtx<'i, 'm> {
        RowCtx {
            importer,
            node,
            name,
            opset,
            version,
            inputs,
            other_kind: RefCell::default(),
        }
    }

    /// The graph that is built.
    pub fn graph(&mut self) -> &mut Graph {
        &mut self.importer.scopes.top().graph
    }

    /// Number of inputs, absent ones included.
    pub fn num_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Number of outputs that the node names, absent ones in between included.
    pub fn num_outputs(&self) -> usize {
        self.node.output.len()
    }

    /// Whether the node uses an output.
    pub fn wants(&self, output: usize) -> bool {
        self.node
            .output
            .get(output)
            .is_some_and(|name| !name.is_empty())
    }

    /// An input that must be there.
    ///
    /// # Errors
    /// [`RowError::Invalid`].
    pub fn input(&self, position: usize) -> Result<ValueId, RowError> {
        self.optional(position)
            .ok_or_else(|| RowError::Invalid(format!("input {position} is absent")))
    }

    /// An input, if it is there.
    pub fn optional(&self, position: usize) -> Option<ValueId> {
        self.inputs.get(position).copied().flatten()
    }

    /// All inputs; none may be absent.
    ///
    /// # Errors
    /// [`RowError::Invalid`].
    pub fn all_inputs(&self) -> Result<Vec<ValueId>, RowError> {
        (0..self.inputs.len())
            .map(|position| self.input(position))
            .collect()
    }

    /// The value that a name stands for where the node is.
    pub(crate) fn named(&mut self, name: &str) -> Option<ValueId> {
        match self.importer.scopes.lookup(name)? {
            Bound::Value(value) => Some(value),
            Bound::Missing => None,
        }
    }

    /// The type of a value.
    pub fn value_type(&mut self, value: ValueId) -> ValueType {
        self.graph().ty(value).clone()
    }

    /// The type of a tensor value.
    ///
    /// # Errors
    /// [`RowError::Invalid`] when it is no tensor, [`RowError::Unsupported`] when it has no rank.
    pub fn ty(&mut self, value: ValueId) -> Result<TensorType, RowError> {
        let ty = self.graph().ty(value);
        match (ty.as_tensor(), ty) {
            (Some(tensor), _) => Ok(tensor.clone()),
            (None, ValueType::Unranked(dtype)) => Err(RowError::Unsupported(format!(
                "a tensor of {dtype} whose rank is not known"
            ))),
            (None, ty) => Err(RowError::Invalid(format!("a tensor is needed, not {ty}"))),
        }
    }

    /// The rank of a tensor value.
    ///
    /// # Errors
    /// [`RowError::Invalid`] when it is no tensor.
    pub fn rank(&mut self, value: ValueId) -> Result<usize, RowError> {
        Ok(self.ty(value)?.rank())
    }

    /// Holds an input, if it is there, to a rank.
    ///
    /// # Errors
    /// [`RowError::Invalid`] when it has another.
    pub(super) fn need_rank(&mut self, position: usize, rank: usize) -> Result<(), RowError> {
        let Some(value) = self.optional(position) else {
            return Ok(());
        };
        let ty = self.ty(value)?;
        match ty.rank() == rank {
            true => Ok(()),
            false => Err(RowError::Invalid(format!(
                "input {position} is {ty}, which has not rank {rank}"
            ))),
        }
    }

    /// The elements of an integer value of rank 0 or 1 as dims, where they are known.
    pub fn content(&mut self, value: ValueId) -> Option<Vec<Dim>> {
        self.graph().value(value).content.clone()
    }

    /// The elements of an integer value of rank 0 or 1, where all are known numbers.
    pub fn const_ints(&mut self, value: ValueId) -> Option<Vec<i64>> {
        self.content(value)?.iter().map(Dim::as_const).collect()
    }

    /// The tensor, if the value is a constant.
    pub fn as_constant(&mut self, value: ValueId) -> Option<Tensor> {
        self.graph().as_constant(value).cloned()
    }

    /// Adds a constant.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.graph().constant(tensor)
    }

    /// Adds a float scalar of a dtype.
    ///
    /// # Errors
    /// [`RowError::Invalid`] if the dtype has no numbers, as that of a model's operand may.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> Result<ValueId, RowError> {
        let value = alula_tensor::Scalar::Float(value);
        let tensor = Tensor::from_scalars(dtype, &[], &[value])
            .map_err(|error| RowError::Invalid(error.to_string()))?;
        Ok(self.graph().constant(tensor))
    }

    /// Applies an operator with one result to present operands.
    ///
    /// # Errors
    /// [`RowError::Invalid`] or [`RowError::Unsupported`] as inference says.
    pub fn push(
        &mut self,
        op: &'static OpDef,
        operands: &[ValueId],
        attrs: Attrs,
    ) -> Result<ValueId, RowError> {
        let operands: Vec<_> = operands.iter().copied().map(Some).collect();
        Ok(self.push_wanting(op, &operands, attrs, 1)?[0])
    }

    /// Applies an operator whose operands may be absent; all its results.
    ///
    /// # Errors
    /// As [`RowCtx::push`].
    pub fn push_all(
        &mut self,
        op: &'static OpDef,
        operands: &[Option<ValueId>],
        attrs: Attrs,
    ) -> Result<Vec<ValueId>, RowError> {
        self.push_wanting(op, operands, attrs, self.num_outputs())
    }

    fn push_wanting(
        &mut self,
        op: &'static OpDef,
        operands: &[Option<ValueId>],
        attrs: Attrs,
        results_wanted: usize,
    ) -> Result<Vec<ValueId>, RowError> {
        let name = self.name.clone();
        let graph = self.graph();
        let symbols_before = graph.symbol_counter();
        let results = graph.push_with_results(op, operands, attrs, &name, results_wanted)?;
        Ok(known_results(graph, results, symbols_before))
    }

    fn given(&self, name: &str) -> Option<&'i AttributeProto> {
        self.node.attribute.iter().find(|attr| attr.name() == name)
    }

    /// An attribute that is to be of a kind; one of another kind makes the node invalid.
    fn attr(&self, name: &str, kind: AttributeType) -> Option<&'i AttributeProto> {
        let attr = self.given(name)?;
        // Old models leave the kind out.
        if !matches!(attr.r#type(), AttributeType::Undefined) && attr.r#type() != kind {
            let (given, kind) = (attr.r#type().as_str_name(), kind.as_str_name());
            let text = format!("attribute {name} holds {given}, not {kind}");
            self.other_kind.borrow_mut().get_or_insert(text);
        }
        Some(attr)
    }

    /// What is wrong with an attribute that was read as one of another kind.
    pub(crate) fn other_kind(&self) -> Option<String> {
        self.other_kind.borrow().clone()
    }

    /// Whether an attribute is given.
    pub fn has_attr(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attr(name, AttributeType::Int)?.i
    }

    /// An integer attribute with a default.
    pub fn int_or(&self, name: &str, default: i64) -> i64 {
        self.int(name).unwrap_or(default)
    }

    /// An integer attribute that stands for a truth value.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name).map_or(default, |value| value != 0)
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Option<f64> {
        self.attr(name, AttributeType::Float)?.f.map(f64::from)
    }

    /// A float attribute with a default.
    pub fn float_or(&self, name: &str, default: f64) -> f64 {
        self.float(name).unwrap_or(default)
    }

    /// A string attribute.
    pub fn str(&self, name: &str) -> Option<String> {
        self.attr(name, AttributeType::String)?
            .s
            .as_ref()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// A string attribute with a default.
    pub fn str_or(&self, name: &str, default: &str) -> String {
        self.str(name).unwrap_or_else(|| default.to_owned())
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attr(name, AttributeType::Ints)
            .map(|attr| attr.ints.clone())
    }

    /// A list of floats.
    pub fn floats(&self, name: &str) -> Option<Vec<f64>> {
        self.attr(name, AttributeType::Floats)
            .map(|attr| attr.floats.iter().copied().map(f64::from).collect())
    }

    /// A list of strings.
    pub fn strs(&self, name: &str) -> Option<Vec<String>> {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        self.attr(name, AttributeType::Strings)
            .map(|attr| attr.strings.iter().map(text).collect())
    }

    /// A tensor attribute.
    ///
    /// # Errors
    /// When its payload does not make sense.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>, RowError> {
        let attr = self.attr(name, AttributeType::Tensor);
        match attr.and_then(|attr| attr.t.as_ref()) {
            Some(proto) => Ok(Some(import_tensor(proto, self.importer.external)?)),
            None => Ok(None),
        }
    }

    /// An attribute that holds a data type code.
    ///
    /// # Errors
    /// [`RowError::Unsupported`] when the code is not one of ours.
    pub fn dtype(&self, name: &str) -> Result<Option<DType>, RowError> {
        match self.int(name) {
            None => Ok(None),
            Some(code) => {
                let code = i32::try_from(code).unwrap_or(-1);
                dtype::from_code(code)
                    .map(Some)
                    .map_err(RowError::Unsupported)
            }
        }
    }

    /// An attribute that holds a type.
    ///
    /// # Errors
    /// [`RowError::Unsupported`] when the type is not one of ours.
    pub fn type_attr(&self, name: &str) -> Result<Option<ValueType>, RowError> {
        let attr = self.attr(name, AttributeType::TypeProto);
        match attr.and_then(|attr| attr.tp.as_ref()) {
            None => Ok(None),
            Some(ty) => match types::attribute_type(ty) {
                Ok(ty) => Ok(Some(ty)),
                Err(reason) => Err(RowError::Unsupported(format!("attribute {name} {reason}"))),
            },
        }
    }

    /// A sub-graph attribute that must be there.
    ///
    /// # Errors
    /// [`RowError::Invalid`].
    pub fn graph_attr(&self, name: &str) -> Result<&'i GraphProto, RowError> {
        self.attr(name, AttributeType::Graph)
            .and_then(|attr| attr.g.as_ref())
            .ok_or_else(|| RowError::Invalid(format!("attribute {name} is absent")))
    }

    /// Imports a sub-graph with these types for its inputs.
    ///
    /// # Errors
    /// [`RowError::Unsupported`] when something in it is not supported (reported by itself, too).
    pub(crate) fn sub_graph(
        &mut self,
        proto: &GraphProto,
        input_types: &[ValueType],
    ) -> Result<SubGraph, RowError> {
        let imported = self.importer.sub_graph(proto, input_types)?;
        let name = proto.name();
        imported.ok_or_else(|| {
            RowError::Unsupported(format!(
                "sub-graph {name:?} holds nodes that are not supported"
            ))
        })
    }

    /// The types of a sub-graph's outputs where some of its inputs (those with a dtype in `empty`)
    /// are sequences that it begins with empty, if it can be imported so.
    ///
    /// # Errors
    /// Limits of the import.
    pub(crate) fn types_from_empty(
        &mut self,
        proto: &GraphProto,
        input_types: &[ValueType],
        empty: &[Option<DType>],
    ) -> Result<Option<Vec<ValueType>>, RowError> {
        Ok(self.importer.types_from_empty(proto, input_types, empty)?)
    }

    /// Imports the nodes of a sub-graph, its inputs these values, in place of this node.
    ///
    /// # Errors
    /// As the nodes say.
    pub(crate) fn inline_graph(
        &mut self,
        proto: &GraphProto,
        inputs: &[ValueId],
    ) -> Result<Vec<ValueId>, RowError> {
        let values = self.importer.inline_graph(proto, inputs)?;
        values.ok_or_else(|| {
            RowError::Unsupported("the branch taken holds nodes that are not supported".to_owned())
        })
    }

    /// A graph that `build` makes by this context's own functions, and the values around it that
    /// it takes, which follow the inputs that `build` adds.
    ///
    /// # Errors
    /// As `build` says.
    pub(crate) fn in_graph(
        &mut self,
        name: &str,
        build: impl FnOnce(&mut Self) -> Result<(), RowError>,
    ) -> Result<(Graph, Vec<ValueId>), RowError> {
        self.importer.begin_graph(name)?;
        let built = build(self);
        let ended = self.importer.end_graph();
        built.map(|()| ended)
    }

    /// As [`RowCtx::sub_graph`] without inputs; the inner error is why its nodes do not type.
    ///
    /// # Errors
    /// Everything that is no fault of the nodes' types.
    pub(crate) fn branch(
        &mut self,
        proto: &GraphProto,
    ) -> Result<Result<SubGraph, String>, RowError> {
        match self.sub_graph(proto, &[]) {
            Ok(graph) => Ok(Ok(graph)),
            Err(RowError::Import(error)) => match *error {
                ImportError::Node { .. } | ImportError::Model(_) => Ok(Err(error.to_string())),
                other => Err(other.into()),
            },
            Err(RowError::Invalid(reason)) => Ok(Err(reason)),
            Err(error) => Err(error),
        }
    }

    /// What was decided about this node's condition, for an `If` whose condition is not known.
    pub(crate) fn decision(&mut self) -> Option<bool> {
        self.importer.next_decision()
    }

    /// The error that makes the importer decide this node's condition.
    pub(crate) fn undecided(&mut self, cond: ValueId, reason: String) -> RowError {
        let node = NodeRef {
            name: self.name.clone(),
            op_type: self.node.op_type().to_owned(),
            opset: self.opset,
            call: self.importer.scopes.top_frame().call.clone(),
        };
        match self.input(0) {
            Ok(given) => self.importer.ask(given, cond, node),
            Err(error) => return error,
        }
        RowError::Invalid(reason)
    }

    /// Levels of sub-graphs and function calls around this node.
    pub(crate) fn depth(&self) -> usize {
        self.importer.depth
    }

    /// Whether these positions are demanded to be inside of these extents for the first time in
    /// this graph.
    pub(super) fn is_first_demand(&mut self, indices: ValueId, extents: &[Dim]) -> bool {
        let extents = extents.iter().map(Dim::to_string).collect();
        self.importer
            .scopes
            .top()
            .demands
            .insert((indices, extents))
    }

    /// The node's operator, without its domain.
    pub fn op_type(&self) -> &str {
        self.node.op_type()
    }

    /// The node's name, for the nodes made of it.
    pub fn name(&self) -> &str {
        &self.name
    }
}
