//! Reductions to one number.

use alula_ir::{
    AttrSpec, Attrs, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_kernel::{Compute, ExprId, FoldOp, VarId};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp};

use crate::movement::{axis_of, begin, for_each_index, linear};
use crate::shape::PLAIN;

/// What a reduction computes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sum,
    Mean,
    Prod,
    Max,
    Min,
    L1,
    L2,
    LogSum,
    LogSumExp,
    SumSquare,
}

/// Attributes of every reduction.
const ATTRS: &[AttrSpec] = &[
    AttrSpec::ints("axes", "axes that are reduced, from the end if negative"),
    AttrSpec::bool("keepdims", true, "reduced axes stay with extent 1"),
];

macro_rules! rows {
    ($($constant:ident $name:literal $kind:ident $summary:literal, [$($example:literal),*];)*) => {
        $(
            #[doc = $summary]
            pub static $constant: OpDef = OpDef {
                name: $name,
                summary: $summary,
                operands: &["x"],
                attrs: ATTRS,
                traits: PLAIN,
                infer: |ctx| infer(ctx, Kind::$kind),
                eval: |ctx| eval(ctx, Kind::$kind),
                lowering: Lowering::Compute(|ctx| lower(ctx, Kind::$kind)),
                examples: &[$($example),*],
            };
        )*
    };
}

rows! {
    REDUCE_SUM "reduce_sum" Sum "sum of x; of nothing 0", [
        "graph @e(%x: f32[2, 3, 4]) { %y = reduce_sum %x {axes = [0, -1]} return y: %y }",
        "graph @e(%x: i32[N, 3]) {
           %y = reduce_sum %x {axes = [0], keepdims = false} return y: %y }",
        "graph @e(%x: f16[0, 3]) { %y = reduce_sum %x {axes = [0]} return y: %y }",
        "graph @e(%x: f64[]) { %y = reduce_sum %x {axes = []} return y: %y }"];
    REDUCE_MEAN "reduce_mean" Mean "sum of x divided by the number of elements", [
        "graph @e(%x: f32[2, N, 4]) { %y = reduce_mean %x {axes = [1, 2]} return y: %y }",
        "graph @e(%x: i64[2, 3]) { %y = reduce_mean %x {axes = [1]} return y: %y }",
        "graph @e(%x: bf16[2, 3]) { %y = reduce_mean %x {axes = [1]} return y: %y }"];
    REDUCE_PROD "reduce_prod" Prod "product of x; of nothing 1", [
        "graph @e(%x: f32[2, 3]) { %y = reduce_prod %x {axes = [1]} return y: %y }",
        "graph @e(%x: u8[2, 0]) { %y = reduce_prod %x {axes = [1]} return y: %y }"];
    REDUCE_MAX "reduce_max" Max
        "greatest of x, NaN if there is one; of nothing the least value of the dtype", [
        "graph @e(%x: f32[2, 3]) { %y = reduce_max %x {axes = [1]} return y: %y }",
        "graph @e(%x: i8[2, N]) {
           %y = reduce_max %x {axes = [0, 1], keepdims = false} return y: %y }",
        "graph @e(%x: bool[2, 3]) { %y = reduce_max %x {axes = [1]} return y: %y }",
        "graph @e(%x: f32[2, 0]) { %y = reduce_max %x {axes = [1]} return y: %y }"];
    REDUCE_MIN "reduce_min" Min
        "least of x, NaN if there is one; of nothing the greatest value of the dtype", [
        "graph @e(%x: f32[2, 3]) { %y = reduce_min %x {axes = [0]} return y: %y }",
        "graph @e(%x: bool[2, 3]) { %y = reduce_min %x {axes = [1]} return y: %y }",
        "graph @e(%x: u64[0, 2]) { %y = reduce_min %x {axes = [0]} return y: %y }"];
    REDUCE_L1 "reduce_l1" L1 "sum of |x|", [
        "graph @e(%x: f32[2, 3]) { %y = reduce_l1 %x {axes = [1]} return y: %y }",
        "graph @e(%x: i32[2, 3]) { %y = reduce_l1 %x {axes = []} return y: %y }"];
    REDUCE_L2 "reduce_l2" L2 "square root of the sum of x^2", [
        "graph @e(%x: f32[2, 3]) { %y = reduce_l2 %x {axes = [1]} return y: %y }",
        "graph @e(%x: i32[2, 3]) { %y = reduce_l2 %x {axes = [0]} return y: %y }"];
    REDUCE_LOG_SUM "reduce_log_sum" LogSum "logarithm of the sum of x", [
        "graph @e(%x: f32[2, 3]) {
           %a = abs %x %y = reduce_log_sum %a {axes = [1]} return y: %y }"];
    REDUCE_LOG_SUM_EXP "reduce_log_sum_exp" LogSumExp
        "logarithm of the sum of e^x, computed relative to the greatest x", [
        "graph @e(%x: f32[2, 3]) { %y = reduce_log_sum_exp %x {axes = [1]} return y: %y }",
        "graph @e(%x: f64[2, 0]) { %y = reduce_log_sum_exp %x {axes = [1]} return y: %y }"];
    REDUCE_SUM_SQUARE "reduce_sum_square" SumSquare "sum of x^2", [
        "graph @e(%x: f32[2, 3]) { %y = reduce_sum_square %x {axes = [1]} return y: %y }",
        "graph @e(%x: u32[2, 3]) { %y = reduce_sum_square %x {axes = [0, 1]} return y: %y }"];
}

