//! Constant folding: nodes of which every operand is constant are evaluated by their reference.
//!
//! Never folded: what is random, what holds sub-graphs, what has dims that are not numbers, and
//! what would grow the model by more than the budget. Dequantized constants stay compressed unless
//! asked for, or small and no operand of a contraction, which may take them as integers.

mod fast;

use std::collections::BTreeMap;

use alula_ir::{Attr, Graph, HostValue, Lowering, NodeId};
use alula_tensor::Tensor;

use crate::Options;

/// Most products that the reference of a contraction is asked to add up.
const PRODUCTS_MAX: f64 = 5e7;

/// Most bytes of a dequantized constant that is folded unasked: parameters of channels, say.
const DEQUANTIZED_BYTES_MAX: u64 = 64 << 10;

/// Folds nodes, and counts what that made.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    bytes_max: u64,
    folds_dequantize: bool,
    /// Nodes folded.
    pub nodes: usize,
    /// Bytes of the constants that they became.
    pub bytes: u64,
    /// Nodes that were not folded for their size, by name.
    pub refused: BTreeMap<String, u64>,
}

impl Folder {
    pub(crate) fn new(options: &Options) -> Folder {
        Folder {
            bytes_max: options.fold_bytes_max,
            folds_dequantize: options.fold_dequantize,
            ..Folder::default()
        }
    }

    /// The values of a node's results, if it can and should be folded.
    pub(crate) fn fold(&mut self, graph: &Graph, id: NodeId) -> Option<Vec<Tensor>> {
        let node = graph.node(id);
        if node.op.traits.random || node.op.traits.control_flow {
            return None;
        }
        let mut given = 0;
        for operand in node.operands.iter().flatten() {
            given += graph.as_constant(*operand)?.bytes().len() as u64;
        }
        let symbolic = node.attrs.iter().any(|(_, attr)| match attr {
            Attr::Dims(dims) => dims.iter().any(|dim| dim.as_const().is_none()),
            _ => false,
        });
        if symbolic {
            return None;
        }
        let mut needed = 0_u64;
        for result in &node.results {
            let ty = graph.ty(*result).as_tensor()?;
            let elements = ty.num_elements().as_const()?;
            let bytes = u64::try_from(elements)
                .ok()?
                .checked_mul(ty.dtype.size_bytes() as u64)?;
            needed = needed.checked_add(bytes)?;
        }
        if node.op.name.starts_with("dequantize")
            && !self.folds_dequantize
            && (needed > DEQUANTIZED_BYTES_MAX || feeds_contraction(graph, id))
        {
            return None;
        }
        if needed > given.saturating_add(self.bytes_max) || is_heavy(graph, id) {
            self.refused.insert(node.name.clone(), needed);
            return None;
        }
        let tensors = fast::fold(graph, id).or_else(|| by_reference(graph, id))?;
        self.nodes += 1;
        self.bytes += needed;
        Some(tensors)
    }
}

fn by_reference(graph: &Graph, id: NodeId) -> Option<Vec<Tensor>> {
    let node = graph.node(id);
    let operands: Vec<Option<HostValue>> = node
        .operands
        .iter()
        .map(|operand| Some(graph.as_constant((*operand)?)?.clone().into()))
        .collect();
    let operands: Vec<Option<&HostValue>> = operands.iter().map(Option::as_ref).collect();
    match alula_ops::evaluate_node(graph, id, &operands, &BTreeMap::new()) {
        Ok(values) => values
            .into_iter()
            .map(|value| value.as_tensor().cloned())
            .collect(),
        Err(error) => {
            // The error belongs to the run, which may never reach this node.
            tracing::debug!(node = node.name, %error, "not folded");
            None
        }
    }
}

/// Whether a result is an operand of a contraction, or of what may stand before one.
fn feeds_contraction(graph: &Graph, id: NodeId) -> bool {
    let results = &graph.node(id).results;
    let mut users = results.iter().flat_map(|value| graph.uses(*value));
    users.any(|(user, _)| {
        let op = graph.node(user).op;
        matches!(op.lowering, Lowering::Contract(_)) || matches!(op.name, "transpose" | "reshape")
    })
}

/// Whether the reference of a contraction would take too long: k = sqrt(mk * kn / mn).
fn is_heavy(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    if !matches!(node.op.lowering, Lowering::Contract(_)) {
        return false;
    }
    let elements = |value| {
        graph
            .ty(value)
            .as_tensor()
            .and_then(|ty| ty.num_elements().as_const())
            .unwrap_or(0) as f64
    };
    let operands: f64 = node
        .operands
        .iter()
        .take(2)
        .flatten()
        .map(|v| elements(*v))
        .product();
    (operands * elements(node.results[0])).sqrt() > PRODUCTS_MAX
}

/// Whether a node transposes weights for products only, which take them either way: folded, they
/// would exist twice if something else uses them as they are.
fn is_matrix_operand(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    if node.op.name != "transpose" {
        return false;
    }
    let (result, order) = (node.results[0], node.attrs.ints("perm"));
    let rank = order.len();
    let swaps_last = rank >= 2
        && order[..rank - 2]
            .iter()
            .enumerate()
            .all(|(to, from)| to as i64 == *from)
        && order[rank - 1] == rank as i64 - 2;
    let users = graph.uses(result);
    swaps_last
        && graph.num_outputs_of(result) == 0
        && users
            .iter()
            .all(|(user, _)| graph.node(*user).op.name == "matmul")
}

/// Folds every node of a graph that can be; returns how many.
pub(crate) fn fold_constants(graph: &mut Graph, folder: &mut Folder) -> usize {
    let mut count = 0;
    for id in graph.nodes() {
        if is_matrix_operand(graph, id) {
            continue;
        }
        let Some(tensors) = folder.fold(graph, id) else {
            continue;
        };
        let results = graph.node(id).results.clone();
        for (result, tensor) in results.into_iter().zip(tensors) {
            let constant = graph.constant(tensor);
            if let Err(error) = graph.replace(result, constant) {
                tracing::debug!(%error, "a folded constant was not taken");
            }
        }
        count += 1;
    }
    count
}
