//! Chains of affine operators between two quantizations, as one product and sum for each channel: a
//! normalization that was not folded into the convolution before it.
//!
//! Nothing is approximated. What becomes of each of the 256 steps of each channel is looked at, and
//! factors are found that give the same steps, whether a target rounds the product by itself or
//! not. Where there are none, the chain stays real.

use std::collections::BTreeMap;

use alula_ir::{Attrs, Graph, GraphError, Node, NodeId, ValueId};
use alula_ops::quantization::RESCALE;
use alula_tensor::{DType, Granularity, Quant, Scalar, Tensor};

use super::Steps;
use super::bytes::clipped;
use super::outcome::{Link, Slot, all_steps, outcome};

/// Nodes of a chain at most.
const LINKS_MAX: usize = 8;
/// Channels at most: 256 steps of each are looked at.
const CHANNELS_MAX: usize = 1 << 13;

/// Nodes that make steps of steps.
pub(super) struct Chain {
    /// The dequantized value that it begins with.
    pub(super) from: ValueId,
    /// In order.
    pub(super) nodes: Vec<NodeId>,
    links: Vec<Link>,
    /// The axis of channels, and how many there are; one of none.
    axis: usize,
    channels: usize,
}

/// Factors and bounds that give the steps of a chain.
pub(super) struct Rescale {
    axis: usize,
    scale: Vec<f32>,
    offset: Vec<f32>,
    bounds: [i64; 2],
}

impl Chain {
    /// The chain that ends with a node, if nothing else reads what is between.
    pub(super) fn find(
        graph: &Graph,
        id: NodeId,
        steps: &BTreeMap<ValueId, Steps>,
    ) -> Option<Chain> {
        let (mut nodes, mut links) = (Vec::new(), Vec::new());
        let (mut at, mut axis, mut channels) = (id, 0, 1);
        loop {
            let node = graph.node(at);
            let position = affine(graph, node)?;
            let value = node.operands[position]?;
            let ty = graph.ty(value).as_tensor()?;
            let is_alike = graph.ty(node.results[0]).as_tensor()?.shape == ty.shape;
            if ty.dtype != DType::F32 || !is_alike || nodes.len() == LINKS_MAX {
                return None;
            }
            let mut link = Link::new(graph, node, position)?;
            for constant in link.constants() {
                let skipped = ty.rank().checked_sub(constant.rank())?;
                if constant.dtype() != DType::F32 {
                    return None;
                }
                if constant.len() == 1 {
                    *constant = constant.reshape(&[]).ok()?;
                    continue;
                }
                let along = constant.shape().iter().position(|&n| n == constant.len())?;
                let own = (along + skipped, constant.len());
                if channels > 1 && own != (axis, channels) || own.1 > CHANNELS_MAX {
                    return None;
                }
                (axis, channels) = own;
                *constant = constant.reshape(&[channels]).ok()?;
            }
            nodes.push(at);
            links.push(link);
            if steps.contains_key(&value) {
                nodes.reverse();
                links.reverse();
                return Some(Chain {
                    from: value,
                    nodes,
                    links,
                    axis,
                    channels,
                });
            }
            let is_output = graph.outputs().iter().any(|(_, output)| *output == value);
            if is_output || ty.quant.is_some() || graph.uses(value).len() != 1 {
                return None;
            }
            at = graph.producer(value)?;
        }
    }

    /// Factors that give the same steps. `None` if there are none, or values are no bytes with one
    /// scale.
    pub(super) fn rescale(&self, from: &Quant, to: &Quant) -> Option<Rescale> {
        let is_whole = |quant: &Quant| quant.granularity == Granularity::Tensor;
        if !is_whole(from) || !is_whole(to) {
            return None;
        }
        let is_byte = |quant: &Quant| matches!(quant.storage, DType::I8 | DType::U8);
        if !is_byte(from) || !is_byte(to) {
            return None;
        }
        let all = all_steps(from.storage)?;
        let repeated: Vec<Scalar> = all
            .iter()
            .flat_map(|&step| std::iter::repeat_n(step, self.channels))
            .collect();
        let shape = [all.len(), self.channels];
        let steps = Tensor::from_scalars(from.storage, &shape, &repeated).ok()?;
        let results = outcome(&self.links, from, to, steps)?.to_i64s()?;
        let bounds = [*results.iter().min()?, *results.iter().max()?];
        let steps: Vec<f64> = all.iter().map(|step| step.to_f64()).collect();
        let fitted = (0..self.channels).map(|channel| {
            let results = results.iter().skip(channel).step_by(self.channels);
            let results: Vec<i64> = results.copied().collect();
            fit(&steps, &results, bounds, self.line(channel, from, to)?)
        });
        let (scale, offset) = fitted.collect::<Option<Vec<_>>>()?.into_iter().unzip();
        Some(Rescale {
            axis: self.axis,
            scale,
            offset,
            bounds,
        })
    }

