//! Products and convolutions of quantized values as they are stored.
//!
//! ```text
//! real = scale * sums,  scale = scale(a) * scale(b),  sums = sum of (a - zero(a)) * (b - zero(b))
//! steps = saturate(round(sums * (scale / scale(result))) + zero(result))
//! ```
//!
//! Sums are exact in `i32`, so that the only roundings are those of the factor, of the product with
//! it and to a step. By definition there are more: steps may differ where a sum lies between two
//! steps to within these roundings. A bias is added to the sums where it is in steps of `scale`.

use std::collections::BTreeMap;
use std::sync::Arc;

use alula_ir::{Attrs, Graph, GraphError, HostValue, Node, ValueId};
use alula_ops::contraction::{CONV_INTEGER, MATMUL_INTEGER};
use alula_ops::elementwise::arithmetic::ADD;
use alula_ops::quantization::{DEQUANTIZE_LINEAR, REQUANTIZE};
use alula_ops::shape::{RESHAPE, TRANSPOSE};
use alula_tensor::{DType, Dim, Granularity, Quant, Scalar, Tensor, TensorType};

use super::{Native, Steps};

/// What is taken for the same number: less than half a unit in the last place of a sum.
const NEAR: f64 = 1.0 / (1 << 21) as f64;

/// Both sides of a contraction that there are integer kernels for, if both are quantized.
pub(super) fn operands(
    node: &Node,
    steps: &BTreeMap<ValueId, Steps>,
    native: Native,
) -> Result<[Steps; 2], String> {
    match node.op.name {
        "conv" => {}
        "matmul" if native == Native::All => {}
        "matmul" => return Err("integer products of matrices are not asked for".to_owned()),
        other => return Err(format!("no integer kernel for {other}")),
    }
    let side = |position: usize| {
        let operand = node.operands.get(position).copied().flatten();
        operand.and_then(|value| steps.get(&value)).cloned()
    };
    match [side(0), side(1)] {
        [Some(a), Some(b)] => Ok([a, b]),
        [None, _] => Err(format!(
            "the left side of {} is not quantized",
            node.op.name
        )),
        [_, None] => Err(format!(
            "the right side of {} is not quantized",
            node.op.name
        )),
    }
}

/// A contraction whose sums fit.
pub(super) struct Product {
    sides: [Side; 2],
    /// Of a sum, one or one for each channel.
    scale: Vec<f32>,
    /// The axis of the result that channels are on.
    axis: usize,
    /// Greatest magnitude of a sum.
    most: i64,
    bias: Option<Bias>,
}

struct Side {
    stored: ValueId,
    /// No zero points, one, or one for each channel.
    zeros: Vec<i32>,
    storage: DType,
}

enum Bias {
    /// In steps of a sum.
    Steps(Vec<i32>),
    Real(ValueId),
}

/// Sums with what makes real numbers of them.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    value: ValueId,
    scale: Vec<f32>,
    axis: usize,
    most: i64,
    /// What is added to real numbers, along the axis.
    bias: Option<ValueId>,
}

