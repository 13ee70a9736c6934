//! Everything in a graph that has no kernel, without lowering it.

use alula_ir::{Attr, Graph};

use crate::cluster::items;
use crate::plan::LowerOptions;
use crate::{LowerFailure, NodeFailure, expand};

/// The nodes of a graph and its sub-graphs that lowering refuses; empty if there is none.
///
/// # Errors
/// [`LowerFailure`] that is about no node.
pub fn refusals(mut graph: Graph) -> Result<Vec<NodeFailure>, LowerFailure> {
    let mut found = Vec::new();
    for id in graph.nodes() {
        for (_, attr) in graph.node(id).attrs.iter() {
            if let Attr::Graph(inner) = attr {
                found.extend(refusals((**inner).clone())?);
            }
        }
    }
    let expanded = expand(&mut graph, &LowerOptions::default());
    let lowered = expanded.and_then(|_| items(&graph).map(drop));
    match lowered {
        Ok(()) => {}
        Err(LowerFailure::Nodes(nodes)) => found.extend(nodes),
        Err(other) => return Err(other),
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use alula_ir::parse;

    use super::refusals;

    #[test]
    fn all_nodes_without_a_kernel_are_found() {
        let text = "graph @g(%c: bool[N], %s: string[N], %t: string[N], %x: f32[N], %d: bool[]) {
            %a = select %c, %s, %t
            %b = relu %x
            %e = select %c, %t, %s
            %f = if %d, %c, %s, %c, %t {
              then = graph @p(%p: bool[N], %q: string[N]) { %r = select %p, %q, %q return r: %r },
              else = graph @q(%p: bool[N], %q: string[N]) { return q: %q },
              then_inputs = 2 }
            return a: %a, b: %b, e: %e, f: %f }";
        let graph =
            parse(text, alula_ops::registry(), &|_| None).unwrap_or_else(|error| panic!("{error}"));
        let found = refusals(graph).expect("nothing else is refused");
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let reason = "not supported: select of strings in a kernel";
        assert_eq!(found.len(), 3, "{found:?}");
        for (text, name) in found.iter().zip(["r", "a", "e"]) {
            let start = format!("select {name:?}: {reason}");
            assert_eq!(text, &start);
        }
    }
}