    /// Slope and offset of a channel but for roundings and bounds.
    fn line(&self, channel: usize, from: &Quant, to: &Quant) -> Option<[f64; 2]> {
        let zero = |quant: &Quant| {
            quant
                .zero_point
                .first()
                .map_or(0.0, |&zero| f64::from(zero))
        };
        let scale = |quant: &Quant| f64::from(quant.scale[0]);
        let mut line = [scale(from), -zero(from) * scale(from)];
        for link in &self.links {
            let constant = link.operands.iter().find_map(|slot| match slot {
                Slot::Constant(tensor) => tensor.get(if tensor.len() > 1 { channel } else { 0 }),
                Slot::Value | Slot::Nothing => None,
            });
            let constant = constant.map(Scalar::to_f64);
            let is_first = matches!(link.operands.first(), Some(Slot::Value));
            line = match link.op.name {
                "mul" => line.map(|x| x * constant.unwrap_or(1.0)),
                "div" => line.map(|x| x / constant.unwrap_or(1.0)),
                "add" => [line[0], line[1] + constant?],
                "sub" if is_first => [line[0], line[1] - constant?],
                "sub" => [-line[0], constant? - line[1]],
                _ => line,
            };
        }
        Some([line[0] / scale(to), line[1] / scale(to) + zero(to)])
    }
}

/// The operand of a node that its result is an affine function of, or a bounded one, all others
/// being constants.
fn affine(graph: &Graph, node: &Node) -> Option<usize> {
    let is_constant = |position: usize| {
        let operand = node.operands.get(position).copied().flatten();
        operand.is_some_and(|value| graph.as_constant(value).is_some())
    };
    match node.op.name {
        "relu" | "clip" => Some(0),
        "div" if is_constant(1) => Some(0),
        "mul" | "add" | "sub" => match [is_constant(0), is_constant(1)] {
            [false, true] => Some(0),
            [true, false] => Some(1),
            _ => None,
        },
        _ => None,
    }
}

/// A factor and an offset that give these results, near a line. Outside of the bounds, any value
/// does that is not inside.
fn fit(
    steps: &[f64],
    results: &[i64],
    [lo, hi]: [i64; 2],
    [slope, offset]: [f64; 2],
) -> Option<(f32, f32)> {
    let scale = slope as f32;
    let (mut least, mut greatest) = (f64::NEG_INFINITY, f64::INFINITY);
    for (step, &result) in steps.iter().zip(results) {
        let rest = result as f64 - f64::from(scale) * step;
        if result > lo {
            least = least.max(rest - 0.5);
        }
        if result < hi {
            greatest = greatest.min(rest + 0.5);
        }
    }
    // In the middle, unless the line itself has room to both sides.
    let middle = match (least.is_finite(), greatest.is_finite()) {
        (true, true) => f64::midpoint(least, greatest),
        _ => offset,
    };
    [offset, middle]
        .map(|offset| offset as f32)
        .into_iter()
        .find(|&offset| {
            steps.iter().zip(results).all(|(&step, &result)| {
                let step = step as f32;
                let made = [step.mul_add(scale, offset), step * scale + offset];
                let of = |value: f32| (value.round_ties_even() as i64).clamp(lo, hi);
                made.map(of) == [result; 2]
            })
        })
        .map(|offset| (scale, offset))
}

impl Rescale {
    /// Adds the node on steps.
    pub(super) fn push(
        self,
        graph: &mut Graph,
        stored: ValueId,
        to: DType,
        name: &str,
    ) -> Result<ValueId, GraphError> {
        let constant = |graph: &mut Graph, values: Vec<f32>| {
            let shape: &[usize] = match values.len() {
                1 => &[],
                n => &[n],
            };
            graph.constant(Tensor::from_slice(shape, &values).expect("one for each channel"))
        };
        let (scale, offset) = (constant(graph, self.scale), constant(graph, self.offset));
        let attrs = Attrs::new()
            .with("dtype", to)
            .with("axis", self.axis as i64);
        let made = graph.apply(&RESCALE, &[stored, scale, offset], attrs, name)?;
        clipped(graph, made, to, self.bounds, name)
    }
}
