//! `softmax`, `log_softmax` and `hardmax` along one axis.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, Lowering,
    OpDef, Traits,
};
use alula_kernel::{Compute, ExprId, FoldOp, VarId};
use alula_tensor::{DType, DTypeClass, Scalar, ScalarOp, strides};

use super::axis;

const AXIS: AttrSpec = AttrSpec::int("axis", -1, "the axis, counted from the end if negative");

/// `y = e^(x - max) / sum(e^(x - max))` along an axis.
pub static SOFTMAX: OpDef = OpDef {
    name: "softmax",
    summary: "y = e^(x - max x) / sum of e^(x - max x), along an axis",
    operands: &["x"],
    attrs: &[AXIS],
    traits: Traits::NONE,
    infer,
    eval: |ctx| {
        eval(ctx, |row| {
            let powers = powers(row);
            let sum: f64 = powers.iter().sum();
            powers.iter().map(|power| power / sum).collect()
        })
    },
    lowering: Lowering::Compute(|ctx| {
        let mut along = Along::new(ctx);
        let (_, power, sum) = along.powers();
        let share = share(&mut along.compute, power, sum);
        Ok(vec![along.compute.finish(share)])
    }),
    examples: &[
        "graph @e(%x: f32[3, 5]) { %y = softmax %x return y: %y }",
        "graph @e(%x: f32[2, 3, 4]) { %y = softmax %x {axis = 1} return y: %y }",
        "graph @e(%x: f16[N, 1]) { %y = softmax %x return y: %y }",
        "graph @e(%x: f64[2, S, 2]) { %y = softmax %x {axis = -2} return y: %y }",
        "graph @e(%x: f32[2, 0]) { %y = softmax %x return y: %y }",
    ],
};

/// `y = x - max - log(sum(e^(x - max)))` along an axis.
pub static LOG_SOFTMAX: OpDef = OpDef {
    name: "log_softmax",
    summary: "y = log(softmax(x)) along an axis",
    operands: &["x"],
    attrs: &[AXIS],
    traits: Traits::NONE,
    infer,
    eval: |ctx| {
        eval(ctx, |row| {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = powers(row).iter().sum();
            row.iter().map(|x| x - most - sum.ln()).collect()
        })
    },
    lowering: Lowering::Compute(|ctx| {
        let mut along = Along::new(ctx);
        let (distance, _, sum) = along.powers();
        let c = &mut along.compute;
        let log = c.pool.unary(ScalarOp::Log, sum);
        let value = c.pool.sub(distance, log);
        Ok(vec![along.compute.finish(value)])
    }),
    examples: &[
        "graph @e(%x: f32[3, 5]) { %y = log_softmax %x return y: %y }",
        "graph @e(%x: f64[2, N, 4]) { %y = log_softmax %x {axis = 1} return y: %y }",
        "graph @e(%x: f16[1, 1]) { %y = log_softmax %x return y: %y }",
    ],
};

