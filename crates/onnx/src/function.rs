//! Local functions: calls are inlined.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use alula_ir::ValueId;

use crate::model::{Importer, main_domain};
use crate::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use crate::scope::{Bound, Frame, Opsets};
use crate::{CallRef, ImportError, NodeRef};

/// What a call and a definition of a function agree in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FunctionKey {
    domain: String,
    name: String,
    overload: String,
}

impl FunctionKey {
    pub(crate) fn of(function: &FunctionProto) -> FunctionKey {
        FunctionKey {
            domain: main_domain(function.domain()).to_owned(),
            name: function.name().to_owned(),
            overload: function.overload().to_owned(),
        }
    }

    pub(crate) fn called_by(node: &NodeProto) -> FunctionKey {
        FunctionKey {
            domain: main_domain(node.domain()).to_owned(),
            name: node.op_type().to_owned(),
            overload: node.overload().to_owned(),
        }
    }
}

impl fmt::Display for FunctionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.domain, self.name)?;
        if self.overload.is_empty() {
            Ok(())
        } else {
            write!(f, ":{}", self.overload)
        }
    }
}

impl Importer<'_> {
    /// Inlines a call.
    pub(crate) fn call(
        &mut self,
        function: &FunctionProto,
        node: &NodeProto,
        inputs: &[Option<ValueId>],
        reference: &NodeRef,
    ) -> Result<(), ImportError> {
        let fail = |reason: String| ImportError::Node {
            node: reference.clone(),
            reason,
        };
        let key = FunctionKey::of(function);
        let mut frames = self.scopes.0.iter().flat_map(|scope| &scope.frames);
        if frames.any(|frame| frame.function.as_ref() == Some(&key)) {
            return Err(fail("the function calls itself".to_owned()));
        }
        if inputs.len() > function.input.len() {
            let (takes, given) = (function.input.len(), inputs.len());
            return Err(fail(format!(
                "the function takes {takes} inputs, not {given}"
            )));
        }
        let name = function.name();
        let _span = tracing::debug_span!("function", name, node = reference.name).entered();
        self.enter()?;
        let mut opsets = self.scopes.top_frame().opsets.clone();
        opsets.extend(declared_opsets(function));
        let mut frame = Frame::new(opsets);
        frame.call = Some(Arc::new(CallRef {
            function: key.to_string(),
            caller: reference.name.clone(),
            outer: reference.call.clone(),
        }));
        frame.function = Some(key);
        for (position, name) in function.input.iter().enumerate() {
            let given = node
                .input
                .get(position)
                .is_some_and(|name| !name.is_empty());
            match inputs.get(position).copied().flatten() {
                Some(id) => frame.names.insert(name.clone(), Bound::Value(id)),
                None if given => frame.names.insert(name.clone(), Bound::Missing),
                None => None,
            };
        }
        let absent: Vec<&str> = function
            .input
            .iter()
            .filter(|name| !frame.names.contains_key(*name))
            .map(String::as_str)
            .collect();
        let attrs = call_attrs(function, node);
        self.scopes.top().frames.push(frame);
        let result = self.body(function, &attrs, &absent);
        let results = result.and_then(|()| {
            let mut results = Vec::with_capacity(function.output.len());
            for name in &function.output {
                let bound = self.scopes.top_frame().names.get(name).copied();
                results.push(bound.ok_or_else(|| fail(format!("output {name:?} is not defined")))?);
            }
            Ok(results)
        });
        self.scopes.top().frames.pop();
        self.depth -= 1;
        let results = results?;
        for (position, name) in node.output.iter().enumerate() {
            if !name.is_empty() {
                let bound = results.get(position).copied();
                let bound = bound.ok_or_else(|| fail(format!("has no output {position}")))?;
                self.bind(name, bound)?;
            }
        }
        Ok(())
    }

    fn body(
        &mut self,
        function: &FunctionProto,
        attrs: &BTreeMap<String, Option<AttributeProto>>,
        absent: &[&str],
    ) -> Result<(), ImportError> {
        for node in &function.node {
            let mut node = node.clone();
            substitute(&mut node, attrs);
            for input in &mut node.input {
                if absent.contains(&input.as_str()) {
                    input.clear();
                }
            }
            self.node(&node)?;
        }
        Ok(())
    }
}

fn declared_opsets(function: &FunctionProto) -> Opsets {
    let entries = function.opset_import.iter();
    entries
        .map(|e| (main_domain(e.domain()).to_owned(), e.version()))
        .collect()
}

/// The value of each of the function's attributes in this call; `None` where it has none.
fn call_attrs(
    function: &FunctionProto,
    node: &NodeProto,
) -> BTreeMap<String, Option<AttributeProto>> {
    let mut attrs: BTreeMap<String, Option<AttributeProto>> = function
        .attribute
        .iter()
        .map(|name| (name.clone(), None))
        .collect();
    for attr in function.attribute_proto.iter().chain(&node.attribute) {
        attrs.insert(attr.name().to_owned(), Some(attr.clone()));
    }
    attrs
}

/// Replaces references to the function's attributes by their values, sub-graphs included; a
/// reference to an attribute without a value is as if it were not there.
fn substitute(node: &mut NodeProto, attrs: &BTreeMap<String, Option<AttributeProto>>) {
    node.attribute.retain_mut(|attr| {
        if attr.ref_attr_name().is_empty() {
            if let Some(graph) = &mut attr.g {
                substitute_graph(graph, attrs);
            }
            return true;
        }
        let value = attrs.get(attr.ref_attr_name()).cloned().flatten();
        match value {
            Some(value) => {
                *attr = AttributeProto {
                    name: attr.name.clone(),
                    ..value
                };
                true
            }
            None => false,
        }
    });
}

fn substitute_graph(graph: &mut GraphProto, attrs: &BTreeMap<String, Option<AttributeProto>>) {
    for node in &mut graph.node {
        substitute(node, attrs);
    }
}
