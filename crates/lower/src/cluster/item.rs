//! Work items: what each node does, before anything is fused.

use alula_ir::{Graph, LowerCtx, LowerError, Lowering, NodeId, ValueId};
use alula_kernel::{Compute, Contract, Kernel};
use alula_program::HostFn;
use alula_tensor::Dim;

use crate::{LowerFailure, NodeFailure};

/// What an item does.
#[derive(Clone, Debug)]
pub enum Work {
    /// A definition of one result.
    Compute(Box<Compute>),
    /// A contraction with one result.
    Contract(Box<Contract>),
    /// Loops with any number of results.
    Kernel(Box<Kernel>),
    /// The first operand under other extents.
    View,
    /// A host function.
    Host(HostFn),
    /// A node with sub-graphs.
    Control,
    /// Dims written as a tensor.
    Dims(Vec<Dim>),
}

/// A piece of work: becomes one step of the plan, or none.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it does.
    pub work: Work,
    /// Values it reads; definitions load them by position. `None` only for host functions and
    /// control flow.
    pub operands: Vec<Option<ValueId>>,
    /// Values it makes.
    pub results: Vec<ValueId>,
    /// The nodes it stands for, the last one being the one whose result it makes.
    pub nodes: Vec<NodeId>,
}

impl Item {
    /// Operands that are there.
    pub fn reads(&self) -> impl Iterator<Item = ValueId> {
        self.operands.iter().copied().flatten()
    }
}

/// The items of a graph, in topological order.
///
/// # Errors
/// [`LowerFailure::Nodes`] when nodes have no kernel.
pub fn items(graph: &Graph) -> Result<Vec<Item>, LowerFailure> {
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for id in graph.nodes() {
        if let Err(failure) = node_items(graph, id, &mut items) {
            failures.push(failure);
        }
    }
    match failures.is_empty() {
        true => Ok(items),
        false => Err(LowerFailure::Nodes(failures)),
    }
}

fn node_items(graph: &Graph, id: NodeId, items: &mut Vec<Item>) -> Result<(), NodeFailure> {
    let node = graph.node(id);
    let fail = |error: LowerError| NodeFailure {
        op: node.op.name,
        name: node.name.clone(),
        reason: error.into(),
    };
    let ctx = LowerCtx {
        op: node.op.name,
        attrs: &node.attrs,
        operands: node
            .operands
            .iter()
            .map(|o| o.map(|value| graph.ty(value)))
            .collect(),
        constants: node
            .operands
            .iter()
            .map(|o| o.and_then(|value| graph.as_constant(value)))
            .collect(),
        results: node.results.iter().map(|value| graph.ty(*value)).collect(),
    };
    // An integer result whose elements are known as dims needs no computing.
    if let [result] = node.results.as_slice()
        && let Some(content) = &graph.value(*result).content
        && graph
            .ty(*result)
            .as_tensor()
            .is_some_and(|ty| ty.dtype == alula_tensor::DType::I64)
        && !matches!(node.op.lowering, Lowering::Control | Lowering::Host(_))
    {
        items.push(Item {
            work: Work::Dims(content.clone()),
            operands: Vec::new(),
            results: node.results.clone(),
            nodes: vec![id],
        });
        return Ok(());
    }
    let present: Vec<_> = node
        .operands
        .iter()
        .copied()
        .filter(Option::is_some)
        .collect();
    let mut push = |work, operands: &[Option<ValueId>], results: &[ValueId]| {
        let (operands, results) = (operands.to_vec(), results.to_vec());
        items.push(Item {
            work,
            operands,
            results,
            nodes: vec![id],
        });
    };
    match node.op.lowering {
        Lowering::Compute(lower) => {
            let computes = lower(&ctx).map_err(fail)?;
            assert_eq!(
                computes.len(),
                node.results.len(),
                "{}: one each",
                node.op.name
            );
            for (compute, result) in computes.into_iter().zip(&node.results) {
                push(Work::Compute(Box::new(compute)), &present, &[*result]);
            }
        }
        Lowering::Contract(lower) => {
            let contract = lower(&ctx).map_err(fail)?;
            push(Work::Contract(Box::new(contract)), &present, &node.results);
        }
        Lowering::Kernel(lower) => {
            let kernel = lower(&ctx).map_err(fail)?;
            push(Work::Kernel(Box::new(kernel)), &present, &node.results);
        }
        Lowering::View => push(Work::View, &present[..1], &node.results),
        Lowering::Host(lower) => {
            let function = lower(&ctx).map_err(fail)?;
            push(Work::Host(function), &node.operands, &node.results);
        }
        Lowering::Control => push(Work::Control, &node.operands, &node.results),
        Lowering::Compose(_) => panic!("{} was to be expanded before", node.op.name),
    }
    Ok(())
}
