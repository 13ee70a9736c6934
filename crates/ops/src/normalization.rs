//! Normalizations: softmax and its kin, and scaling by statistics of the operand.

mod batch;
mod layer;
mod local;
mod lp;
mod softmax;

use alula_ir::{Attrs, InferError, OpDef};
use alula_kernel::{Compute, ExprId, FoldOp, VarId};
use alula_tensor::DType;

pub use batch::{BATCH_NORM, GROUP_NORM, INSTANCE_NORM};
pub use layer::{LAYER_NORM, RMS_NORM};
pub use local::LRN;
pub use lp::LP_NORMALIZATION;
pub use softmax::{HARDMAX, LOG_SOFTMAX, SOFTMAX};

/// The family's rows.
pub const ROWS: &[&OpDef] = &[
    &SOFTMAX,
    &LOG_SOFTMAX,
    &HARDMAX,
    &LAYER_NORM,
    &RMS_NORM,
    &BATCH_NORM,
    &INSTANCE_NORM,
    &GROUP_NORM,
    &LP_NORMALIZATION,
    &LRN,
];

/// The attribute `axis` counted from the front.
fn axis(attrs: &Attrs, rank: usize) -> usize {
    let axis = attrs.int("axis");
    (if axis < 0 { axis + rank as i64 } else { axis }) as usize
}

/// Checks that `epsilon` is a number that keeps a denominator from zero or leaves it.
fn check_epsilon(attrs: &Attrs) -> Result<(), InferError> {
    let epsilon = attrs.float("epsilon");
    if epsilon >= 0.0 {
        return Ok(());
    }
    Err(InferError::BadAttr {
        name: "epsilon".to_owned(),
        reason: format!("is {epsilon}, must not be negative"),
    })
}

/// Mean and variance of `value(vars)` over fresh variables. `variables` makes the variables of one
/// pass and their index; the two passes use different ones.
fn mean_and_variance(
    c: &mut Compute,
    dtype: DType,
    pass: &dyn Fn(&mut Compute) -> (Vec<VarId>, ExprId),
) -> (ExprId, ExprId) {
    let (vars, value) = pass(c);
    let count = vars.iter().map(|&var| c.pool.extent(var).clone()).product();
    let count = c.pool.dim(count);
    let count = c.pool.cast(count, dtype);
    let sum = c.pool.fold(FoldOp::Add, vars, value);
    let mean = c.pool.div(sum, count);
    let (vars, value) = pass(c);
    let distance = c.pool.sub(value, mean);
    let square = c.pool.mul(distance, distance);
    let sum = c.pool.fold(FoldOp::Add, vars, square);
    (mean, c.pool.div(sum, count))
}

/// `1 / sqrt(variance + epsilon)`.
fn inverse_deviation(c: &mut Compute, variance: ExprId, dtype: DType, epsilon: f64) -> ExprId {
    let epsilon = c.pool.float(dtype, epsilon);
    let moved = c.pool.add(variance, epsilon);
    let deviation = c.pool.unary(alula_tensor::ScalarOp::Sqrt, moved);
    let one = c.pool.float(dtype, 1.0);
    c.pool.div(one, deviation)
}

/// Mean and variance of numbers, for references.
fn statistics(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    (mean, variance)
}