impl Product {
    /// Plans a contraction.
    ///
    /// # Errors
    /// Why its operands must be dequantized.
    pub(super) fn new(graph: &Graph, node: &Node, a: &Steps, b: &Steps) -> Result<Product, String> {
        let ty = |value: ValueId| graph.ty(value).as_tensor().ok_or("no tensor");
        let (left, right) = (ty(a.stored)?, ty(b.stored)?);
        let rank = ty(node.results[0])?.rank();
        let is_conv = node.op.name == "conv";
        let turned = |name: &str| !is_conv && node.attrs.bool(name);
        // The axis of the right side that channels are on, and the extents that are summed over.
        let (channels, axis, summed) = match is_conv {
            true => (0, 1, right.shape[1..].iter().cloned().product::<Dim>()),
            false => {
                let last = usize::from(!turned("transpose_b"));
                let k = left.rank() - 1 - usize::from(turned("transpose_a"));
                (right.rank() - 2 + last, rank - 1, left.shape[k].clone())
            }
        };
        if a.quant.granularity != Granularity::Tensor {
            return Err("the left side has more than one scale".to_owned());
        }
        match b.quant.granularity {
            Granularity::Tensor => {}
            Granularity::Axis(axis) if axis == channels => {}
            Granularity::Axis(axis) => {
                return Err(format!("scales of the right side are along axis {axis}"));
            }
            Granularity::Block { size, .. } => {
                return Err(format!(
                    "the right side has a scale for each {size} elements"
                ));
            }
        }
        let is_grouped = is_conv && node.attrs.int("group") > 1;
        let sides = [Side::new(a, left)?, Side::new(b, right)?];
        if is_grouped && sides[1].zeros.len() > 1 {
            return Err("filters of groups have zero points of their own".to_owned());
        }
        let sums = summed
            .as_const()
            .ok_or(format!("sums over {summed} may not fit i32"))?;
        let reach = sides[0].reach().saturating_mul(sides[1].reach());
        let most = reach.saturating_mul(sums.max(0));
        let scale: Vec<f32> = b.quant.scale.iter().map(|s| a.quant.scale[0] * s).collect();
        if !scale.iter().all(|scale| scale.is_normal()) {
            return Err("a product of scales is out of range".to_owned());
        }
        let mut product = Product {
            sides,
            scale,
            axis,
            most,
            bias: None,
        };
        if let Some(bias) = node.operands.get(2).copied().flatten() {
            let steps = constant(graph, bias).and_then(|real| product.steps(&real.to_f64s()));
            product.bias = Some(steps.map_or(Bias::Real(bias), Bias::Steps));
        }
        if i32::try_from(product.most).is_err() {
            return Err(format!("sums over {summed} may not fit i32"));
        }
        Ok(product)
    }

    /// A bias in steps of the sums, which may then be larger.
    fn steps(&mut self, bias: &[f64]) -> Option<Vec<i32>> {
        let (steps, most) = steps(bias, &self.scale, self.most)?;
        self.most = most;
        Some(steps)
    }

    /// Adds the integer contraction.
    pub(super) fn sums(&self, graph: &mut Graph, node: &Node) -> Result<Sums, GraphError> {
        let name = node.name.as_str();
        let [a, b] = &self.sides;
        let (a_zero, b_zero) = (a.zero_point(graph), b.zero_point(graph));
        let (op, attrs, sides) = match node.op.name {
            "conv" => (&CONV_INTEGER, node.attrs.clone(), [a.stored, b.stored]),
            _ => {
                let mut sides = [a.stored, b.stored];
                for (side, turned) in sides.iter_mut().zip(["transpose_a", "transpose_b"]) {
                    if node.attrs.bool(turned) {
                        *side = turn(graph, *side, name)?;
                    }
                }
                (&MATMUL_INTEGER, Attrs::new(), sides)
            }
        };
        let operands = [Some(sides[0]), Some(sides[1]), a_zero, b_zero];
        let mut value = graph.push(op, &operands, attrs, name)?[0];
        let rank = rank(graph, value);
        let mut bias = None;
        match &self.bias {
            None => {}
            Some(Bias::Steps(steps)) => {
                let steps = along(
                    rank,
                    self.axis,
                    DType::I32,
                    steps.iter().map(|&v| f64::from(v)),
                );
                let steps = graph.constant(steps);
                value = graph.apply(&ADD, &[value, steps], Attrs::new(), name)?;
            }
            Some(Bias::Real(real)) => {
                let mut to = vec![Dim::new(1); rank - self.axis];
                to[0] = graph
                    .ty(*real)
                    .as_tensor()
                    .map_or(Dim::new(1), |ty| ty.num_elements());
                bias = Some(graph.apply(&RESHAPE, &[*real], Attrs::new().with("to", to), name)?);
            }
        }
        Ok(Sums {
            value,
            scale: self.scale.clone(),
            axis: self.axis,
            most: self.most,
            bias,
        })
    }
}

impl Side {
    fn new(steps: &Steps, ty: &TensorType) -> Result<Side, String> {
        let storage = steps.quant.storage;
        if !matches!(storage, DType::I8 | DType::U8) || ty.dtype != storage {
            return Err(format!("no integer kernel for {storage}"));
        }
        let mut zeros = steps.quant.zero_point.clone();
        if zeros.iter().all(|zero| *zero == zeros[0]) {
            zeros.truncate(1);
        }
        Ok(Side {
            stored: steps.stored,
            zeros,
            storage,
        })
    }

