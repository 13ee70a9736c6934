//! `matmul`: products of matrices with broadcast batch axes (ONNX MatMul, numpy `matmul`).

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
    Lowering, OpDef, Traits,
};
use alula_kernel::{Affine, Compute, Contract, ContractAxis, ContractOperand, Role, VarId};
use alula_tensor::{DType, Dim, Scalar, Shape, Tensor, TensorType, strides};

use crate::elementwise::broadcast_shapes;

/// `y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n]`.
///
/// Both operands have rank 2 at least; batch axes broadcast. `transpose_a` and `transpose_b`
/// exchange the last two axes of an operand.
pub static MATMUL: OpDef = OpDef {
    name: "matmul",
    summary: "y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n]",
    operands: &["a", "b"],
    attrs: &[
        AttrSpec::bool("transpose_a", false, "a is given as [.., k, m]"),
        AttrSpec::bool("transpose_b", false, "b is given as [.., n, k]"),
    ],
    traits: Traits {
        commutative: false,
        random: false,
        elementwise: false,
        control_flow: false,
    },
    infer,
    eval,
    lowering: Lowering::Contract(lower),
    examples: &[
        "graph @e(%a: f32[3, 5], %b: f32[5, 4]) { %y = matmul %a, %b return y: %y }",
        "graph @e(%a: f32[2, 1, 3, 5], %b: f32[4, 7, 5]) {
           %y = matmul %a, %b {transpose_b = true} return y: %y }",
        "graph @e(%a: f64[5, 3], %b: f64[5, 4]) {
           %y = matmul %a, %b {transpose_a = true} return y: %y }",
        "graph @e(%a: i32[3, 5], %b: i32[5, 4]) { %y = matmul %a, %b return y: %y }",
        "graph @e(%a: f32[3, 0], %b: f32[0, 4]) { %y = matmul %a, %b return y: %y }",
    ],
};

/// Rows and columns of a matrix operand, transposition undone.
fn matrix_dims(ty: &TensorType, transposed: bool) -> (Dim, Dim) {
    let (rows, columns) = (
        ty.shape[ty.rank() - 2].clone(),
        ty.shape[ty.rank() - 1].clone(),
    );
    if transposed {
        (columns, rows)
    } else {
        (rows, columns)
    }
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_same_dtype(0, 1)?;
    let (a, b) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if a.rank() < 2 || b.rank() < 2 || dtype == DType::Bool || dtype == DType::String {
        return Err(InferError::Mismatch(format!(
            "matrices of numbers are needed, not {a} and {b}"
        )));
    }
    let (m, k) = matrix_dims(a, ctx.attrs.bool("transpose_a"));
    let (k_again, n) = matrix_dims(b, ctx.attrs.bool("transpose_b"));
    if k != k_again && k.as_const().is_some() && k_again.as_const().is_some() {
        return Err(InferError::Mismatch(format!(
            "{k} columns of {a} meet {k_again} rows of {b}"
        )));
    }
    let batch_a: Shape = a.shape[..a.rank() - 2].to_vec();
    let batch_b: Shape = b.shape[..b.rank() - 2].to_vec();
    let mut shape = broadcast_shapes(&[&batch_a, &batch_b])?;
    shape.extend([m, n]);
    Ok(vec![Inferred::tensor(dtype, shape)])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (turn_a, turn_b) = (ctx.attrs.bool("transpose_a"), ctx.attrs.bool("transpose_b"));
    let result = product(ctx.tensor(0)?, ctx.tensor(1)?, turn_a, turn_b)?;
    Ok(vec![result.into()])
}

/// The product of two tensors of one dtype, batch axes broadcast: the reference.
pub(super) fn product(
    a: &Tensor,
    b: &Tensor,
    turn_a: bool,
    turn_b: bool,
) -> Result<Tensor, EvalError> {
    let matrix = |shape: &[usize], turned: bool| {
        let (rows, columns) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        if turned {
            (columns, rows)
        } else {
            (rows, columns)
        }
    };
    let ((m, k), (k_again, n)) = (matrix(a.shape(), turn_a), matrix(b.shape(), turn_b));
    if k != k_again {
        return Err(EvalError::Value(format!("{k} columns meet {k_again} rows")));
    }
    let rank = a.rank().max(b.rank()) - 2;
    let extent = |shape: &[usize], axis: usize| {
        (axis + shape.len())
            .checked_sub(rank + 2)
            .map_or(1, |axis| shape[axis])
    };
    let mut batch = Vec::with_capacity(rank);
    for axis in 0..rank {
        batch.push(match (extent(a.shape(), axis), extent(b.shape(), axis)) {
            (1, other) | (other, 1) => other,
            (own, other) if own == other => own,
            (own, other) => {
                return Err(EvalError::Value(format!(
                    "batches of {own} and {other} do not broadcast"
                )));
            }
        });
    }
    let dtype = a.dtype();
    let (x, y) = (a.to_scalars(), b.to_scalars());
    let mut values = Vec::new();
    let batch_strides = strides(&batch);
    for position in 0..batch.iter().product::<usize>() {
        let offset = |shape: &[usize]| {
            let own = strides(shape);
            (0..rank)
                .filter(|&axis| extent(shape, axis) != 1)
                .map(|axis| {
                    position / batch_strides[axis] % batch[axis]
                        * own[axis + shape.len() - rank - 2]
                })
                .sum::<usize>()
        };
        let (from_a, from_b) = (offset(a.shape()), offset(b.shape()));
        for row in 0..m {
            for column in 0..n {
                let pairs = (0..k).map(|inner| {
                    let at_a = if turn_a {
                        inner * m + row
                    } else {
                        row * k + inner
                    };
                    let at_b = if turn_b {
                        column * k + inner
                    } else {
                        inner * n + column
                    };
                    (x[from_a + at_a], y[from_b + at_b])
                });
                values.push(sum_of_products(pairs));
            }
        }
    }
    let mut shape = batch;
    shape.extend([m, n]);
    Ok(Tensor::from_scalars(dtype, &shape, &values)?)
}

