//! What annotations on types become: operators that every back end has.
//!
//! Before anything else is lowered, each value of a quantized type is followed by the
//! `quantize_linear` and `dequantize_linear` that are its meaning, so that every back end honours
//! it with the same numbers. Where the operands of a product or convolution are quantized, and its
//! sums fit, it is taken as it is stored instead: bytes are summed in `i32`, and the sums become
//! steps of the result by one factor (see `native`). Afterwards no type is annotated.
//!
//! What became of each annotation is told ([`Fate`]).

mod bytes;
mod fate;
mod native;
mod outcome;
mod rescale;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use alula_ir::{Graph, Node, NodeId, ValueId};
use alula_ops::quantization::{DEQUANTIZE_LINEAR, QUANTIZE_LINEAR, QuantParams, annotation_of};
use alula_tensor::{Quant, TensorType};

pub use fate::{Fate, Part};

use crate::LowerFailure;
use native::{Product, Sums};
use rescale::Chain;

/// Which operators take quantized operands as they are stored.
///
/// Sums are exact then, and equal to those of ONNX Runtime's integer kernels; by definition they
/// are rounded. Both are right, and steps differ where they lie on either side of the middle
/// between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Native {
    /// Convolutions.
    Convolutions,
    /// Products of matrices, too.
    #[default]
    All,
}

/// Replaces annotations by operators; returns what became of each.
pub(crate) fn realize(graph: &mut Graph, native: Native) -> Result<Vec<Fate>, LowerFailure> {
    let mut realizer = Realizer {
        graph,
        native,
        steps: BTreeMap::new(),
        sums: BTreeMap::new(),
        fates: Vec::new(),
    };
    realizer.constants();
    for id in realizer.graph.inputs().to_vec() {
        realizer.input(id)?;
    }
    for id in realizer.graph.nodes() {
        realizer.node(id)?;
    }
    let Realizer { steps, fates, .. } = realizer;
    if !steps.is_empty() {
        graph.remove_dead();
    }
    Ok(fates)
}

/// The steps that a value was dequantized from.
#[derive(Clone, Debug)]
struct Steps {
    stored: ValueId,
    quant: Arc<Quant>,
    /// Position of its fate.
    fate: usize,
}

struct Realizer<'g> {
    graph: &'g mut Graph,
    native: Native,
    /// By the dequantized value.
    steps: BTreeMap<ValueId, Steps>,
    /// Sums that values are made of by nothing but a factor.
    sums: BTreeMap<ValueId, Sums>,
    fates: Vec<Fate>,
}

