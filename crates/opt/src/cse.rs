//! Merges constants with the same elements, and nodes that apply the same operator with the same
//! attributes to the same operands.

use std::collections::BTreeMap;

use alula_ir::{Attr, Attrs, Graph, ValueId};
use alula_tensor::Tensor;

/// Merges what is equal; returns the number of values that went away.
pub(crate) fn merge_equal(graph: &mut Graph) -> usize {
    merge_constants(graph) + merge_nodes(graph)
}

fn merge_constants(graph: &mut Graph) -> usize {
    // The first bytes tell most weights apart without reading all of them.
    const PREFIX: usize = 64;
    let mut buckets: BTreeMap<(String, Vec<u8>), Vec<ValueId>> = BTreeMap::new();
    let mut equal: Vec<(ValueId, ValueId)> = Vec::new();
    let is_same = |a: &Tensor, b: &Tensor| a.strings() == b.strings() && a.bytes() == b.bytes();
    for (id, value) in graph.values() {
        let alula_ir::Def::Constant(tensor) = &value.def else {
            continue;
        };
        let bytes = tensor.bytes();
        let key = (
            value.ty.to_string(),
            bytes[..bytes.len().min(PREFIX)].to_vec(),
        );
        let bucket = buckets.entry(key).or_default();
        let first = bucket.iter().find(|known| {
            graph
                .as_constant(**known)
                .is_some_and(|other| is_same(tensor, other))
        });
        match first {
            Some(first) => equal.push((id, *first)),
            None => bucket.push(id),
        }
    }
    equal.retain(|(old, new)| graph.replace(*old, *new).is_ok());
    equal.len()
}

fn merge_nodes(graph: &mut Graph) -> usize {
    let mut known: BTreeMap<(String, Vec<Option<ValueId>>, usize), Vec<ValueId>> = BTreeMap::new();
    let mut merged = 0;
    for id in graph.nodes() {
        let node = graph.node(id);
        if node.op.traits.random || node.op.traits.control_flow || is_large(&node.attrs) {
            continue;
        }
        let mut operands = node.operands.clone();
        if node.op.traits.commutative && operands.len() >= 2 {
            operands[..2].sort();
        }
        let key = (
            format!("{}{:?}", node.op.name, node.attrs),
            operands,
            node.results.len(),
        );
        let results = node.results.clone();
        let Some(first) = known.get(&key) else {
            known.insert(key, results);
            continue;
        };
        // Extents that the operator decides while it runs have a symbol of each node's own.
        let is_same = results
            .iter()
            .zip(first)
            .all(|(a, b)| graph.ty(*a) == graph.ty(*b));
        if is_same
            && results
                .iter()
                .zip(first)
                .all(|(a, b)| graph.replace(*a, *b).is_ok())
        {
            merged += 1;
        }
    }
    merged
}

/// Whether comparing the attributes as text would cost more than it can gain.
fn is_large(attrs: &Attrs) -> bool {
    attrs.iter().any(|(_, attr)| match attr {
        Attr::Tensor(tensor) => tensor.len() > 16,
        Attr::Graph(_) => true,
        _ => false,
    })
}
