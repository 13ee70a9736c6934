//! Operators from steps to steps that only bound them: `relu` and `clip` between two quantizations;
//! and those that choose among them: `max_pool`.
//!
//! Where the outcome of each step is `min(max(step, lo), hi)`, bytes are bounded instead.

use alula_ir::{Attrs, Graph, GraphError, Node, ValueId};
use alula_ops::elementwise::choice::CLIP;
use alula_tensor::{DType, Granularity, Quant, Scalar, Tensor};

use super::Steps;
use super::outcome::{Link, all_steps, outcome};

const POOL: &str = "max_pool";

/// Bounds of steps that a node of one operand of steps comes to. `None` if it does anything else.
pub(super) fn bounds(graph: &Graph, node: &Node, steps: &Steps, quant: &Quant) -> Option<[i64; 2]> {
    let is_byte = matches!(quant.storage, DType::I8 | DType::U8);
    let is_whole = |quant: &Quant| quant.granularity == Granularity::Tensor;
    let is_known = matches!(node.op.name, "relu" | "clip" | POOL);
    if !is_known || !is_byte || steps.quant.storage != quant.storage {
        return None;
    }
    if !is_whole(quant) || !is_whole(&steps.quant) {
        return None;
    }
    let all = all_steps(quant.storage)?;
    let all = Tensor::from_scalars(quant.storage, &[all.len()], &all).ok()?;
    // The greatest is chosen among reals as it is among steps.
    let links = match node.op.name {
        POOL => Vec::new(),
        _ => vec![Link::new(graph, node, 0)?],
    };
    let results = outcome(&links, &steps.quant, quant, all.clone())?;
    let (all, results) = (all.to_i64s()?, results.to_i64s()?);
    let [lo, hi] = [*results.first()?, *results.last()?];
    let is_bounded = all
        .iter()
        .zip(&results)
        .all(|(step, result)| lo <= hi && *result == *step.max(&lo).min(&hi));
    // The least step is the greatest of none, too.
    let is_rising = steps.quant.scale[0] > 0.0;
    let is_bounded = is_bounded && (node.op.name != POOL || is_rising && results == all);
    is_bounded.then_some([lo, hi])
}

/// Adds the node on steps.
pub(super) fn bounded(
    graph: &mut Graph,
    node: &Node,
    steps: &Steps,
    bounds: [i64; 2],
) -> Result<ValueId, GraphError> {
    let name = node.name.as_str();
    if node.op.name == POOL {
        return Ok(graph.push(node.op, &[Some(steps.stored)], node.attrs.clone(), name)?[0]);
    }
    clipped(graph, steps.stored, steps.quant.storage, bounds, name)
}

/// Steps within bounds, as far as these bind.
pub(super) fn clipped(
    graph: &mut Graph,
    steps: ValueId,
    dtype: DType,
    [lo, hi]: [i64; 2],
    name: &str,
) -> Result<ValueId, GraphError> {
    let (least, greatest) = dtype.int_range().unwrap_or((i128::MIN, i128::MAX));
    let mut bound = |value: i64, of: i128| {
        let value = Scalar::Int(i128::from(value));
        let tensor = Tensor::from_scalars(dtype, &[], &[value]).expect("one value");
        (value != Scalar::Int(of)).then(|| graph.constant(tensor))
    };
    let (lo, hi) = (bound(lo, least), bound(hi, greatest));
    if lo.is_none() && hi.is_none() {
        return Ok(steps);
    }
    Ok(graph.push(&CLIP, &[Some(steps), lo, hi], Attrs::new(), name)?[0])
}
