//! Operators from steps to steps that only bound them: `relu` and `clip` between two quantizations;
//! and those that choose among them: `max_pool`.
//!
//! There are 256 steps, so that what becomes of each is simply looked at: dequantized, operated on
//! and quantized, as the definition says. Where the outcome is `min(max(step, lo), hi)`, bytes are
//! bounded instead.

use std::collections::BTreeMap;

use alula_ir::{Attrs, Graph, GraphError, HostValue, Node, ValueId};
use alula_ops::elementwise::choice::CLIP;
use alula_ops::quantization::{DEQUANTIZE_LINEAR, QUANTIZE_LINEAR, QuantParams};
use alula_tensor::{DType, Granularity, Quant, Scalar, Tensor, TensorType};

use super::Steps;

const POOL: &str = "max_pool";

/// Bounds of steps that a node of one operand of steps comes to. `None` if it does anything else.
pub(super) fn bounds(
    graph: &Graph,
    node: &Node,
    steps: &Steps,
    quant: &Quant,
) -> Option<[Tensor; 2]> {
    let is_byte = matches!(quant.storage, DType::I8 | DType::U8);
    let is_whole = |quant: &Quant| quant.granularity == Granularity::Tensor;
    let is_known = matches!(node.op.name, "relu" | "clip" | POOL);
    if !is_known || !is_byte || steps.quant.storage != quant.storage {
        return None;
    }
    if !is_whole(quant) || !is_whole(&steps.quant) {
        return None;
    }
    let constants: Vec<Option<Tensor>> = node.operands[1..]
        .iter()
        .map(|operand| match operand {
            Some(value) => graph.as_constant(*value).cloned().map(Some),
            None => Some(None),
        })
        .collect::<Option<_>>()?;
    let (least, greatest) = quant.storage.int_range()?;
    let all: Vec<Scalar> = (least..=greatest).map(Scalar::Int).collect();
    let all = Tensor::from_scalars(quant.storage, &[all.len()], &all).ok()?;
    let results = outcome(graph, node, &steps.quant, quant, all.clone(), &constants)?;
    let (all, results) = (all.to_i64s()?, results.to_i64s()?);
    let [lo, hi] = [*results.first()?, *results.last()?];
    let is_bounded = all
        .iter()
        .zip(&results)
        .all(|(step, result)| lo <= hi && *result == *step.max(&lo).min(&hi));
    // The least step is the greatest of none, too.
    let is_rising = steps.quant.scale[0] > 0.0;
    let is_bounded = is_bounded && (node.op.name != POOL || is_rising && results == all);
    let bound = |value: i64| {
        let value = Scalar::Int(i128::from(value));
        Tensor::from_scalars(quant.storage, &[], &[value]).ok()
    };
    match is_bounded {
        true => Some([bound(lo)?, bound(hi)?]),
        false => None,
    }
}

/// What becomes of a list of steps.
fn outcome(
    graph: &Graph,
    node: &Node,
    from: &Quant,
    to: &Quant,
    steps: Tensor,
    constants: &[Option<Tensor>],
) -> Option<Tensor> {
    let dtype = graph.ty(node.results[0]).as_tensor()?.dtype;
    let real = TensorType::new(dtype, steps.ty().shape.clone());
    let mut own = Graph::new("steps");
    let mut values = BTreeMap::new();
    let mut add = |own: &mut Graph, tensor: Tensor| {
        let id = own.constant(tensor.clone());
        values.insert(id, HostValue::from(tensor));
        id
    };
    let parameters =
        |own: &mut Graph, quant: &Quant, add: &mut dyn FnMut(&mut Graph, Tensor) -> ValueId| {
            let params = QuantParams::new(quant, &real)?;
            let scale = add(own, params.scale.clone());
            let zero = params.zero_point.clone().map(|zero| add(own, zero));
            Some((params, scale, zero))
        };
    let stored = add(&mut own, steps);
    let (params, scale, zero) = parameters(&mut own, from, &mut add)?;
    let operands = [Some(stored), Some(scale), zero];
    let x = own
        .push(&DEQUANTIZE_LINEAR, &operands, params.attrs, "")
        .ok()?[0];
    let mut operands = vec![Some(x)];
    for constant in constants {
        operands.push(constant.clone().map(|tensor| add(&mut own, tensor)));
    }
    // The greatest is chosen among reals as it is among steps.
    let y = match node.op.name {
        POOL => x,
        _ => own.push(node.op, &operands, node.attrs.clone(), "").ok()?[0],
    };
    let (params, scale, zero) = parameters(&mut own, to, &mut add)?;
    let attrs = params.quantize_attrs(to.storage);
    own.push(&QUANTIZE_LINEAR, &[Some(y), Some(scale), zero], attrs, "")
        .ok()?;
    let mut last = None;
    for id in own.nodes() {
        let operands: Vec<Option<&HostValue>> = own
            .node(id)
            .operands
            .iter()
            .map(|operand| operand.and_then(|value| values.get(&value)))
            .collect();
        let made = alula_ops::evaluate_node(&own, id, &operands, &BTreeMap::new()).ok()?;
        let value = made.into_iter().next()?;
        values.insert(own.node(id).results[0], value.clone());
        last = Some(value);
    }
    last?.as_tensor().cloned()
}

/// Adds the node on steps.
pub(super) fn bounded(
    graph: &mut Graph,
    node: &Node,
    stored: ValueId,
    bounds: [Tensor; 2],
) -> Result<ValueId, GraphError> {
    let name = node.name.as_str();
    if node.op.name == POOL {
        return Ok(graph.push(node.op, &[Some(stored)], node.attrs.clone(), name)?[0]);
    }
    let [lo, hi] = bounds;
    let (least, greatest) = lo.dtype().int_range().unwrap_or((i128::MIN, i128::MAX));
    let binds = |bound: &Tensor, of: i128| bound.get(0) != Some(Scalar::Int(of));
    let lo = binds(&lo, least).then(|| graph.constant(lo));
    let hi = binds(&hi, greatest).then(|| graph.constant(hi));
    Ok(graph.push(&CLIP, &[Some(stored), lo, hi], Attrs::new(), name)?[0])
}