/// Which axes are reduced; inference has checked them.
pub(super) fn reduced(attrs: &Attrs, rank: usize) -> Vec<bool> {
    let mut reduced = vec![false; rank];
    for &axis in attrs.ints("axes") {
        reduced[axis_of(axis, rank)] = true;
    }
    reduced
}

/// The shape without the reduced axes, or with 1 in their place.
pub(super) fn reduced_shape<T: Clone>(
    shape: &[T],
    reduced: &[bool],
    keepdims: bool,
    one: &T,
) -> Vec<T> {
    let kept = shape
        .iter()
        .zip(reduced)
        .filter_map(|(extent, &gone)| match (gone, keepdims) {
            (false, _) => Some(extent.clone()),
            (true, true) => Some(one.clone()),
            (true, false) => None,
        });
    kept.collect()
}

fn infer(ctx: &mut InferCtx<'_>, kind: Kind) -> Result<Vec<Inferred>, InferError> {
    let mut classes = vec![DTypeClass::Float, DTypeClass::Signed, DTypeClass::Unsigned];
    if matches!(kind, Kind::Max | Kind::Min) {
        classes.push(DTypeClass::Bool);
    }
    ctx.expect_class(0, &classes)?;
    let x = ctx.tensor(0)?;
    let mut seen = vec![false; x.rank()];
    for &axis in ctx.attrs.ints("axes") {
        let axis = ctx.axis(axis, x.rank())?;
        if std::mem::replace(&mut seen[axis], true) {
            return Err(InferError::Mismatch(format!("axis {axis} is given twice")));
        }
    }
    let shape = reduced_shape(&x.shape, &seen, ctx.attrs.bool("keepdims"), &Dim::new(1));
    let content = content(ctx, kind, &seen, &shape);
    Ok(vec![Inferred::tensor(x.dtype, shape).with_content(content)])
}

/// The product of a shape vector is a number of elements; models reshape by it.
fn content(ctx: &InferCtx<'_>, kind: Kind, seen: &[bool], shape: &[Dim]) -> Option<Vec<Dim>> {
    let all = ctx.content(0)?;
    if seen != [true] || shape.len() > 1 {
        return None;
    }
    match kind {
        Kind::Prod => Some(vec![all.iter().cloned().product()]),
        Kind::Sum => Some(vec![all.iter().cloned().sum()]),
        _ => None,
    }
}

