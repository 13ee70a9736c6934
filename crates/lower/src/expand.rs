//! Replaces annotations on types, and composite operators by what they are made of.

use alula_ir::{Graph, GraphError, Lowering, NodeId, ValueId};
use alula_ops::recurrent::{as_loop, by_column, is_by_row, loop_bytes};
use alula_ops::shape::CONCAT;
use alula_tensor::DType;

use crate::plan::LowerOptions;
use crate::quant::{Fate, realize};
use crate::{LowerFailure, NodeFailure};

/// Most rounds: an operator may be made of operators that are made of others.
const ROUNDS_MAX: usize = 32;

/// Most parts that one definition joins. It is a chain of selects over all of them, which takes
/// time and memory in the square of their number to print; longer ones are joined in turns.
const PARTS_MAX: usize = 64;

/// Replaces annotations by the operators that they stand for, recurrences as `options` say, then
/// every operator whose lowering is `Compose` by what it is made of, until none is left. Sub-graphs
/// are left alone: they are expanded when they are lowered. Returns what became of each annotation.
///
/// # Errors
/// [`LowerFailure::Nodes`] when compositions do not type: all of them that were met;
/// [`LowerFailure::Annotation`].
pub fn expand(graph: &mut Graph, options: &LowerOptions) -> Result<Vec<Fate>, LowerFailure> {
    let fates = realize(graph, options.native)?;
    if let Some(least) = options.loop_bytes_min {
        loop_scans(graph, least)?;
    }
    for _ in 0..ROUNDS_MAX {
        let mut changed = false;
        let mut failures = Vec::new();
        for id in graph.nodes() {
            let node = graph.node(id);
            let Lowering::Compose(compose) = node.op.lowering else {
                continue;
            };
            failures.extend(replace(graph, id, compose).err());
            changed = true;
        }
        if !failures.is_empty() {
            return Err(LowerFailure::Nodes(failures));
        }
        graph.remove_dead();
        if !changed {
            cut_concats(graph)?;
            return Ok(fates);
        }
    }
    panic!("an operator is made of itself");
}

/// Replaces a node's results by what `compose` makes of it.
fn replace(
    graph: &mut Graph,
    id: NodeId,
    compose: fn(&mut Graph, NodeId) -> Result<Vec<ValueId>, GraphError>,
) -> Result<(), NodeFailure> {
    let node = graph.node(id);
    let (op, name, results) = (node.op.name, node.name.clone(), node.results.clone());
    let fail = |error: GraphError| NodeFailure {
        op,
        name: name.clone(),
        reason: error.into(),
    };
    let replacements = compose(graph, id).map_err(fail)?;
    assert_eq!(
        results.len(),
        replacements.len(),
        "one replacement for each result"
    );
    for (old, new) in results.into_iter().zip(replacements) {
        graph.replace(old, new).map_err(fail)?;
    }
    Ok(())
}

/// Writes recurrences of `f32` as loops where a step reads so many bytes of weights at least, and
/// others with weights that lie column by column.
fn loop_scans(graph: &mut Graph, least: usize) -> Result<(), LowerFailure> {
    let is_single = |id: NodeId, graph: &Graph| {
        let ty = graph.ty(graph.node(id).results[0]).as_tensor();
        ty.is_some_and(|ty| ty.dtype == DType::F32)
    };
    let mut failures = Vec::new();
    for id in graph.nodes() {
        let is_large = loop_bytes(graph, id).is_some_and(|bytes| bytes >= least);
        let compose = match is_large {
            true => as_loop,
            false if is_by_row(graph, id) => by_column,
            false => continue,
        };
        if is_single(id, graph) {
            failures.extend(replace(graph, id, compose).err());
        }
    }
    if !failures.is_empty() {
        return Err(LowerFailure::Nodes(failures));
    }
    graph.remove_dead();
    Ok(())
}

/// Joins no more parts at once than [`PARTS_MAX`].
fn cut_concats(graph: &mut Graph) -> Result<(), LowerFailure> {
    let mut changed = false;
    for id in graph.nodes() {
        let node = graph.node(id);
        if node.op.name != CONCAT.name || node.operands.len() <= PARTS_MAX {
            continue;
        }
        let (attrs, name, old) = (node.attrs.clone(), node.name.clone(), node.results[0]);
        let mut parts: Vec<ValueId> = node.operands.iter().flatten().copied().collect();
        while parts.len() > 1 {
            let join = |parts: &[ValueId]| graph.apply(&CONCAT, parts, attrs.clone(), &name);
            parts = parts
                .chunks(PARTS_MAX)
                .map(join)
                .collect::<Result<_, _>>()?;
        }
        // The same elements: a sum of many extents may have got another symbol for its value.
        graph.refine_type(parts[0], graph.ty(old).clone());
        graph.replace(old, parts[0])?;
        changed = true;
    }
    if changed {
        graph.remove_dead();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alula_ir::Attrs;
    use alula_tensor::{DType, Dim, TensorType};

    use super::*;

    fn joined(parts: usize) -> Graph {
        let mut graph = Graph::new("test");
        let ty = TensorType::new(DType::F32, [Dim::named("N"), Dim::new(2)]);
        let x = graph.input("x", ty);
        let attrs = Attrs::new().with("axis", 0_i64);
        let all = graph.apply(&CONCAT, &vec![x; parts], attrs, "join");
        graph.output("y", all.expect("a concatenation types"));
        expand(&mut graph, &LowerOptions::default()).expect("it expands");
        graph
    }

    #[test]
    fn long_concatenations_are_joined_in_turns() {
        let graph = joined(2 * PARTS_MAX + 1);
        let operands = |id| graph.node(id).operands.len();
        let counts: Vec<usize> = graph.nodes().into_iter().map(operands).collect();
        assert_eq!(counts, [PARTS_MAX, PARTS_MAX, 1, 3]);
        let (_, y) = graph.outputs()[0];
        assert_eq!(graph.ty(y).to_string(), "f32[129*N, 2]");
    }

    #[test]
    fn a_sum_of_many_extents_keeps_its_symbol() {
        let mut graph = Graph::new("test");
        let parts: Vec<ValueId> = (0..=PARTS_MAX)
            .map(|part| {
                let extent = Dim::named(&format!("N{part}"));
                graph.input(format!("x{part}"), TensorType::new(DType::F32, [extent]))
            })
            .collect();
        let attrs = Attrs::new().with("axis", 0_i64);
        let all = graph.apply(&CONCAT, &parts, attrs, "join");
        graph.output("y", all.expect("a concatenation types"));
        let ty = graph.ty(graph.outputs()[0].1).to_string();
        expand(&mut graph, &LowerOptions::default()).expect("it expands");
        assert_eq!(graph.num_nodes(), 3);
        assert_eq!(graph.ty(graph.outputs()[0].1).to_string(), ty);
    }

    #[test]
    fn others_stay() {
        assert_eq!(joined(PARTS_MAX).num_nodes(), 1);
    }
}
