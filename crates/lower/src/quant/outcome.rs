//! What becomes of steps: dequantized, operated on and quantized, as the definition says.
//!
//! There are 256 steps of a byte, so that what nodes make of each is simply looked at.

use std::collections::BTreeMap;

use alula_ir::{Attrs, Graph, HostValue, Node, OpDef, ValueId};
use alula_ops::quantization::{DEQUANTIZE_LINEAR, QUANTIZE_LINEAR, QuantParams};
use alula_tensor::{DType, Quant, Scalar, Tensor, TensorType};

/// A node that makes one value of another and of constants.
pub(super) struct Link {
    pub(super) op: &'static OpDef,
    attrs: Attrs,
    pub(super) operands: Vec<Slot>,
}

/// An operand of a link.
pub(super) enum Slot {
    /// What the link before makes.
    Value,
    Nothing,
    Constant(Tensor),
}

impl Link {
    /// A node, all of whose operands but the one at `position` are constants.
    pub(super) fn new(graph: &Graph, node: &Node, position: usize) -> Option<Link> {
        let operands = node.operands.iter().enumerate().map(|(at, operand)| {
            Some(match operand {
                Some(_) if at == position => Slot::Value,
                Some(value) => Slot::Constant(graph.as_constant(*value)?.clone()),
                None => Slot::Nothing,
            })
        });
        Some(Link {
            op: node.op,
            attrs: node.attrs.clone(),
            operands: operands.collect::<Option<_>>()?,
        })
    }

    /// The constants among the operands.
    pub(super) fn constants(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.operands.iter_mut().filter_map(|slot| match slot {
            Slot::Constant(tensor) => Some(tensor),
            Slot::Value | Slot::Nothing => None,
        })
    }
}

/// Every step of a byte in order.
pub(super) fn all_steps(storage: DType) -> Option<Vec<Scalar>> {
    let (least, greatest) = storage.int_range()?;
    (greatest - least < 256).then(|| (least..=greatest).map(Scalar::Int).collect())
}

/// What links make of steps.
pub(super) fn outcome(links: &[Link], from: &Quant, to: &Quant, steps: Tensor) -> Option<Tensor> {
    let real = TensorType::new(DType::F32, steps.ty().shape.clone());
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
    let made = own.push(&DEQUANTIZE_LINEAR, &operands, params.attrs, "");
    let mut value = made.ok()?[0];
    for link in links {
        let operands: Vec<Option<ValueId>> = link
            .operands
            .iter()
            .map(|slot| match slot {
                Slot::Value => Some(value),
                Slot::Nothing => None,
                Slot::Constant(tensor) => Some(add(&mut own, tensor.clone())),
            })
            .collect();
        let made = own.push(link.op, &operands, link.attrs.clone(), "");
        value = made.ok()?[0];
    }
    let (params, scale, zero) = parameters(&mut own, to, &mut add)?;
    let attrs = params.quantize_attrs(to.storage);
    own.push(
        &QUANTIZE_LINEAR,
        &[Some(value), Some(scale), zero],
        attrs,
        "",
    )
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