/// 1 at the first greatest element along an axis, 0 elsewhere.
pub static HARDMAX: OpDef = OpDef {
    name: "hardmax",
    summary: "1 at the first greatest element along an axis, 0 elsewhere; beside a NaN none is",
    operands: &["x"],
    attrs: &[AXIS],
    traits: Traits::NONE,
    infer,
    eval: |ctx| {
        eval(ctx, |row| {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let is_ordered = !row.iter().any(|x| x.is_nan());
            let first = row.iter().position(|x| is_ordered && *x == most);
            (0..row.len())
                .map(|k| f64::from(Some(k) == first))
                .collect()
        })
    },
    lowering: Lowering::Compute(|ctx| {
        let mut along = Along::new(ctx);
        let most = along.greatest();
        let (var, value) = along.element();
        let c = &mut along.compute;
        let position = c.pool.var_expr(var);
        let found = c.pool.apply(ScalarOp::Eq, &[value, most]);
        let far = c.pool.int(i64::MAX);
        let candidate = c.pool.select(found, position, far);
        let first = c.pool.fold(FoldOp::Min, vec![var], candidate);
        let here = c.indices()[along.axis];
        let is_first = c.pool.apply(ScalarOp::Eq, &[here, first]);
        let value = c.pool.cast(is_first, c.dtype.compute());
        Ok(vec![along.compute.finish(value)])
    }),
    examples: &[
        "graph @e(%x: f32[3, 5]) { %y = hardmax %x return y: %y }",
        "graph @e(%x: f64[2, N, 4]) { %y = hardmax %x {axis = 1} return y: %y }",
        "graph @e() { %x = const f32[4] [1.0, 3.0, 3.0, 2.0] %y = hardmax %x return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    let x = ctx.tensor(0)?;
    ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    Ok(vec![Inferred::tensor(dtype, x.shape.clone())])
}

fn powers(row: &[f64]) -> Vec<f64> {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter().map(|x| (x - most).exp()).collect()
}

/// Applies `f` to each run of elements along the axis.
fn eval(ctx: &EvalCtx<'_>, f: impl Fn(&[f64]) -> Vec<f64>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let axis = axis(ctx.attrs, x.rank());
    let (extent, stride) = (x.shape()[axis], strides(x.shape())[axis]);
    let xs = x.to_f64s();
    let mut values = vec![Scalar::Float(0.0); xs.len()];
    for start in (0..xs.len()).filter(|k| k / stride.max(1) % extent == 0) {
        let row: Vec<f64> = (0..extent).map(|k| xs[start + k * stride]).collect();
        for (k, value) in f(&row).into_iter().enumerate() {
            values[start + k * stride] = Scalar::Float(value);
        }
    }
    Ok(vec![ctx.result(x.dtype(), x.shape(), &values)?])
}

/// A definition along an axis.
struct Along {
    compute: Compute,
    axis: usize,
}

impl Along {
    fn new(ctx: &LowerCtx<'_>) -> Along {
        let result = ctx.result(0);
        let axis = axis(ctx.attrs, result.rank());
        let compute = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
        Along { compute, axis }
    }

    /// An element at a fresh variable along the axis.
    fn element(&mut self) -> (VarId, ExprId) {
        let c = &mut self.compute;
        let var = c.pool.var(c.axes[self.axis].extent.clone());
        let mut index = c.indices();
        index[self.axis] = c.pool.var_expr(var);
        let value = c.load(0, index);
        (var, value)
    }

    fn greatest(&mut self) -> ExprId {
        let (var, value) = self.element();
        self.compute.pool.fold(FoldOp::Max, vec![var], value)
    }

    /// `x - max`, `e^(x - max)` and the sum of the latter along the axis.
    fn powers(&mut self) -> (ExprId, ExprId, ExprId) {
        let most = self.greatest();
        let (var, value) = self.element();
        let c = &mut self.compute;
        let distance = c.pool.sub(value, most);
        let power = power_of(c, distance);
        let sum = c.pool.fold(FoldOp::Add, vec![var], power);
        let here = c.load_broadcast(0);
        let distance = c.pool.sub(here, most);
        let power = power_of(c, distance);
        (distance, power, sum)
    }
}

/// `power / sum`. In f32 times the reciprocal, which is computed once for a row: a division of
/// each element takes longer than all else. It costs half a unit in the last place.
fn share(c: &mut Compute, power: ExprId, sum: ExprId) -> ExprId {
    if c.dtype.compute() != DType::F32 {
        return c.pool.div(power, sum);
    }
    let one = c.pool.float(DType::F32, 1.0);
    let part = c.pool.div(one, sum);
    c.pool.mul(power, part)
}

/// Exponents that lie further below the greatest one give no normal number.
const LEAST: f64 = -87.0;

/// `e^distance`, and zero where that is no normal number of f32: beside the greatest power, which
/// is 1, it is nothing, but subnormal numbers cost whoever multiplies them a hundred cycles each,
/// and a mask of -100 makes many of them.
fn power_of(c: &mut Compute, distance: ExprId) -> ExprId {
    if c.dtype.compute() != DType::F32 {
        return c.pool.unary(ScalarOp::Exp, distance);
    }
    let [least, nothing] = [LEAST, f64::NEG_INFINITY].map(|x| c.pool.float(DType::F32, x));
    let is_far = c.pool.apply(ScalarOp::Lt, &[distance, least]);
    let distance = c.pool.select(is_far, nothing, distance);
    c.pool.unary(ScalarOp::Exp, distance)
}
