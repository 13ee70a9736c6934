//! Constant folding: nodes of which every operand is constant are evaluated by their reference.
//!
//! Never folded: what is random, what holds sub-graphs, what has dims that are not numbers, and
//! what would grow the model by more than one node may, or all together. Dequantized constants stay
//! compressed unless asked for, or small and no operand of a contraction, which may take them as
//! integers. Those that a model spells with a cast and a product stay so where a run reads a part
//! of them only: in front of a product of floats, all of them would be expanded in each run.

mod fast;

use std::collections::BTreeMap;

use alula_ir::{Attr, Def, Graph, HostValue, Lowering, NodeId, ValueId};
use alula_tensor::Tensor;

use crate::options::{FoldLimit, FoldRefusal, Options};

/// Most products that the reference of a contraction is asked to add up.
const PRODUCTS_MAX: f64 = 5e7;

/// Most bytes of a dequantized constant that is folded unasked: parameters of channels, say.
const DEQUANTIZED_BYTES_MAX: u64 = 64 << 10;

/// Bytes that all folding may add to a model unless the options say else; more where the model has
/// more, so that folding at most doubles it.
const TOTAL_BYTES_MAX: u64 = 32 << 20;

/// Results so small that nobody asks what leaves the model for them.
const SMALL_BYTES: u64 = 256;

/// What came of folding a node.
pub(crate) enum Folding {
    /// The values of its results.
    Done(Vec<Tensor>),
    /// It is not constant, or is better left as it is.
    No,
    /// A bound speaks against it.
    Refused(FoldLimit),
}

/// Folds nodes, and counts what that made.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    bytes_max: u64,
    /// Bytes by which the model may still grow.
    total_left: u64,
    folds_dequantize: bool,
    /// Nodes folded.
    pub nodes: usize,
    /// Bytes of the constants that they became.
    pub bytes: u64,
    /// Nodes that were not folded for their size, by name.
    pub refused: BTreeMap<String, FoldRefusal>,
}

impl Folder {
    /// Of a model: its graph with all sub-graphs.
    pub(crate) fn new(graph: &Graph, options: &Options) -> Folder {
        let default = || {
            let mut known = BTreeMap::new();
            constants(graph, &mut known);
            TOTAL_BYTES_MAX.max(known.values().sum())
        };
        Folder {
            bytes_max: options.fold_bytes_max,
            total_left: options.fold_total_max.unwrap_or_else(default),
            folds_dequantize: options.fold_dequantize,
            ..Folder::default()
        }
    }

    /// As [`Folder::fold`], of a node that has no user yet: what stays compressed before a
    /// contraction cannot be told from what does not, so that the pass decides later.
    pub(crate) fn fold_new(
        &mut self,
        graph: &Graph,
        id: NodeId,
        leaves: &dyn Fn(NodeId) -> bool,
    ) -> Folding {
        let is_dequantized = graph.node(id).op.name.starts_with("dequantize");
        if is_dequantized && !self.folds_dequantize {
            return Folding::No;
        }
        self.fold(graph, id, leaves)
    }

    /// Folds a node, if it can and should be; `leaves` says which users of its operands leave the
    /// graph with it.
    pub(crate) fn fold(
        &mut self,
        graph: &Graph,
        id: NodeId,
        leaves: &dyn Fn(NodeId) -> bool,
    ) -> Folding {
        let Some((given, needed)) = self.size(graph, id) else {
            return Folding::No;
        };
        let node = graph.node(id);
        let growth = match needed {
            0..=SMALL_BYTES => needed,
            _ => needed.saturating_sub(freed(graph, id, leaves)),
        };
        // Weights of 16 bits may become the f32 that their users compute with.
        let most = match graph.node(id).op.name {
            "cast" => given.max(self.bytes_max),
            _ => self.bytes_max,
        };
        let limit = if needed > given.saturating_add(most) {
            Some(FoldLimit::Node)
        } else if growth > self.total_left {
            Some(FoldLimit::Total)
        } else {
            is_heavy(graph, id).then_some(FoldLimit::Work)
        };
        if let Some(limit) = limit {
            let refusal = FoldRefusal {
                bytes: needed,
                limit,
            };
            self.refused.insert(node.name.clone(), refusal);
            return Folding::Refused(limit);
        }
        let Some(tensors) = fast::fold(graph, id).or_else(|| by_reference(graph, id)) else {
            return Folding::No;
        };
        self.total_left -= growth;
        self.nodes += 1;
        self.bytes += needed;
        Folding::Done(tensors)
    }

