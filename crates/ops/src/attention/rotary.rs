//! `rotary`: positions as rotations of pairs of elements.

use alula_ir::{
    Attrs, EvalCtx, EvalError, Graph, GraphError, HostValue, InferCtx, InferError, Inferred,
    Lowering, NodeId, OpDef, Traits, ValueId,
};
use alula_tensor::{DTypeClass, Dim, Scalar};

use crate::elementwise::arithmetic::{ADD, MUL, NEG};
use crate::elementwise::{broadcast_shapes, broadcast_values};
use crate::shape::{CONCAT, SLICE};

/// `y = x * cos + turned(x) * sin`, where `turned(x)` is the second half of the last axis negated,
/// and then the first.
///
/// `cos` and `sin` broadcast to `x`, whose last axis has an even number of elements.
pub static ROTARY: OpDef = OpDef {
    name: "rotary",
    summary: "y = x * cos + concat(-x[.., h:], x[.., :h]) * sin, where h is half the last axis",
    operands: &["x", "cos", "sin"],
    attrs: &[],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compose(compose),
    examples: &[
        "graph @e(%x: f32[2, 3, 8], %c: f32[3, 8], %s: f32[3, 8]) {
           %y = rotary %x, %c, %s return y: %y }",
        "graph @e(%x: f64[2, S, 2], %c: f64[1, S, 1], %s: f64[1, S, 2]) {
           %y = rotary %x, %c, %s return y: %y }",
    ],
};

fn half(ctx: &InferCtx<'_>) -> Result<i64, InferError> {
    let x = ctx.tensor(0)?;
    match x.shape.last().map(Dim::as_const) {
        Some(Some(extent)) if extent % 2 == 0 => Ok(extent / 2),
        Some(None) => Err(InferError::Unsupported(format!(
            "{x} whose last extent is not known"
        ))),
        _ => Err(InferError::Mismatch(format!(
            "the last axis of {x} is not even"
        ))),
    }
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    half(ctx)?;
    let x = ctx.tensor(0)?;
    for operand in 1..3 {
        ctx.expect_same_dtype(0, operand)?;
        let ty = ctx.tensor(operand)?;
        // Symbolic extents are taken to be equal; each run checks what the lowering relies on.
        let differs = |(known, own): (&Dim, &Dim)| known != own && own.as_const().is_some();
        let joined = broadcast_shapes(&[&x.shape, &ty.shape])?;
        if ty.rank() > x.rank() || joined.iter().zip(&x.shape).any(differs) {
            return Err(InferError::Mismatch(format!(
                "{ty} does not broadcast to {x}"
            )));
        }
    }
    Ok(vec![Inferred::tensor(dtype, x.shape.clone())])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let elements = x.to_f64s();
    let factors = |operand: usize| -> Result<Vec<f64>, EvalError> {
        let values = broadcast_values(ctx.tensor(operand)?, x.shape());
        Ok(values.into_iter().map(Scalar::to_f64).collect())
    };
    let (cos, sin) = (factors(1)?, factors(2)?);
    let size = x.shape().last().copied().unwrap_or(1);
    let value = |at: usize| {
        let other = match at % size < size / 2 {
            true => -elements[at + size / 2],
            false => elements[at - size / 2],
        };
        Scalar::Float(elements[at] * cos[at] + other * sin[at])
    };
    let values: Vec<Scalar> = (0..elements.len()).map(value).collect();
    Ok(vec![ctx.result(x.dtype(), x.shape(), &values)?])
}

fn compose(graph: &mut Graph, id: NodeId) -> Result<Vec<ValueId>, GraphError> {
    let node = graph.node(id).clone();
    let name = node.name.as_str();
    let [Some(x), Some(cos), Some(sin)] = node.operands[..] else {
        panic!("a rotation has three operands");
    };
    let shape = graph.ty(x).as_tensor().map(|ty| ty.shape.clone());
    let size = shape
        .as_deref()
        .and_then(<[Dim]>::last)
        .and_then(Dim::as_const);
    let size = size.expect("inference knows the last extent");
    let cut = |graph: &mut Graph, from: i64, to: i64| {
        let attrs = Attrs::new()
            .with("axes", vec![-1_i64])
            .with("starts", vec![Dim::new(from)])
            .with("ends", vec![Dim::new(to)]);
        graph.apply(&SLICE, &[x], attrs, name)
    };
    let (low, high) = (cut(graph, 0, size / 2)?, cut(graph, size / 2, size)?);
    let high = graph.apply(&NEG, &[high], Attrs::new(), name)?;
    let axis = Attrs::new().with("axis", -1_i64);
    let turned = graph.apply(&CONCAT, &[high, low], axis, name)?;
    let straight = graph.apply(&MUL, &[x, cos], Attrs::new(), name)?;
    let turned = graph.apply(&MUL, &[turned, sin], Attrs::new(), name)?;
    Ok(vec![graph.apply(
        &ADD,
        &[straight, turned],
        Attrs::new(),
        name,
    )?])
}