    /// Greatest distance of an element to its zero point.
    fn reach(&self) -> i64 {
        let (least, greatest) = self.storage.int_range().unwrap_or((0, 0));
        let from = |zero: i64| (greatest as i64 - zero).max(zero - least as i64);
        let zeros = self.zeros.iter().map(|zero| from(i64::from(*zero)));
        zeros.max().unwrap_or(from(0))
    }

    fn zero_point(&self, graph: &mut Graph) -> Option<ValueId> {
        let zeros: Vec<Scalar> = self
            .zeros
            .iter()
            .map(|z| Scalar::Int(i128::from(*z)))
            .collect();
        let shape: &[usize] = match zeros.len() {
            0 => return None,
            1 => &[],
            _ => &[zeros.len()],
        };
        let tensor = Tensor::from_scalars(self.storage, shape, &zeros);
        Some(graph.constant(tensor.expect("the values fill the shape")))
    }
}

impl Sums {
    /// Adds the steps of a result of bytes with one scale. `None` for other results.
    pub(super) fn requantized(
        &self,
        graph: &mut Graph,
        quant: &Arc<Quant>,
        name: &str,
    ) -> Result<Option<ValueId>, GraphError> {
        let is_byte = matches!(quant.storage, DType::I8 | DType::U8);
        if !is_byte || quant.granularity != Granularity::Tensor || self.bias.is_some() {
            return Ok(None);
        }
        let factors: Vec<f32> = self.scale.iter().map(|s| s / quant.scale[0]).collect();
        if !factors.iter().all(|factor| factor.is_normal()) {
            return Ok(None);
        }
        let factors = flat(DType::F32, factors.into_iter().map(f64::from));
        let factors = graph.constant(factors);
        let zero = quant.zero_point.first().map(|zero| {
            let zeros = self.scale.iter().map(|_| f64::from(*zero));
            graph.constant(flat(quant.storage, zeros))
        });
        let attrs = Attrs::new()
            .with("dtype", quant.storage)
            .with("axis", self.axis as i64);
        let operands = [Some(self.value), Some(factors), zero];
        Ok(Some(graph.push(&REQUANTIZE, &operands, attrs, name)?[0]))
    }

    /// Adds the real numbers.
    pub(super) fn real(&self, graph: &mut Graph, name: &str) -> Result<ValueId, GraphError> {
        let scale = flat(DType::F32, self.scale.iter().map(|scale| f64::from(*scale)));
        let scale = graph.constant(scale);
        let attrs = Attrs::new().with("axis", self.axis as i64);
        let mut real = graph.apply(&DEQUANTIZE_LINEAR, &[self.value, scale], attrs, name)?;
        if let Some(bias) = self.bias {
            real = graph.apply(&ADD, &[real, bias], Attrs::new(), name)?;
        }
        Ok(real)
    }
}

/// The sums of an addition of a constant along the channels to real numbers of sums.
pub(super) fn with_bias(
    graph: &mut Graph,
    node: &Node,
    known: &BTreeMap<ValueId, Sums>,
) -> Result<Option<Sums>, GraphError> {
    if node.op.name != ADD.name {
        return Ok(None);
    }
    let found = [(0, 1), (1, 0)].into_iter().find_map(|(of, other)| {
        let (value, bias) = (node.operands[of]?, node.operands[other]?);
        Some((value, known.get(&value)?, constant(graph, bias)?))
    });
    let Some((value, sums, bias)) = found else {
        return Ok(None);
    };
    let (Some(ty), Some(result)) = (
        graph.ty(value).as_tensor(),
        graph.ty(node.results[0]).as_tensor(),
    ) else {
        return Ok(None);
    };
    // Channels are on the last axis of a product of matrices.
    let rank = ty.rank();
    let (last, front) = match bias.shape().split_last() {
        Some((last, front)) if sums.axis + 1 == rank && bias.rank() <= rank => (*last, front),
        _ => return Ok(None),
    };
    let is_along = front.iter().all(|extent| *extent == 1)
        && ty.shape[rank - 1] == Dim::from(last)
        && ty.shape == result.shape
        && sums.bias.is_none()
        && graph.num_uses(value) == 1;
    if !is_along {
        return Ok(None);
    }
    let Some((steps, most)) = steps(&bias.to_f64s(), &sums.scale, sums.most) else {
        return Ok(None);
    };
    let sums = Sums {
        most,
        ..sums.clone()
    };
    let steps = flat(DType::I32, steps.into_iter().map(f64::from));
    let steps = graph.constant(steps);
    let value = graph.apply(&ADD, &[sums.value, steps], Attrs::new(), &node.name)?;
    Ok(Some(Sums { value, ..sums }))
}

