//! From a decoded model to a graph: names, nodes, functions, sub-graphs.

use std::collections::{BTreeMap, BTreeSet};

use alula_ir::{Attrs, Graph, ValueId};
use alula_ops::host_ops::SEQUENCE_EMPTY;
use alula_tensor::{DType, ValueType};

use crate::external::ExternalFiles;
use crate::function::FunctionKey;
use crate::import::{Import, ImportOptions};
use crate::paths::Undecided;
use crate::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use crate::rows::{RowCtx, RowError};
use crate::scope::{Bound, Decisions, Frame, Opsets, Scope, Scopes};
use crate::{ImportError, NodeRef, Unsupported, rows, schema};

/// The newest IR version that was looked at when this was written.
const IR_VERSION_KNOWN: i64 = 14;
/// Oldest and newest opset of the main domain that rows are written for.
const OPSETS_KNOWN: std::ops::RangeInclusive<i64> = 1..=28;

/// The state of an import.
pub(crate) struct Importer<'m> {
    model: &'m ModelProto,
    pub(crate) external: &'m ExternalFiles,
    pub(crate) options: &'m ImportOptions,
    pub(crate) functions: BTreeMap<FunctionKey, &'m FunctionProto>,
    pub(crate) scopes: Scopes,
    unsupported: Vec<Unsupported>,
    warnings: Vec<String>,
    nodes_seen: usize,
    pub(crate) depth: usize,
    /// A condition that the import met and cannot go on without.
    pub(crate) undecided: Option<Undecided>,
    pub(crate) trials: usize,
    /// Bytes that further sparse tensors may take once they are dense.
    pub(crate) dense_bytes_left: usize,
}

/// A sub-graph as imported: what it takes from outside follows its own inputs.
pub(crate) struct SubGraph {
    pub(crate) graph: Graph,
    pub(crate) captures: Vec<ValueId>,
}

/// A model's inputs are known by their names, and so are its outputs.
fn declared_once(what: &str, infos: &[ValueInfoProto]) -> Result<(), ImportError> {
    let mut declared = BTreeSet::new();
    match infos.iter().find(|info| !declared.insert(info.name())) {
        None => Ok(()),
        Some(again) => Err(ImportError::Model(format!(
            "{what} {:?} is declared twice",
            again.name()
        ))),
    }
}

