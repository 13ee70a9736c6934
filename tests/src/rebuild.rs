//! A graph made again with something changed, so that inference judges the change.

use std::collections::BTreeMap;

use alula_ir::{Attrs, Def, Graph, GraphError, Node, ValueId};
use alula_tensor::ValueType;

/// What to change.
#[derive(Default)]
pub struct Change<'c> {
    /// Gives an input another type.
    pub input: Option<&'c dyn Fn(usize, &ValueType) -> ValueType>,
    /// Gives a node other attributes.
    pub attrs: Option<&'c dyn Fn(&Node, Attrs) -> Attrs>,
    /// Gives a node other operands.
    pub operands: Option<&'c dyn Fn(&Node, Vec<Option<ValueId>>) -> Vec<Option<ValueId>>>,
}

/// The graph with the changes made.
///
/// # Errors
/// What inference refuses.
pub fn rebuild(graph: &Graph, change: &Change<'_>) -> Result<Graph, GraphError> {
    let mut copy = Graph::new(graph.name.clone());
    let mut map: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for (position, id) in graph.inputs().iter().enumerate() {
        let name = graph.value(*id).name.clone().unwrap_or_default();
        let ty = match change.input {
            Some(retype) => retype(position, graph.ty(*id)),
            None => graph.ty(*id).clone(),
        };
        map.insert(*id, copy.input(name, ty));
    }
    for (id, value) in graph.values() {
        if let Def::Constant(tensor) = &value.def {
            map.insert(id, copy.constant(tensor.clone()));
        }
    }
    for id in graph.nodes() {
        let node = graph.node(id);
        let own = node
            .operands
            .iter()
            .map(|operand| operand.map(|id| map[&id]));
        let operands = match change.operands {
            Some(other) => other(node, own.collect()),
            None => own.collect(),
        };
        let attrs = match change.attrs {
            Some(other) => other(node, node.attrs.clone()),
            None => node.attrs.clone(),
        };
        let wanted = node.results.len();
        let results = copy.push_with_results(node.op, &operands, attrs, &node.name, wanted)?;
        map.extend(node.results.iter().copied().zip(results));
    }
    for (name, id) in graph.outputs() {
        // A result may be gone with the change.
        if let Some(new) = map.get(id) {
            copy.output(name.clone(), *new);
        }
    }
    Ok(copy)
}