impl Realizer<'_> {
    /// The annotation of a value, which it has no more.
    fn take_quant(&mut self, id: ValueId) -> Option<(Arc<Quant>, TensorType)> {
        let ty = self.graph.ty(id).as_tensor()?;
        let quant = ty.quant.clone()?;
        let plain = ty.plain();
        self.graph.refine_type(id, plain.clone().into());
        Some((quant, plain))
    }

    /// Sparse constants are stored dense.
    fn constants(&mut self) {
        let sparse = self.graph.values().filter_map(|(id, value)| {
            let ty = value.ty.as_tensor()?;
            Some((id, ty.sparsity.clone()?, ty.plain()))
        });
        for (id, sparsity, plain) in sparse.collect::<Vec<_>>() {
            self.graph.refine_type(id, plain.into());
            let mut fate = Fate::new(self.graph, id, sparsity.to_string());
            for (user, _) in self.graph.uses(id) {
                let part = Part::new(self.graph, user);
                fate.read
                    .push(part.by_definition("run dense: no kernel for it"));
            }
            self.fates.push(fate);
        }
    }

    fn input(&mut self, id: ValueId) -> Result<(), LowerFailure> {
        let Some((quant, ty)) = self.take_quant(id) else {
            return Ok(());
        };
        let mut fate = Fate::new(self.graph, id, fate::short(&quant));
        fate.made = Some(Part::input(self.graph, id).by_definition("quantized as it comes in"));
        let name = self.graph.value(id).name.clone().unwrap_or_default();
        self.define(id, &name, (quant, &ty), fate)
    }

    fn node(&mut self, id: NodeId) -> Result<(), LowerFailure> {
        let node = self.graph.node(id).clone();
        if self.is_stored(id, &node)? {
            return Ok(());
        }
        let reason = match native::operands(&node, &self.steps, self.native) {
            Ok([a, b]) => match Product::new(self.graph, &node, &a, &b) {
                Ok(product) => {
                    let part = Part::new(self.graph, id).natively("summed in i32");
                    self.fates[a.fate].read.push(part.clone());
                    self.fates[b.fate].read.push(part);
                    let sums = product.sums(self.graph, &node)?;
                    return self.finish(id, &node, sums);
                }
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        if let Some(sums) = native::with_bias(self.graph, &node, &self.sums)? {
            return self.finish(id, &node, sums);
        }
        if self.bounded(id, &node)? || self.rescaled(id, &node)? {
            return Ok(());
        }
        for operand in node.operands.iter().flatten() {
            if let Some(steps) = self.steps.get(operand) {
                let part = Part::new(self.graph, id);
                let part = part.by_definition(&format!("dequantized: {reason}"));
                self.fates[steps.fate].read.push(part);
            }
        }
        for (position, result) in node.results.iter().enumerate() {
            let Some((quant, ty)) = self.take_quant(*result) else {
                continue;
            };
            let mut fate = Fate::new(self.graph, *result, fate::short(&quant));
            let part = Part::new(self.graph, id);
            let is_dequantized = position == 0 && node.op.name == DEQUANTIZE_LINEAR.name;
            if is_dequantized && annotation_of(self.graph, id).is_ok_and(|own| own == *quant) {
                fate.made = Some(part.natively("stored as it is"));
                self.keep(*result, node.operands[0].unwrap_or(*result), quant, fate);
                continue;
            }
            fate.made = Some(part.by_definition(&format!("quantized behind {}", node.op.name)));
            self.define(*result, &node.name, (quant, &ty), fate)?;
        }
        Ok(())
    }

    /// Remembers the steps of a value.
    fn keep(&mut self, value: ValueId, stored: ValueId, quant: Arc<Quant>, fate: Fate) {
        let steps = Steps {
            stored,
            quant,
            fate: self.fates.len(),
        };
        self.steps.insert(value, steps);
        self.fates.push(fate);
    }

    /// Whether a node quantizes what is stored as its steps; then these are its result.
    fn is_stored(&mut self, id: NodeId, node: &Node) -> Result<bool, LowerFailure> {
        if node.op.name != QUANTIZE_LINEAR.name {
            return Ok(false);
        }
        let steps = node.operands[0]
            .and_then(|value| self.steps.get(&value))
            .cloned();
        let Some(steps) = steps else {
            return Ok(false);
        };
        if annotation_of(self.graph, id).as_ref() != Ok(&*steps.quant) {
            return Ok(false);
        }
        let part = Part::new(self.graph, id).natively("taken as it is stored");
        self.fates[steps.fate].read.push(part);
        self.graph.replace(node.results[0], steps.stored)?;
        Ok(true)
    }

    /// Puts the meaning of an annotation behind a value.
    fn define(
        &mut self,
        value: ValueId,
        name: &str,
        (quant, ty): (Arc<Quant>, &TensorType),
        fate: Fate,
    ) -> Result<(), LowerFailure> {
        let params = QuantParams::new(&quant, ty).ok_or_else(|| LowerFailure::Annotation {
            value: fate.value.clone(),
            reason: format!("{} of {ty} has blocks of unknown extents", fate.annotation),
        })?;
        let scale = self.graph.constant(params.scale.clone());
        let zero = params
            .zero_point
            .clone()
            .map(|zero| self.graph.constant(zero));
        let attrs = params.quantize_attrs(quant.storage);
        let operands = [Some(value), Some(scale), zero];
        let stored = self.graph.push(&QUANTIZE_LINEAR, &operands, attrs, name)?[0];
        let operands = [Some(stored), Some(scale), zero];
        let made = self
            .graph
            .push(&DEQUANTIZE_LINEAR, &operands, params.attrs, name)?[0];
        if let Some(quantize) = self.graph.producer(stored) {
            self.graph.replace_behind(value, made, quantize)?;
        }
        self.keep(made, stored, quant, fate);
        Ok(())
    }

    /// Makes the result of a node of sums: steps where its type is of bytes, else real numbers.
    fn finish(&mut self, id: NodeId, node: &Node, sums: Sums) -> Result<(), LowerFailure> {
        let result = node.results[0];
        let Some((quant, ty)) = self.take_quant(result) else {
            let real = sums.real(self.graph, &node.name)?;
            self.graph.replace(result, real)?;
            self.sums.insert(real, sums);
            return Ok(());
        };
        let mut fate = Fate::new(self.graph, result, fate::short(&quant));
        let part = Part::new(self.graph, id);
        if let Some(stored) = sums.requantized(self.graph, &quant, &node.name)? {
            fate.made = Some(part.natively("requantized from sums in i32"));
            return self.restore(result, stored, (quant, &ty), fate, &node.name);
        }
        let real = sums.real(self.graph, &node.name)?;
        self.graph.replace(result, real)?;
        fate.made = Some(part.by_definition("quantized behind sums in i32"));
        self.define(real, &node.name, (quant, &ty), fate)
    }

    /// Takes an operator from steps to steps that only bounds them as that.
    fn bounded(&mut self, id: NodeId, node: &Node) -> Result<bool, LowerFailure> {
        let [result] = node.results[..] else {
            return Ok(false);
        };
        let operand = node.operands.first().copied().flatten();
        let steps = operand.and_then(|value| self.steps.get(&value)).cloned();
        let quant = self.graph.ty(result).as_tensor();
        let quant = quant.and_then(|ty| ty.quant.clone());
        let (Some(steps), Some(quant)) = (steps, quant) else {
            return Ok(false);
        };
        let Some(bounds) = bytes::bounds(self.graph, node, &steps, &quant) else {
            return Ok(false);
        };
        let Some((quant, ty)) = self.take_quant(result) else {
            return Ok(false);
        };
        let part = Part::new(self.graph, id).natively("done on what is stored");
        self.fates[steps.fate].read.push(part.clone());
        let mut fate = Fate::new(self.graph, result, fate::short(&quant));
        fate.made = Some(part);
        let stored = bytes::bounded(self.graph, node, &steps, bounds)?;
        self.restore(result, stored, (quant, &ty), fate, &node.name)?;
        Ok(true)
    }

    /// Takes operators from steps to steps as one product and sum.
    fn rescaled(&mut self, id: NodeId, node: &Node) -> Result<bool, LowerFailure> {
        let [result] = node.results[..] else {
            return Ok(false);
        };
        let quant = self.graph.ty(result).as_tensor();
        let Some(quant) = quant.and_then(|ty| ty.quant.clone()) else {
            return Ok(false);
        };
        let Some(chain) = Chain::find(self.graph, id, &self.steps) else {
            return Ok(false);
        };
        let steps = self.steps[&chain.from].clone();
        let Some(rescale) = chain.rescale(&steps.quant, &quant) else {
            return Ok(false);
        };
        let Some((quant, ty)) = self.take_quant(result) else {
            return Ok(false);
        };
        // What was said of its first node before the rest of the chain was known.
        let first = Part::new(self.graph, chain.nodes[0]);
        let read = &mut self.fates[steps.fate].read;
        read.retain(|part| part.is_native || part.node != first.node || part.op != first.op);
        read.push(first.natively("rescaled as it is stored"));
        let mut fate = Fate::new(self.graph, result, fate::short(&quant));
        fate.made = Some(Part::new(self.graph, id).natively("rescaled from what is stored"));
        let stored = rescale.push(self.graph, steps.stored, quant.storage, &node.name)?;
        self.restore(result, stored, (quant, &ty), fate, &node.name)?;
        Ok(true)
    }

    /// Puts what stored steps mean in the place of a value.
    fn restore(
        &mut self,
        value: ValueId,
        stored: ValueId,
        (quant, ty): (Arc<Quant>, &TensorType),
        fate: Fate,
        name: &str,
    ) -> Result<(), LowerFailure> {
        let params = QuantParams::new(&quant, ty).expect("one scale has no blocks");
        let scale = self.graph.constant(params.scale.clone());
        let zero = params
            .zero_point
            .clone()
            .map(|zero| self.graph.constant(zero));
        let operands = [Some(stored), Some(scale), zero];
        let made = self
            .graph
            .push(&DEQUANTIZE_LINEAR, &operands, params.attrs, name)?;
        self.graph.replace(value, made[0])?;
        self.keep(made[0], stored, quant, fate);
        Ok(())
    }
}