impl<'m> Importer<'m> {
    pub(crate) fn new(
        model: &'m ModelProto,
        external: &'m ExternalFiles,
        options: &'m ImportOptions,
    ) -> Result<Importer<'m>, ImportError> {
        let mut functions = BTreeMap::new();
        for function in &model.functions {
            let key = FunctionKey::of(function);
            if functions.insert(key.clone(), function).is_some() {
                return Err(ImportError::Model(format!(
                    "function {key} is defined twice"
                )));
            }
        }
        let mut warnings = Vec::new();
        if model.ir_version() > IR_VERSION_KNOWN {
            let version = model.ir_version();
            warnings.push(format!(
                "IR version {version} is newer than {IR_VERSION_KNOWN}"
            ));
        }
        Ok(Importer {
            model,
            external,
            options,
            functions,
            scopes: Scopes::default(),
            unsupported: Vec::new(),
            warnings,
            nodes_seen: 0,
            depth: 0,
            undecided: None,
            trials: 0,
            dense_bytes_left: options.limits.dense_bytes,
        })
    }

    pub(crate) fn run(mut self) -> Result<Import, ImportError> {
        let imported = self.import();
        // What is worth telling is worth it also where the import fails.
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        imported.map(|import| Import {
            warnings: self.warnings,
            ..import
        })
    }

    fn import(&mut self) -> Result<Import, ImportError> {
        let opsets = self.check_opsets()?;
        let proto = self
            .model
            .graph
            .as_ref()
            .ok_or(crate::proto::DecodeError::NoGraph)?;
        let graph = Graph::new(if proto.name().is_empty() {
            "main"
        } else {
            proto.name()
        });
        let annotated = proto.quantization_annotation.len();
        if annotated > 0 {
            self.warn(format!(
                "the quantization annotations of {annotated} tensors are not used: only quantizing \
                 and dequantizing nodes count"
            ));
        }
        let frames = vec![Frame::new(opsets.clone())];
        self.scopes.0.push(Scope {
            graph,
            frames,
            captures: Vec::new(),
            decisions: Decisions::default(),
            assumed: Vec::new(),
            demands: BTreeSet::new(),
        });
        declared_once("input", &proto.input)?;
        declared_once("output", &proto.output)?;
        self.initializers(proto)?;
        self.inputs(proto)?;
        self.scope_body(&proto.node, &proto.output)?;
        if !self.unsupported.is_empty() {
            let all = std::mem::take(&mut self.unsupported);
            return Err(ImportError::Unsupported(merged(all)));
        }
        let model = self.model;
        let metadata = model
            .metadata_props
            .iter()
            .map(|entry| (entry.key().to_owned(), entry.value().to_owned()))
            .collect();
        let producer = format!("{} {}", model.producer_name(), model.producer_version());
        let scope = self
            .scopes
            .0
            .pop()
            .expect("the outermost scope was pushed above");
        Ok(Import {
            graph: scope.graph,
            opsets,
            producer: producer.trim().to_owned(),
            metadata,
            warnings: Vec::new(),
        })
    }

    fn check_opsets(&mut self) -> Result<Opsets, ImportError> {
        let mut opsets = Opsets::new();
        for entry in &self.model.opset_import {
            opsets.insert(main_domain(entry.domain()).to_owned(), entry.version());
        }
        match opsets.get("") {
            Some(version) if *version < *OPSETS_KNOWN.start() => Err(ImportError::Model(format!(
                "opset {version} is older than {}: convert the model with onnx.version_converter",
                OPSETS_KNOWN.start()
            ))),
            Some(version) if !OPSETS_KNOWN.contains(version) => {
                let newest = OPSETS_KNOWN.end();
                self.warnings
                    .push(format!("opset {version} is newer than {newest}"));
                Ok(opsets)
            }
            _ => Ok(opsets),
        }
    }

    pub(crate) fn graph(&mut self) -> &mut Graph {
        &mut self.scopes.top().graph
    }

    /// Gives a name to a value; a name is given once.
    pub(crate) fn bind(&mut self, name: &str, bound: Bound) -> Result<(), ImportError> {
        match self.scopes.top_frame().names.insert(name.to_owned(), bound) {
            None => Ok(()),
            Some(_) => Err(ImportError::Model(format!(
                "the name {name:?} is defined twice"
            ))),
        }
    }

    fn nodes(&mut self, proto: &GraphProto) -> Result<(), ImportError> {
        for node in &proto.node {
            self.node(node)?;
        }
        Ok(())
    }

    pub(crate) fn outputs(&mut self, outputs: &[ValueInfoProto]) -> Result<(), ImportError> {
        for info in outputs {
            match self.scopes.lookup(info.name()) {
                Some(Bound::Value(id)) => self.graph().output(info.name(), id),
                Some(Bound::Missing) => {}
                None => {
                    let name = info.name();
                    return Err(ImportError::Model(format!(
                        "output {name:?} is not defined"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Imports a node: a row's, or a local function's.
    pub(crate) fn node(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        self.nodes_seen += 1;
        let limit = self.options.limits.nodes;
        if self.nodes_seen > limit {
            return Err(ImportError::Limit {
                what: "nodes, functions inlined",
                limit,
            });
        }
        let domain = main_domain(node.domain()).to_owned();
        let opset = self.scopes.top_frame().opsets.get(&domain).copied();
        let reference = NodeRef {
            name: match node.name() {
                "" => node.output.first().cloned().unwrap_or_default(),
                name => name.to_owned(),
            },
            op_type: match domain.as_str() {
                "" => node.op_type().to_owned(),
                domain => format!("{domain}::{}", node.op_type()),
            },
            opset: opset.unwrap_or(0),
            call: self.scopes.top_frame().call.clone(),
        };
        let span = tracing::trace_span!("node", name = reference.name, op = reference.op_type);
        let _guard = span.enter();
        let fail = |reason: String| ImportError::Node {
            node: reference.clone(),
            reason,
        };
        let mut inputs = Vec::with_capacity(node.input.len());
        let mut is_missing = false;
        for name in &node.input {
            inputs.push(match name.as_str() {
                "" => None,
                name => match self.scopes.lookup(name) {
                    Some(Bound::Value(id)) => Some(id),
                    Some(Bound::Missing) => {
                        is_missing = true;
                        None
                    }
                    None => return Err(fail(format!("input {name:?} is not defined before it"))),
                },
            });
        }
        let key = FunctionKey::called_by(node);
        if let Some(&function) = self.functions.get(&key) {
            return self.call(function, node, &inputs, &reference);
        }
        let row = match rows::find(&domain, node.op_type(), opset) {
            Ok(row) => row,
            Err(reason) => return self.unsupported(node, reference, reason),
        };
        if let Some(extra) = node
            .attribute
            .iter()
            .find(|a| !row.attrs.contains(&a.name()) && !a.name().is_empty())
        {
            let reason = format!("attribute {:?} is not known", extra.name());
            return self.unsupported(node, reference, reason);
        }
        if is_missing {
            return self.leave_out(node);
        }
        if let Some(schema) = schema::find(&domain, node.op_type(), opset) {
            let names = node.attribute.iter().map(|attr| attr.name());
            let attributes: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
            let graph = &self.scopes.top().graph;
            let types: Vec<_> = inputs.iter().map(|id| id.map(|id| graph.ty(id))).collect();
            schema
                .check(&types, node.output.len(), &attributes)
                .map_err(fail)?;
        }
        let version = row.version(opset.unwrap_or(0));
        let mut ctx = RowCtx::new(
            self,
            node,
            reference.name.clone(),
            opset.unwrap_or(0),
            version,
            inputs,
        );
        let built = (row.build)(&mut ctx);
        if let Some(reason) = ctx.other_kind() {
            return Err(fail(reason));
        }
        let results = match built {
            Ok(results) => results,
            Err(RowError::Unsupported(reason)) => return self.unsupported(node, reference, reason),
            Err(RowError::Invalid(reason)) => return Err(fail(reason)),
            Err(RowError::Import(error)) => match *error {
                ImportError::DataType { reason, .. } => {
                    return self.unsupported(node, reference, reason);
                }
                error => return Err(error),
            },
        };
        self.bind_results(node, &results, &reference)
    }

    pub(crate) fn bind_results(
        &mut self,
        node: &NodeProto,
        results: &[ValueId],
        reference: &NodeRef,
    ) -> Result<(), ImportError> {
        for (position, name) in node.output.iter().enumerate() {
            if name.is_empty() {
                continue;
            }
            let Some(&id) = results.get(position) else {
                let reason = format!("output {position} ({name:?}) is not one of the operator's");
                return Err(ImportError::Node {
                    node: reference.clone(),
                    reason,
                });
            };
            self.bind(name, Bound::Value(id))?;
            let graph = self.graph();
            if graph.value(id).name.is_none() {
                graph.set_name(id, name);
            }
        }
        Ok(())
    }

    fn unsupported(
        &mut self,
        node: &NodeProto,
        reference: NodeRef,
        reason: String,
    ) -> Result<(), ImportError> {
        self.unsupported.push(Unsupported::new(reference, reason));
        self.leave_out(node)
    }

    pub(crate) fn num_unsupported(&self) -> usize {
        self.unsupported.len()
    }

    /// What was reported since there were so many.
    pub(crate) fn take_unsupported(&mut self, since: usize) -> Vec<Unsupported> {
        self.unsupported.split_off(since)
    }

    pub(crate) fn report(&mut self, nodes: Vec<Unsupported>) {
        self.unsupported.extend(nodes);
    }

    pub(crate) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Marks a node's outputs as missing, so that its users are not reported for it.
    fn leave_out(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            self.bind(name, Bound::Missing)?;
        }
        Ok(())
    }

    /// Imports a sub-graph of the node at hand, with these types for its inputs.
    ///
    /// Returns `None` when something in it is not supported, which is reported.
    pub(crate) fn sub_graph(
        &mut self,
        proto: &GraphProto,
        input_types: &[ValueType],
    ) -> Result<Option<SubGraph>, ImportError> {
        if proto.input.len() != input_types.len() {
            let (takes, given) = (proto.input.len(), input_types.len());
            let name = proto.name();
            return Err(ImportError::Model(format!(
                "sub-graph {name:?} takes {takes} inputs, not {given}"
            )));
        }
        let reported = self.num_unsupported();
        let name = match proto.name() {
            "" => "body",
            name => name,
        };
        let imported = self.in_scope(name, Decisions::default(), Vec::new(), |importer| {
            importer.sub_graph_body(proto, input_types, &[])
        })?;
        let complete = self.num_unsupported() == reported
            && imported.graph.outputs().len() == proto.output.len();
        Ok(complete.then_some(imported))
    }

    /// Builds a graph in a scope of its own, inside of the one at hand.
    pub(crate) fn in_scope(
        &mut self,
        name: &str,
        decisions: Decisions,
        assumed: Vec<(ValueId, bool)>,
        build: impl FnOnce(&mut Self) -> Result<(), ImportError>,
    ) -> Result<SubGraph, ImportError> {
        self.enter()?;
        let mut graph = Graph::new(name);
        graph.set_symbol_counter(self.graph().symbol_counter());
        let frame = self.scopes.top_frame().inner();
        self.scopes.0.push(Scope {
            graph,
            frames: vec![frame],
            captures: Vec::new(),
            decisions,
            assumed,
            demands: BTreeSet::new(),
        });
        let built = build(self);
        let scope = self.scopes.0.pop().expect("pushed above");
        self.depth -= 1;
        built?;
        let counter = scope.graph.symbol_counter();
        self.graph().set_symbol_counter(counter);
        Ok(SubGraph {
            graph: scope.graph,
            captures: scope.captures,
        })
    }

    /// The types of a sub-graph's outputs where inputs with a dtype in `empty` are sequences made
    /// empty in it; `None` where it does not import so. Nothing is reported.
    pub(crate) fn types_from_empty(
        &mut self,
        proto: &GraphProto,
        input_types: &[ValueType],
        empty: &[Option<DType>],
    ) -> Result<Option<Vec<ValueType>>, ImportError> {
        let (reported, warned) = (self.num_unsupported(), self.warnings.len());
        let imported = self.in_scope("trial", Decisions::default(), Vec::new(), |importer| {
            importer.sub_graph_body(proto, input_types, empty)
        });
        let is_complete = self.take_unsupported(reported).is_empty();
        self.warnings.truncate(warned);
        match imported {
            Ok(SubGraph { graph, .. }) if is_complete => {
                let types = graph.outputs().iter().map(|(_, id)| graph.ty(*id).clone());
                Ok(Some(types.collect()))
            }
            Ok(_) => Ok(None),
            Err(ImportError::Node { .. } | ImportError::Model(_)) => {
                self.undecided = None;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn sub_graph_body(
        &mut self,
        proto: &GraphProto,
        input_types: &[ValueType],
        empty: &[Option<DType>],
    ) -> Result<(), ImportError> {
        for (position, (info, ty)) in proto.input.iter().zip(input_types).enumerate() {
            let id = match empty.get(position).copied().flatten() {
                None => self.graph().input(info.name(), ty.clone()),
                Some(dtype) => {
                    let attrs = Attrs::new().with("dtype", dtype);
                    let made = self.graph().apply(&SEQUENCE_EMPTY, &[], attrs, info.name());
                    made.map_err(|error| ImportError::Model(error.to_string()))?
                }
            };
            self.bind(info.name(), Bound::Value(id))?;
        }
        self.initializers(proto)?;
        self.scope_body(&proto.node, &proto.output)
    }

    /// Begins a graph inside the one at hand.
    pub(crate) fn begin_graph(&mut self, name: &str) -> Result<(), ImportError> {
        self.enter()?;
        let mut graph = Graph::new(name);
        graph.set_symbol_counter(self.graph().symbol_counter());
        let frame = self.scopes.top_frame().inner();
        self.scopes.0.push(Scope {
            graph,
            frames: vec![frame],
            captures: Vec::new(),
            decisions: Decisions::default(),
            assumed: Vec::new(),
            demands: BTreeSet::new(),
        });
        Ok(())
    }

    /// Ends what [`Importer::begin_graph`] began: the graph, and what it takes from outside.
    pub(crate) fn end_graph(&mut self) -> (Graph, Vec<ValueId>) {
        let scope = self.scopes.0.pop().expect("a graph was begun");
        self.depth -= 1;
        let counter = scope.graph.symbol_counter();
        self.graph().set_symbol_counter(counter);
        (scope.graph, scope.captures)
    }

    /// Imports the nodes of a sub-graph into the graph at hand, with names of their own and these
    /// values for its inputs; `None` when something in it is not supported, which is reported.
    pub(crate) fn inline_graph(
        &mut self,
        proto: &GraphProto,
        inputs: &[ValueId],
    ) -> Result<Option<Vec<ValueId>>, ImportError> {
        if proto.input.len() != inputs.len() {
            let (takes, given) = (proto.input.len(), inputs.len());
            let name = proto.name();
            return Err(ImportError::Model(format!(
                "sub-graph {name:?} takes {takes} inputs, not {given}"
            )));
        }
        self.enter()?;
        let outer = self.scopes.top_frame();
        let mut frame = Frame {
            names: outer.names.clone(),
            function: outer.function.clone(),
            ..outer.inner()
        };
        for (info, &value) in proto.input.iter().zip(inputs) {
            let name = info.name().to_owned();
            frame.names.insert(name, Bound::Value(value));
        }
        self.scopes.top().frames.push(frame);
        let imported = self.inlined_body(proto);
        self.scopes.top().frames.pop();
        self.depth -= 1;
        imported
    }

    fn inlined_body(&mut self, proto: &GraphProto) -> Result<Option<Vec<ValueId>>, ImportError> {
        self.initializers(proto)?;
        self.nodes(proto)?;
        let mut values = Vec::new();
        for info in &proto.output {
            match self.scopes.lookup(info.name()) {
                Some(Bound::Value(id)) => values.push(id),
                Some(Bound::Missing) => return Ok(None),
                None => {
                    let name = info.name();
                    return Err(ImportError::Model(format!(
                        "output {name:?} is not defined"
                    )));
                }
            }
        }
        Ok(Some(values))
    }

    /// Counts a level of nesting.
    pub(crate) fn enter(&mut self) -> Result<(), ImportError> {
        let limit = self.options.limits.depth;
        if self.depth >= limit {
            return Err(ImportError::Limit {
                what: "levels of sub-graphs and functions",
                limit,
            });
        }
        self.depth += 1;
        Ok(())
    }
}

/// What is not supported, each once: a node may have been met on several paths, and one of a
/// function in several calls, of which the first is named.
fn merged(all: Vec<Unsupported>) -> Vec<Unsupported> {
    let mut merged: Vec<Unsupported> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for item in all {
        let function = item.node.call.as_ref().map(|call| &call.function);
        let key = format!("{}\n{}\n{function:?}", item.node.plain(), item.reason);
        match known.get(&key) {
            Some(&first) => {
                let first = &mut merged[first];
                first.more_calls += usize::from(first.node.call != item.node.call);
            }
            None => {
                known.insert(key, merged.len());
                merged.push(item);
            }
        }
    }
    merged
}

/// The main domain has two spellings.
pub(crate) fn main_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}