fn eval(ctx: &EvalCtx<'_>, kind: Kind) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let reduced = reduced(ctx.attrs, x.rank());
    let shape = reduced_shape(x.shape(), &reduced, ctx.attrs.bool("keepdims"), &1);
    let kept = reduced_shape(x.shape(), &reduced, true, &1);
    let values = x.to_scalars();
    let mut groups: Vec<Vec<Scalar>> = vec![Vec::new(); kept.iter().product()];
    for_each_index(x.shape(), |index| {
        let group: Vec<usize> = index
            .iter()
            .zip(&reduced)
            .map(|(&at, &gone)| if gone { 0 } else { at })
            .collect();
        groups[linear(&kept, &group)].push(values[linear(x.shape(), index)]);
        Ok::<_, EvalError>(())
    })?;
    let results: Vec<Scalar> = groups
        .iter()
        .map(|group| reduce_group(kind, x.dtype(), group))
        .collect();
    Ok(vec![ctx.result(x.dtype(), &shape, &results)?])
}

fn reduce_group(kind: Kind, dtype: DType, group: &[Scalar]) -> Scalar {
    if !dtype.is_float() {
        return reduce_ints(kind, dtype, group);
    }
    let values = group.iter().map(|value| value.to_f64());
    let greatest = || {
        values.clone().fold(f64::NEG_INFINITY, |m, x| {
            if x.is_nan() || m.is_nan() {
                f64::NAN
            } else {
                m.max(x)
            }
        })
    };
    Scalar::Float(match kind {
        Kind::Sum => values.sum(),
        Kind::Mean => values.sum::<f64>() / group.len() as f64,
        Kind::Prod => values.product(),
        Kind::Max => greatest(),
        Kind::Min => values.fold(f64::INFINITY, |m, x| {
            if x.is_nan() || m.is_nan() {
                f64::NAN
            } else {
                m.min(x)
            }
        }),
        Kind::L1 => values.map(f64::abs).sum(),
        Kind::L2 => values.map(|x| x * x).sum::<f64>().sqrt(),
        Kind::LogSum => values.sum::<f64>().ln(),
        Kind::LogSumExp => {
            let shift = greatest();
            let shift = if shift.is_finite() { shift } else { 0.0 };
            values.map(|x| (x - shift).exp()).sum::<f64>().ln() + shift
        }
        Kind::SumSquare => values.map(|x| x * x).sum(),
    })
}

/// Integers wrap at each step; roots and logarithms are taken of floats and truncated.
fn reduce_ints(kind: Kind, dtype: DType, group: &[Scalar]) -> Scalar {
    let values = group.iter().filter_map(|value| value.as_int());
    let wrap = |value: i128| Scalar::Int(value).cast(dtype).as_int().unwrap_or_default();
    let sum = |values: &mut dyn Iterator<Item = i128>| values.fold(0, |s, x| wrap(s + wrap(x)));
    let (low, high) = dtype.int_range().unwrap_or((0, 0));
    let float = |value: f64| {
        Scalar::Float(value)
            .cast(dtype)
            .as_int()
            .unwrap_or_default()
    };
    Scalar::Int(match kind {
        Kind::Sum => sum(&mut values.clone()),
        Kind::Mean => sum(&mut values.clone())
            .checked_div(wrap(group.len() as i128))
            .unwrap_or(0),
        Kind::Prod => values.fold(1, |p: i128, x| wrap(p.wrapping_mul(x))),
        Kind::Max => values.max().unwrap_or(low),
        Kind::Min => values.min().unwrap_or(high),
        Kind::L1 => sum(&mut values.map(i128::abs)),
        Kind::SumSquare => sum(&mut values.map(|x| x.wrapping_mul(x))),
        Kind::L2 => float((values.map(|x| (x * x) as f64).sum::<f64>()).sqrt()),
        Kind::LogSum => float((values.sum::<i128>() as f64).ln()),
        Kind::LogSumExp => float(values.map(|x| (x as f64).exp()).sum::<f64>().ln()),
    })
}

