//! `matmul_integer`: products of quantized matrices, exactly in `i32`.

use alula_ir::{
    EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError, Lowering,
    OpDef, Traits,
};
use alula_kernel::Contract;
use alula_tensor::{DType, DTypeClass, Scalar, Tensor};

use super::matmul;
use crate::elementwise::broadcast_shapes;

/// `y[.., m, n] = sum over k of (a[.., m, k] - a_zero_point) * (b[.., k, n] - b_zero_point)`.
///
/// Operands are 8-bit integers of rank 2 at least; batch axes broadcast. `a_zero_point` is one
/// value, `b_zero_point` one value or one for each column.
pub static MATMUL_INTEGER: OpDef = OpDef {
    name: "matmul_integer",
    summary: "matmul of (a - a_zero_point) and (b - b_zero_point) in i32",
    operands: &["a", "b", "a_zero_point?", "b_zero_point?"],
    attrs: &[],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Contract(lower),
    examples: &[
        "graph @e(%a: u8[3, 5], %b: i8[5, 4], %z: u8[], %c: i8[4]) {
           %y = matmul_integer %a, %b, %z, %c return y: %y }",
        "graph @e(%a: u8[N, 3, 5], %b: u8[5, 4], %c: u8[1]) {
           %y = matmul_integer %a, %b, _, %c return y: %y }",
        "graph @e(%a: i8[2, 3, 5], %b: i8[2, 5, 4]) {
           %y = matmul_integer %a, %b return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    for operand in 0..2 {
        ctx.expect_class(operand, &[DTypeClass::Signed, DTypeClass::Unsigned])?;
    }
    let (a, b) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if a.rank() < 2 || b.rank() < 2 {
        return Err(InferError::Mismatch(format!(
            "matrices are needed, not {a} and {b}"
        )));
    }
    let (k, k_again) = (&a.shape[a.rank() - 1], &b.shape[b.rank() - 2]);
    if k != k_again && k.as_const().is_some() && k_again.as_const().is_some() {
        return Err(InferError::Mismatch(format!(
            "{k} columns of {a} meet {k_again} rows of {b}"
        )));
    }
    let columns = &b.shape[b.rank() - 1];
    for (of, position) in [(0, 2), (1, 3)] {
        if !ctx.has(position) {
            continue;
        }
        ctx.expect_same_dtype(of, position)?;
        let ty = ctx.tensor(position)?;
        let per_column = of == 1
            && ty.rank() == 1
            && (ty.shape[0] == *columns || ty.shape[0].as_const().is_none());
        let single = ty.rank() <= 1 && ty.num_elements().is(1);
        if !single && !per_column {
            return Err(InferError::Unsupported(format!(
                "zero point {ty} of {}: one value, or for b one for each of {columns} columns",
                ctx.tensor(of)?
            )));
        }
    }
    let (batch_a, batch_b) = (
        a.shape[..a.rank() - 2].to_vec(),
        b.shape[..b.rank() - 2].to_vec(),
    );
    let mut shape = broadcast_shapes(&[&batch_a, &batch_b])?;
    shape.extend([a.shape[a.rank() - 2].clone(), columns.clone()]);
    Ok(vec![Inferred::tensor(DType::I32, shape)])
}

/// The operand less its zero point, in `i32`.
fn centred(ctx: &EvalCtx<'_>, operand: usize, zero: usize) -> Result<Tensor, EvalError> {
    let tensor = ctx.tensor(operand)?;
    let zeros = ctx
        .optional(zero)
        .map_or(vec![Scalar::Int(0)], Tensor::to_scalars);
    let values: Vec<Scalar> = tensor
        .to_scalars()
        .iter()
        .enumerate()
        .map(|(k, value)| {
            let zero = zeros[k % zeros.len().max(1)].as_int().unwrap_or(0);
            Scalar::Int(value.as_int().unwrap_or(0) - zero)
        })
        .collect();
    Ok(Tensor::from_scalars(DType::I32, tensor.shape(), &values)?)
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (a, b) = (centred(ctx, 0, 2)?, centred(ctx, 1, 3)?);
    Ok(vec![matmul::product(&a, &b, false, false)?.into()])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Contract, LowerError> {
    let mut contract = matmul::contract(ctx, false, false);
    let zero_point = |position: usize| ctx.has(position).then(|| ctx.present(position) as u32);
    contract.a.zero_point = zero_point(2);
    contract.b.zero_point = zero_point(3);
    Ok(contract)
}
