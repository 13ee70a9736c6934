//! Annotates constants of contractions with the zeros that they have.
//!
//! An annotation changes no number: it is for back ends that have a kernel for it, and for reports
//! of those that have none.

use std::sync::Arc;

use alula_ir::{Graph, Lowering, NodeId, ValueId};
use alula_tensor::Sparsity;

/// Fewer elements are no weights that anyone prunes.
const ELEMENTS_MIN: usize = 256;

/// Annotates the sparse constants that contractions read, as they are or after dequantization and
/// transpositions; returns how many.
pub(crate) fn annotate_sparse(graph: &mut Graph) -> usize {
    let mut found: Vec<(ValueId, Vec<usize>)> = Vec::new();
    for id in graph.nodes() {
        let node = graph.node(id);
        if !matches!(node.op.lowering, Lowering::Contract(_)) {
            continue;
        }
        for (position, operand) in node.operands.iter().take(2).enumerate() {
            let Some(operand) = *operand else { continue };
            if let Some(source) = constant_behind(graph, operand, summed(graph, id, position)) {
                found.push(source);
            }
        }
    }
    let mut count = 0;
    for (id, summed) in found {
        let (Some(mut ty), Some(tensor)) =
            (graph.ty(id).as_tensor().cloned(), graph.as_constant(id))
        else {
            continue;
        };
        if ty.sparsity.is_some() || tensor.len() < ELEMENTS_MIN {
            continue;
        }
        if let Some(sparsity) = Sparsity::of(tensor, &summed) {
            ty.sparsity = Some(Arc::new(sparsity));
            graph.refine_type(id, ty.into());
            count += 1;
        }
    }
    count
}

/// The axes of an operand that products are summed over and that groups may lie along.
fn summed(graph: &Graph, id: NodeId, position: usize) -> Vec<usize> {
    let node = graph.node(id);
    let operand = node.operands[position].and_then(|value| graph.ty(value).as_tensor());
    let rank = operand.map_or(0, |ty| ty.rank());
    let turned = |name: &str| node.attrs.has(name) && node.attrs.bool(name);
    match (node.op.name, position) {
        ("matmul" | "matmul_integer", 0) if turned("transpose_a") => vec![rank - 2],
        ("matmul" | "matmul_integer", 0) => vec![rank - 1],
        ("matmul" | "matmul_integer", _) if turned("transpose_b") => vec![rank - 1],
        ("matmul" | "matmul_integer", _) => vec![rank - 2],
        ("conv" | "conv_integer", 1) => vec![1],
        ("conv_transpose", 1) => vec![0],
        _ => Vec::new(),
    }
}

/// The constant that a value is or is moved from, with the axes as they are there.
fn constant_behind(
    graph: &Graph,
    mut value: ValueId,
    mut axes: Vec<usize>,
) -> Option<(ValueId, Vec<usize>)> {
    loop {
        if graph.as_constant(value).is_some() {
            return Some((value, axes));
        }
        let node = graph.node(graph.producer(value)?);
        match node.op.name {
            // A zero point is no zero.
            "dequantize_linear" if node.operands.len() == 2 => {}
            "transpose" => {
                let order = node.attrs.ints("perm");
                axes = axes.iter().map(|axis| order[*axis] as usize).collect();
            }
            _ => return None,
        }
        value = node.operands[0]?;
    }
}