fn lower(ctx: &LowerCtx<'_>, kind: Kind) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let x = ctx.tensor(0);
    let reduced = reduced(ctx.attrs, x.rank());
    let fold_vars = |compute: &mut Compute| fold_index(compute, &x.shape, &reduced, ctx.attrs);
    let (vars, index) = fold_vars(&mut compute);
    let value = compute.load(0, index);
    let dtype = x.dtype.compute();
    // Roots and logarithms of integers go through floats.
    let real = if dtype.is_float() { dtype } else { DType::F64 };
    let pool = &mut compute.pool;
    let result = match kind {
        Kind::Sum => pool.fold(FoldOp::Add, vars, value),
        Kind::Prod => pool.fold(FoldOp::Mul, vars, value),
        Kind::Max if dtype == DType::Bool => pool.fold(FoldOp::Or, vars, value),
        Kind::Min if dtype == DType::Bool => pool.fold(FoldOp::And, vars, value),
        Kind::Max => pool.fold(FoldOp::Max, vars, value),
        Kind::Min => pool.fold(FoldOp::Min, vars, value),
        Kind::Mean => {
            let count: Dim = x
                .shape
                .iter()
                .zip(&reduced)
                .filter(|(_, gone)| **gone)
                .map(|(n, _)| n.clone())
                .product();
            let sum = pool.fold(FoldOp::Add, vars, value);
            let count = pool.dim(count);
            let count = pool.cast(count, dtype);
            pool.div(sum, count)
        }
        Kind::L1 if x.dtype.class() == DTypeClass::Unsigned => pool.fold(FoldOp::Add, vars, value),
        Kind::L1 => {
            let magnitude = pool.unary(ScalarOp::Abs, value);
            pool.fold(FoldOp::Add, vars, magnitude)
        }
        Kind::SumSquare => {
            let square = pool.mul(value, value);
            pool.fold(FoldOp::Add, vars, square)
        }
        Kind::L2 => {
            let value = pool.cast(value, real);
            let square = pool.mul(value, value);
            let sum = pool.fold(FoldOp::Add, vars, square);
            pool.unary(ScalarOp::Sqrt, sum)
        }
        Kind::LogSum => {
            let value = pool.cast(value, real);
            let sum = pool.fold(FoldOp::Add, vars, value);
            pool.unary(ScalarOp::Log, sum)
        }
        Kind::LogSumExp => {
            let value = pool.cast(value, real);
            let greatest = pool.fold(FoldOp::Max, vars, value);
            let shift = finite_or_zero(&mut compute, greatest, real);
            let (vars, index) = fold_vars(&mut compute);
            let value = compute.load(0, index);
            let value = compute.pool.cast(value, real);
            let pool = &mut compute.pool;
            let below = pool.sub(value, shift);
            let power = pool.unary(ScalarOp::Exp, below);
            let sum = pool.fold(FoldOp::Add, vars, power);
            let log = pool.unary(ScalarOp::Log, sum);
            pool.add(log, shift)
        }
    };
    let result = compute.pool.cast(result, dtype);
    Ok(vec![compute.finish(result)])
}

/// The value, or 0 for infinities and NaN: what is taken off before powers are summed.
fn finite_or_zero(compute: &mut Compute, value: ExprId, dtype: DType) -> ExprId {
    let pool = &mut compute.pool;
    let (zero, infinity) = (pool.float(dtype, 0.0), pool.float(dtype, f64::INFINITY));
    let magnitude = pool.unary(ScalarOp::Abs, value);
    let is_finite = pool.apply(ScalarOp::Lt, &[magnitude, infinity]);
    pool.select(is_finite, value, zero)
}

/// Fresh variables for the reduced axes, and the operand's index in them and the output's.
pub(super) fn fold_index(
    compute: &mut Compute,
    shape: &[Dim],
    reduced: &[bool],
    attrs: &Attrs,
) -> (Vec<VarId>, Vec<ExprId>) {
    let (mut vars, mut index, mut output) = (Vec::new(), Vec::new(), 0);
    for (extent, &gone) in shape.iter().zip(reduced) {
        let var = match gone {
            true => compute.pool.var(extent.clone()),
            false => compute.axes[output].var,
        };
        if gone {
            vars.push(var);
        }
        if !gone || attrs.bool("keepdims") {
            output += 1;
        }
        index.push(compute.pool.var_expr(var));
    }
    (vars, index)
}
