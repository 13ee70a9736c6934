//! Computes small results of constant operands while the model is read.
//!
//! Inference follows the elements of integer tensors of rank 0 and 1. Models that compute extents
//! and paddings by a detour (a matrix that is reversed and transposed, a float that is rounded)
//! would get symbols for them, and shapes that are not known until a run. What such a detour makes
//! of constants is computed at once, by the operators' references.

use std::collections::BTreeMap;

use alula_ir::{Graph, HostValue, NodeId, ValueId};
use alula_tensor::Tensor;

/// Most elements of a result that is computed.
const ELEMENTS_MAX: i64 = 1024;
/// Most of a float result, which is rarely part of a shape.
const FLOATS_MAX: i64 = 16;

/// The results of the newest node of a graph, or constants in place of them.
///
/// `symbols_before` is the graph's symbol counter before the node was added.
pub(super) fn known_results(
    graph: &mut Graph,
    results: Vec<ValueId>,
    symbols_before: u32,
) -> Vec<ValueId> {
    let Some(node) = results.first().and_then(|first| graph.producer(*first)) else {
        return results;
    };
    if graph.symbol_counter() != symbols_before || !is_small_and_constant(graph, node) {
        return results;
    }
    let Some(tensors) = compute(graph, node) else {
        return results;
    };
    graph.remove_unused(node);
    tensors
        .into_iter()
        .map(|tensor| graph.constant(tensor))
        .collect()
}

fn is_small_and_constant(graph: &Graph, node: NodeId) -> bool {
    let node = graph.node(node);
    let is_small = |value: &ValueId| {
        graph.ty(*value).as_tensor().is_some_and(|ty| {
            let most = match ty.dtype.is_float() {
                true => FLOATS_MAX,
                false => ELEMENTS_MAX,
            };
            let elements = ty.num_elements().as_const();
            ty.quant.is_none() && elements.is_some_and(|elements| elements <= most)
        })
    };
    let is_constant = |operand: &Option<ValueId>| {
        operand.is_none_or(|id| is_small(&id) && graph.as_constant(id).is_some())
    };
    !node.op.traits.random
        && !node.op.traits.control_flow
        && node.operands.iter().all(is_constant)
        && node.results.iter().all(is_small)
}

/// An error belongs to the run, which may never reach the node.
fn compute(graph: &Graph, id: NodeId) -> Option<Vec<Tensor>> {
    let constants: Vec<Option<HostValue>> = graph
        .node(id)
        .operands
        .iter()
        .map(|operand| Some(graph.as_constant((*operand)?)?.clone().into()))
        .collect();
    let operands: Vec<Option<&HostValue>> = constants.iter().map(Option::as_ref).collect();
    let values = alula_ops::evaluate_node(graph, id, &operands, &BTreeMap::new()).ok()?;
    values
        .into_iter()
        .map(|value| value.as_tensor().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use alula_ir::Attrs;
    use alula_tensor::{DType, TensorType};

    use super::*;

    fn reversed(graph: &mut Graph, operand: ValueId) -> ValueId {
        let slice = alula_ops::registry()
            .get("slice")
            .expect("there is a slice");
        let attrs = Attrs::new()
            .with("axes", vec![0_i64])
            .with("starts", vec![alula_tensor::Dim::new(-1)])
            .with("ends", vec![alula_tensor::Dim::new(i64::MIN)])
            .with("steps", vec![-1_i64]);
        let before = graph.symbol_counter();
        let results = graph
            .push(slice, &[Some(operand)], attrs, "reverse")
            .expect("a slice types");
        known_results(graph, results, before)[0]
    }

    #[test]
    fn computes_a_small_matrix_and_removes_the_node() {
        let mut graph = Graph::new("test");
        let tensor = Tensor::from_slice(&[2, 2], &[1_i64, 2, 3, 4]);
        let operand = graph.constant(tensor.expect("four elements"));
        let result = reversed(&mut graph, operand);
        let values = graph.as_constant(result).and_then(Tensor::to_i64s);
        assert_eq!(values, Some(vec![3, 4, 1, 2]));
        assert_eq!(graph.num_nodes(), 0);
    }

    #[test]
    fn leaves_large_weights_and_inputs() {
        let mut graph = Graph::new("test");
        let tensor = Tensor::from_slice(&[32], &[1.0_f32; 32]);
        let weights = graph.constant(tensor.expect("32 elements"));
        let input = graph.input(
            "x",
            TensorType::new(DType::I64, [alula_tensor::Dim::new(2)]),
        );
        for operand in [weights, input] {
            let result = reversed(&mut graph, operand);
            assert!(graph.as_constant(result).is_none());
        }
        assert_eq!(graph.num_nodes(), 2);
    }
}
