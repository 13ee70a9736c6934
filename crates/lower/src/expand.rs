//! Replaces composite operators by what they are made of.

use alula_ir::{Graph, Lowering};

use crate::LowerFailure;

/// Most rounds: an operator may be made of operators that are made of others.
const ROUNDS_MAX: usize = 32;

/// Replaces every operator whose lowering is `Compose` by what it is made of, until none is left.
/// Sub-graphs are left alone: they are expanded when they are lowered.
///
/// # Errors
/// [`LowerFailure::Graph`] when a composition does not type.
pub fn expand(graph: &mut Graph) -> Result<(), LowerFailure> {
    for _ in 0..ROUNDS_MAX {
        let mut changed = false;
        for id in graph.nodes() {
            let node = graph.node(id);
            let Lowering::Compose(compose) = node.op.lowering else {
                continue;
            };
            let results = node.results.clone();
            let replacements = compose(graph, id)?;
            assert_eq!(
                results.len(),
                replacements.len(),
                "one replacement for each result"
            );
            for (old, new) in results.into_iter().zip(replacements) {
                graph.replace(old, new)?;
            }
            changed = true;
        }
        graph.remove_dead();
        if !changed {
            return Ok(());
        }
    }
    panic!("an operator is made of itself");
}