    /// Bytes of a node's operands and of its results, if it can and should be folded, whatever the
    /// bounds say.
    fn size(&self, graph: &Graph, id: NodeId) -> Option<(u64, u64)> {
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
            // What an annotation says is kept as it is stored.
            if ty.quant.is_some() {
                return None;
            }
            let elements = ty.num_elements().as_const()?;
            let bytes = u64::try_from(elements)
                .ok()?
                .checked_mul(ty.dtype.size_bytes() as u64)?;
            needed = needed.checked_add(bytes)?;
        }
        let is_large = needed > DEQUANTIZED_BYTES_MAX;
        let stays = match node.op.name {
            name if name.starts_with("dequantize") => is_large || feeds_contraction(graph, id),
            "cast" if is_large => {
                scaling_of(graph, id).is_some_and(|last| !feeds_contraction(graph, last))
            }
            _ => false,
        };
        (!stays || self.folds_dequantize).then_some((given, needed))
    }
}

/// Bytes of the constants of a graph and its sub-graphs, by the address of their elements: graphs
/// share constants.
fn constants(graph: &Graph, known: &mut BTreeMap<usize, u64>) {
    for (_, value) in graph.values() {
        if let Def::Constant(tensor) = &value.def {
            let bytes = tensor.bytes();
            known.insert(bytes.as_ptr().addr(), bytes.len() as u64);
        }
    }
    for id in graph.nodes() {
        for (_, attr) in graph.node(id).attrs.iter() {
            if let Attr::Graph(inner) = attr {
                constants(inner, known);
            }
        }
    }
}

/// Bytes of constant operands that nothing but what leaves uses.
fn freed(graph: &Graph, id: NodeId, leaves: &dyn Fn(NodeId) -> bool) -> u64 {
    let mut operands: Vec<ValueId> = graph.node(id).operands.iter().flatten().copied().collect();
    operands.sort_unstable();
    operands.dedup();
    let bytes = operands.into_iter().map(|operand| {
        let bytes = graph.as_constant(operand).map_or(0, |t| t.bytes().len());
        let is_freed = bytes as u64 > SMALL_BYTES
            && graph.num_outputs_of(operand) == 0
            && graph.uses(operand).iter().all(|(user, _)| leaves(*user));
        if is_freed { bytes as u64 } else { 0 }
    });
    bytes.sum()
}

/// The product that ends a dequantization which this cast of integers begins:
/// `(cast(steps) - zero point) * scale`, with constants.
fn scaling_of(graph: &Graph, cast: NodeId) -> Option<NodeId> {
    let is_narrower = {
        let node = graph.node(cast);
        let from = graph
            .ty(node.operands.first().copied()??)
            .as_tensor()?
            .dtype;
        let to = graph.ty(node.results[0]).as_tensor()?.dtype;
        from.is_integer() && to.is_float() && from.size_bytes() < to.size_bytes()
    };
    let (mut at, mut steps) = (cast, 0);
    while is_narrower && steps < 2 {
        let value = graph.node(at).results[0];
        let users = graph.uses(value);
        let [(user, _)] = users.as_slice() else {
            return None;
        };
        let mut operands = graph.node(*user).operands.iter().flatten();
        let name = graph.node(*user).op.name;
        if !matches!(name, "mul" | "sub")
            || !operands.all(|other| *other == value || graph.as_constant(*other).is_some())
        {
            return None;
        }
        if name == "mul" {
            return Some(*user);
        }
        (at, steps) = (*user, steps + 1);
    }
    None
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

/// Whether a result is a side of a contraction, or of what may stand before one. A bias is none.
fn feeds_contraction(graph: &Graph, id: NodeId) -> bool {
    let results = &graph.node(id).results;
    let mut users = results.iter().flat_map(|value| graph.uses(*value));
    users.any(|(user, position)| {
        let op = graph.node(user).op;
        let is_side = matches!(op.lowering, Lowering::Contract(_)) && position < 2;
        is_side || matches!(op.name, "transpose" | "reshape")
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
        let Folding::Done(tensors) = folder.fold(graph, id, &|user| user == id) else {
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
