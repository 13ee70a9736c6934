//! Annotations on types as operators, and operators as annotations.
//!
//! A value of a quantized type is what its node computed, quantized and dequantized. This is where
//! the parameters of the two operators are read from an annotation, and an annotation from them.

use alula_ir::{Attrs, EvalCtx, EvalError, Graph, HostValue, NodeId};
use alula_tensor::{DType, Dim, Granularity, Quant, Tensor, TensorType};

use super::{QUANTIZE_LINEAR, Share, dequantize, quantize, share};

/// Scales between these have quotients and products in `f32` that tell steps apart.
const SCALES: std::ops::Range<f64> = 1e-30..1e30;

/// The annotation that says what a `quantize_linear` or `dequantize_linear` does.
///
/// # Errors
/// The fact that no annotation says: parameters that are computed, or numbers of which quantizing
/// again what was dequantized does not give the same steps.
pub fn annotation_of(graph: &Graph, node: NodeId) -> Result<Quant, &'static str> {
    let node = graph.node(node);
    let operand = |position: usize| node.operands.get(position).copied().flatten();
    let ty = |position| operand(position).and_then(|value| graph.ty(value).as_tensor());
    let (Some(x), Some(result)) = (ty(0), graph.ty(node.results[0]).as_tensor()) else {
        return Err("it is no tensor");
    };
    let is_quantize = node.op.name == QUANTIZE_LINEAR.name;
    let (expressed, storage) = match is_quantize {
        true => (x.dtype, result.dtype),
        false => (result.dtype, x.dtype),
    };
    let constant = |position| operand(position).and_then(|value| graph.as_constant(value));
    let scale = constant(1).ok_or("its scale is computed")?;
    if expressed != DType::F32 || scale.dtype() != DType::F32 {
        return Err("its real numbers are not f32");
    }
    let zero_point: Vec<i32> = match (operand(2), constant(2)) {
        (None, _) => Vec::new(),
        (Some(_), None) => return Err("its zero point is computed"),
        (Some(_), Some(_)) if storage.is_float() => return Err("its steps are no integers"),
        (Some(_), Some(zero)) => zero.to_f64s().into_iter().map(|zero| zero as i32).collect(),
    };
    if is_quantize && storage.is_float() && !node.attrs.bool("saturate") {
        return Err("it does not saturate");
    }
    let values = scale.to_f64s();
    if !values.iter().all(|scale| SCALES.contains(scale)) {
        return Err("a scale is out of range");
    }
    let granularity = match share(&node.attrs, x.rank(), &scale.ty()) {
        Share::Tensor => Granularity::Tensor,
        Share::Axis(axis) => Granularity::Axis(axis),
        Share::Block { axis, size } => Granularity::Block {
            axis,
            size: size as usize,
        },
    };
    let quant = Quant {
        storage,
        granularity,
        scale: values.iter().map(|scale| *scale as f32).collect(),
        // A zero point of 0 is none.
        zero_point: match zero_point.iter().all(|zero| *zero == 0) {
            true => Vec::new(),
            false => zero_point,
        },
    };
    let ty = TensorType::new(expressed, x.shape.clone());
    let has_blocks = matches!(quant.granularity, Granularity::Block { .. });
    if has_blocks && ty.static_shape().is_none() {
        return Err("it has blocks of unknown extents");
    }
    match quant.check(&ty) {
        Ok(()) => Ok(quant),
        Err(_) => Err("its steps are too many to be told apart"),
    }
}

/// What `quantize_linear` and `dequantize_linear` take for an annotation: operands and attributes.
#[derive(Clone, Debug)]
pub struct QuantParams {
    /// Operand 1.
    pub scale: Tensor,
    /// Operand 2.
    pub zero_point: Option<Tensor>,
    /// `axis` and `block`.
    pub attrs: Attrs,
}

impl QuantParams {
    /// The parameters of an annotation on a value of this type; `None` where blocks divide an
    /// extent that is not known.
    pub fn new(quant: &Quant, ty: &TensorType) -> Option<QuantParams> {
        let (shape, axis, block) = match quant.granularity {
            Granularity::Tensor => (Vec::new(), 0, 0),
            Granularity::Axis(axis) => (vec![quant.scale.len()], axis, 0),
            Granularity::Block { axis, size } => {
                let mut shape = ty.static_shape()?;
                shape[axis] = shape[axis].div_ceil(size);
                (shape, axis, size)
            }
        };
        let scale: Vec<f64> = quant.scale.iter().map(|scale| f64::from(*scale)).collect();
        let zeros: Vec<f64> = quant
            .zero_point
            .iter()
            .map(|zero| f64::from(*zero))
            .collect();
        let tensor = |dtype, values: &[f64]| {
            let values: Vec<_> = values
                .iter()
                .map(|v| alula_tensor::Scalar::Float(*v))
                .collect();
            Tensor::from_scalars(dtype, &shape, &values).ok()
        };
        Some(QuantParams {
            scale: tensor(ty.dtype, &scale)?,
            zero_point: match zeros.is_empty() {
                true => None,
                false => Some(tensor(quant.storage, &zeros)?),
            },
            attrs: Attrs::new()
                .with("axis", axis as i64)
                .with("block", block as i64),
        })
    }

    /// The attributes of a `quantize_linear` to this type.
    pub fn quantize_attrs(&self, storage: DType) -> Attrs {
        let attrs = self.attrs.clone();
        attrs.with("dtype", storage).with("saturate", true)
    }
}

/// A value as its annotation says it is: quantized and dequantized.
///
/// # Errors
/// As the operators.
pub(crate) fn rounded(value: &HostValue, ty: &TensorType) -> Result<HostValue, EvalError> {
    let (Some(quant), Some(x)) = (&ty.quant, value.as_tensor()) else {
        return Ok(value.clone());
    };
    let known = TensorType {
        shape: x.shape().iter().map(|extent| Dim::from(*extent)).collect(),
        ..ty.clone()
    };
    if let Err(why) = quant.check(&known) {
        return Err(EvalError::Value(why));
    }
    let params = QuantParams::new(quant, &known);
    let params = params.ok_or_else(|| EvalError::Value(format!("{quant} does not fit")))?;
    let (scale, zero) = (params.scale.clone().into(), params.zero_point.clone());
    let zero = zero.map(HostValue::from);
    let run = |eval: fn(&EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError>,
               x: &HostValue,
               attrs: &Attrs| {
        let ctx = EvalCtx {
            attrs,
            operands: vec![Some(x), Some(&scale), zero.as_ref()],
            results: Vec::new(),
            bytes_max: u64::MAX,
            run_graph: &|_, _| Err(EvalError::Value("there is no sub-graph".to_owned())),
        };
        Ok::<_, EvalError>(eval(&ctx)?.swap_remove(0))
    };
    let steps = run(quantize::eval, value, &params.quantize_attrs(quant.storage))?;
    run(dequantize::eval, &steps, &params.attrs)
}