/// Real numbers in steps of sums, with the greatest magnitude of a sum with them, if they are whole
/// steps and the sums still fit.
fn steps(bias: &[f64], scale: &[f32], most: i64) -> Option<(Vec<i32>, i64)> {
    let step = |(channel, real): (usize, &f64)| {
        let scale = f64::from(*scale.get(channel).or(scale.first())?);
        let steps = (real / scale).round_ties_even();
        let is_near = (steps * scale - real).abs() <= real.abs() * NEAR;
        (is_near && steps.abs() < f64::from(1 << 30)).then_some(steps as i32)
    };
    if scale.len() > 1 && scale.len() != bias.len() {
        return None;
    }
    let steps: Vec<i32> = bias.iter().enumerate().map(step).collect::<Option<_>>()?;
    let largest = steps
        .iter()
        .map(|step| i64::from(step.unsigned_abs()))
        .max();
    let most = most.saturating_add(largest.unwrap_or(0));
    i32::try_from(most).is_ok().then_some((steps, most))
}

/// The elements of a value that is a constant or was dequantized from constants.
fn constant(graph: &Graph, value: ValueId) -> Option<Tensor> {
    if let Some(tensor) = graph.as_constant(value) {
        return Some(tensor.clone());
    }
    let id = graph.producer(value)?;
    let node = graph.node(id);
    if node.op.name != DEQUANTIZE_LINEAR.name {
        return None;
    }
    let operands: Vec<Option<HostValue>> = node
        .operands
        .iter()
        .map(|operand| Some(graph.as_constant((*operand)?)?.clone().into()))
        .collect();
    let are_there = operands.iter().zip(&node.operands);
    if are_there
        .into_iter()
        .any(|(known, operand)| known.is_none() && operand.is_some())
    {
        return None;
    }
    let operands: Vec<Option<&HostValue>> = operands.iter().map(Option::as_ref).collect();
    let made = alula_ops::evaluate_node(graph, id, &operands, &BTreeMap::new());
    made.ok()?.first()?.as_tensor().cloned()
}

fn rank(graph: &Graph, value: ValueId) -> usize {
    graph.ty(value).as_tensor().map_or(0, TensorType::rank)
}

/// The last two axes exchanged.
fn turn(graph: &mut Graph, value: ValueId, name: &str) -> Result<ValueId, GraphError> {
    let mut order: Vec<i64> = (0..rank(graph, value) as i64).collect();
    let last = order.len() - 1;
    order.swap(last - 1, last);
    graph.apply(&TRANSPOSE, &[value], Attrs::new().with("perm", order), name)
}

/// A list, or a scalar of one.
fn flat(dtype: DType, values: impl Iterator<Item = f64>) -> Tensor {
    let values: Vec<Scalar> = values.map(Scalar::Float).collect();
    let shape: &[usize] = match values.len() {
        1 => &[],
        _ => &[values.len()],
    };
    Tensor::from_scalars(dtype, shape, &values).expect("the values fill the shape")
}

/// A list along one axis.
fn along(rank: usize, axis: usize, dtype: DType, values: impl Iterator<Item = f64>) -> Tensor {
    let values: Vec<Scalar> = values.map(Scalar::Float).collect();
    let mut shape = vec![1; rank - axis];
    shape[0] = values.len();
    Tensor::from_scalars(dtype, &shape, &values).expect("the values fill the shape")
}