/// Exact for integers (the cast to the result wraps), in `f64` for floats.
pub(crate) fn sum_of_products(pairs: impl Iterator<Item = (Scalar, Scalar)>) -> Scalar {
    let (mut float, mut int, mut is_int) = (0.0_f64, 0_i128, false);
    for pair in pairs {
        match pair {
            (Scalar::Int(a), Scalar::Int(b)) => {
                int = int.wrapping_add(a.wrapping_mul(b));
                is_int = true;
            }
            (a, b) => float += a.to_f64() * b.to_f64(),
        }
    }
    if is_int {
        Scalar::Int(int)
    } else {
        Scalar::Float(float)
    }
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Contract, LowerError> {
    Ok(contract(
        ctx,
        ctx.attrs.bool("transpose_a"),
        ctx.attrs.bool("transpose_b"),
    ))
}

/// The contraction of operands 0 and 1 over the last axis of one and the last but one of the other.
pub(super) fn contract(ctx: &LowerCtx<'_>, turn_a: bool, turn_b: bool) -> Contract {
    let (a, b, result) = (ctx.tensor(0), ctx.tensor(1), ctx.result(0));
    let acc = result.dtype.compute();
    let mut epilogue = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let batch: Vec<VarId> = result.shape[..result.rank() - 2]
        .iter()
        .map(|extent| epilogue.pool.var(extent.clone()))
        .collect();
    let (m_extent, k_extent) = matrix_dims(a, turn_a);
    let (_, n_extent) = matrix_dims(b, turn_b);
    let m = epilogue.pool.var(m_extent);
    let n = epilogue.pool.var(n_extent);
    let k = epilogue.pool.var(k_extent);
    let side = |operand: u32, ty: &TensorType, rows: VarId, columns: VarId, turned: bool| {
        let skipped = batch.len() + 2 - ty.rank();
        let mut index: Vec<Affine> = (0..ty.rank() - 2)
            .map(|axis| match ty.shape[axis].is(1) {
                true => Affine::constant(0_i64),
                false => Affine::var(batch[skipped + axis]),
            })
            .collect();
        let (first, second) = if turned {
            (columns, rows)
        } else {
            (rows, columns)
        };
        index.extend([Affine::var(first), Affine::var(second)]);
        ContractOperand {
            operand,
            index,
            zero_point: None,
            padded: Vec::new(),
        }
    };
    for ty in [a, b] {
        let skipped = batch.len() + 2 - ty.rank();
        for (own, target) in ty.shape[..ty.rank() - 2]
            .iter()
            .zip(&result.shape[skipped..])
        {
            if !own.is(1) && own != target {
                epilogue.equal.push((own.clone(), target.clone()));
            }
        }
    }
    let axis = |var, role| ContractAxis { var, role };
    // A batch axis that `b` does not have is nothing but more rows of `a`.
    let b_has = |position: usize| {
        (position + b.rank())
            .checked_sub(batch.len() + 2)
            .is_some_and(|axis| !b.shape[axis].is(1))
    };
    let mut axes: Vec<_> = batch
        .iter()
        .enumerate()
        .map(|(position, &var)| {
            axis(
                var,
                if b_has(position) {
                    Role::Batch
                } else {
                    Role::M
                },
            )
        })
        .collect();
    axes.extend([axis(m, Role::M), axis(n, Role::N), axis(k, Role::K)]);
    let value = epilogue.pool.acc(acc);
    Contract {
        axes,
        a: side(0, a, m, k, turn_a),
        b: side(1, b, k, n, turn_b),
        acc,
        out: batch
            .iter()
            .copied()
            .chain([m, n])
            .map(Affine::var)
            .collect(),
        epilogue: epilogue.finish(value),
    }
}
