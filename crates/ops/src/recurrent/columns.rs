//! Scans whose recurrent weights are transposed, so that lanes are rows of weights.
//!
//! Row by row each product is a sum over lanes that has to be added up across a register, four
//! for each hidden element and step. Column by column the lanes of a register are products of
//! their own.

use alula_ir::{Graph, GraphError, NodeId, ValueId};
use alula_tensor::{Storage, Tensor};

use super::scan::{GATES, TRANSPOSED, WEIGHTS};

/// Rows of weights from which on lanes of the widest registers are full.
const ROWS_MIN: usize = 16;

/// Whether [`by_column`] takes a node: a scan with constant weights that are neither quantized nor
/// transposed yet, and with rows enough.
pub fn is_by_row(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let operand = |position: usize| node.operands.get(position).copied().flatten();
    let is_scan = super::ROWS.iter().any(|scan| scan.name == node.op.name);
    let (Some(gates), Some(weights)) = (operand(GATES), operand(WEIGHTS)) else {
        return false;
    };
    is_scan
        && !node.attrs.bool(TRANSPOSED.name)
        && graph.as_constant(weights).is_some_and(|weights| {
            let gates = graph.ty(gates).as_tensor();
            gates.is_some_and(|gates| gates.dtype == weights.dtype())
                && weights.shape()[1] >= ROWS_MIN
        })
}

/// The same scan of transposed weights; returns what replaces its results.
///
/// # Errors
/// [`GraphError`] if it does not type: a defect of ours.
///
/// # Panics
/// When [`is_by_row`] says no.
pub fn by_column(graph: &mut Graph, id: NodeId) -> Result<Vec<ValueId>, GraphError> {
    let node = graph.node(id).clone();
    let weights = node.operands[WEIGHTS].and_then(|weights| graph.as_constant(weights));
    let transposed = transposed(weights.expect("the weights are constant"));
    let mut operands = node.operands.to_vec();
    operands[WEIGHTS] = Some(graph.constant(transposed));
    let attrs = node.attrs.with(TRANSPOSED.name, true);
    graph.push_with_results(node.op, &operands, attrs, &node.name, node.results.len())
}

/// Swaps the last two of three axes.
fn transposed(of: &Tensor) -> Tensor {
    let &[count, rows, columns] = of.shape() else {
        unreachable!("inference has seen three axes");
    };
    let (each, from) = (of.dtype().size_bytes(), of.bytes());
    let mut to = Vec::with_capacity(from.len());
    for matrix in 0..count {
        for column in 0..columns {
            for row in 0..rows {
                let at = ((matrix * rows + row) * columns + column) * each;
                to.extend_from_slice(&from[at..at + each]);
            }
        }
    }
    let shape = [count, columns, rows];
    let tensor = Tensor::from_storage(of.dtype(), &shape, Storage::copy_from(&to));
    tensor.expect("as many elements")
}
