//! Bins of a spectrum at steps of mel. Each is rounded down, in `f64` on every target, so that it
//! runs on the host: a kernel in `f32` takes some for their neighbours.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, Lowering,
    OpDef,
};
use alula_program::HostFn;
use alula_tensor::{DType, DTypeClass, Scalar};

use crate::movement::known_extents;
use crate::shape::PLAIN;

/// Where triangles over the bins of a spectrum begin and end.
pub static MEL_EDGES: OpDef = OpDef {
    name: "mel_edges",
    summary: "i64[count]: floor((length + 1) * 700 * (10^(m[i] / 2595) - 1) / rate), with m[i] = \
              m(low) + i * (m(high) - m(low)) / count and m(f) = 2595 * log10(1 + f / 700)",
    operands: &["length", "rate", "low", "high"],
    attrs: &[AttrSpec::required(
        "count",
        AttrKind::Dims,
        "one dim: the number of edges",
    )],
    traits: PLAIN,
    infer: infer_edges,
    eval: eval_edges,
    lowering: Lowering::Host(|_| Ok(HostFn::MelEdges)),
    examples: &[
        "graph @e(%x: f32[N]) {
           %n = const i64[] [512] %r = const i32[] [16000]
           %l = const f32[] [20.0] %h = const f32[] [7600.0]
           %y = mel_edges %n, %r, %l, %h {count = [N]} return y: %y, x: %x }",
        "graph @e(%n: i64[]) {
           %r = const i64[] [8192] %l = const f64[] [0.0] %h = const f64[] [4096.0]
           %y = mel_edges %n, %r, %l, %h {count = [10]} return y: %y }",
    ],
};

fn infer_edges(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    for position in 0..4 {
        match position < 2 {
            true => ctx.expect_class(position, &[DTypeClass::Signed, DTypeClass::Unsigned])?,
            false => ctx.expect_class(position, &[DTypeClass::Float])?,
        };
        let ty = ctx.tensor(position)?;
        if ty.rank() != 0 {
            let reason = format!("operand {position} is {ty}, not a scalar");
            return Err(InferError::Mismatch(reason));
        }
    }
    let [count] = ctx.attrs.dims("count") else {
        return Err(InferError::Mismatch("count is not one dim".to_owned()));
    };
    Ok(vec![Inferred::tensor(DType::I64, vec![count.clone()])])
}

fn eval_edges(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let number = |position| -> Result<f64, EvalError> {
        let value = ctx.tensor(position)?.get(0);
        let value = value.ok_or_else(|| EvalError::Value("a number is missing".to_owned()))?;
        Ok(value.to_f64())
    };
    let count = known_extents(ctx.attrs.dims("count"))?[0];
    ctx.zeros(DType::I64, &[count])?;
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let (low, high) = (mel(number(2)?), mel(number(3)?));
    let step = (high - low) / count as f64;
    let (points, rate) = (number(0)? + 1.0, number(1)?);
    let edge = |at: usize| {
        let hertz = 700.0 * (10.0_f64.powf((at as f64 * step + low) / 2595.0) - 1.0);
        Scalar::Float((points * hertz / rate).floor()).cast(DType::I64)
    };
    let edges: Vec<Scalar> = (0..count).map(edge).collect();
    Ok(vec![ctx.result(DType::I64, &[count], &edges)?])
}
