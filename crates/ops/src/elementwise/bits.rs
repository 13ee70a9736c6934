//! `bit_cast`: the same bytes read as another dtype.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, Lowering,
    OpDef,
};
use alula_tensor::{DType, Storage, Tensor};

use crate::shape::PLAIN;

/// The rows of this file.
pub const ROWS: &[&OpDef] = &[&BIT_CAST];

/// The same bits under a dtype of the same width.
pub static BIT_CAST: OpDef = OpDef {
    name: "bit_cast",
    summary: "the bits of x as elements of the dtype `to`, which is as wide",
    operands: &["x"],
    attrs: &[AttrSpec::required(
        "to",
        AttrKind::DType,
        "dtype of the result",
    )],
    traits: PLAIN,
    infer,
    eval,
    lowering: Lowering::View,
    examples: &[
        "graph @e(%x: f32[2, N]) { %y = bit_cast %x {to = i32} return y: %y }",
        "graph @e(%x: i32[4]) {
           %a = add %x, %x %y = bit_cast %a {to = u32} %z = add %y, %y return z: %z }",
        "graph @e(%x: i8[3]) { %y = bit_cast %x {to = u8} return y: %y }",
        "graph @e(%x: f64[]) { %y = bit_cast %x {to = i64} return y: %y }",
    ],
};

/// Elements narrower than a byte have spare bits in memory, and bools only two patterns.
fn is_plain(dtype: DType) -> bool {
    dtype != DType::String && dtype.bits() as usize == 8 * dtype.size_bytes()
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let (x, to) = (ctx.tensor(0)?, ctx.attrs.dtype("to"));
    let from_bool = x.dtype == DType::Bool && to.size_bytes() == 1;
    if !(is_plain(x.dtype) || from_bool) || !is_plain(to) || to == DType::Bool {
        return Err(InferError::Unsupported(format!(
            "the bits of {} as {to}",
            x.dtype
        )));
    }
    if x.dtype.size_bytes() != to.size_bytes() {
        return Err(InferError::Mismatch(format!(
            "{} and {to} differ in width",
            x.dtype
        )));
    }
    Ok(vec![Inferred::tensor(to, x.shape.clone())])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let storage = Storage::copy_from(x.bytes());
    let y = Tensor::from_storage(ctx.attrs.dtype("to"), x.shape(), storage)?;
    Ok(vec![y.into()])
}
