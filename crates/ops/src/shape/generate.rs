//! Tensors made from positions and dims: `dims`, `range`, `eye`, `one_hot`.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_kernel::Compute;
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp, Shape};

use super::PLAIN;
use crate::extent::greatest;
use crate::movement::{axis_of, begin, for_each_index, known, known_extents};

/// Dims as a tensor: what a model's Shape and Size become.
pub static DIMS: OpDef = OpDef {
    name: "dims",
    summary: "the dims `values` as i64[n], or as a scalar if `scalar`",
    operands: &[],
    attrs: &[
        AttrSpec::required("values", AttrKind::Dims, "the elements"),
        AttrSpec::bool(
            "scalar",
            false,
            "the result has rank 0, and there is one value",
        ),
    ],
    traits: PLAIN,
    infer: infer_dims,
    eval: |ctx| {
        let values: Vec<Scalar> = known(ctx.attrs.dims("values"))?
            .into_iter()
            .map(|value| Scalar::Int(value.into()))
            .collect();
        let shape = [values.len()];
        let shape = if ctx.attrs.bool("scalar") {
            &shape[..0]
        } else {
            &shape[..]
        };
        Ok(vec![ctx.result(DType::I64, shape, &values)?])
    },
    lowering: Lowering::Compute(lower_dims),
    examples: &[
        "graph @e(%x: f32[N, 4]) {
           %y = dims {values = [N, 4, 2*N + 1]} return y: %y, x: %x }",
        "graph @e(%x: f32[N]) { %y = dims {values = [N], scalar = true} return y: %y, x: %x }",
        "graph @e(%x: f32[]) { %y = dims {values = []} return y: %y, x: %x }",
    ],
};

fn infer_dims(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let values = ctx.attrs.dims("values").to_vec();
    let shape: Shape = match (ctx.attrs.bool("scalar"), values.len()) {
        (true, 1) => Vec::new(),
        (true, count) => {
            return Err(InferError::Mismatch(format!("{count} values for a scalar")));
        }
        (false, count) => vec![Dim::from(count)],
    };
    Ok(vec![
        Inferred::tensor(DType::I64, shape).with_content(Some(values)),
    ])
}

fn lower_dims(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let values = ctx.attrs.dims("values");
    let index = compute.indices();
    let pool = &mut compute.pool;
    let mut value = pool.dim(values.last().cloned().unwrap_or(Dim::new(0)));
    for (k, dim) in values.iter().enumerate().rev().skip(1) {
        let (this, number) = (pool.dim(dim.clone()), pool.int(k as i64));
        let here = pool.apply(ScalarOp::Le, &[index[0], number]);
        value = pool.select(here, this, value);
    }
    Ok(vec![compute.finish(value)])
}

/// An arithmetic progression.
pub static RANGE: OpDef = OpDef {
    name: "range",
    summary: "y[i] = start + i * delta, `count` elements",
    operands: &["start", "delta"],
    attrs: &[AttrSpec::required(
        "count",
        AttrKind::Dims,
        "one dim: the number of elements",
    )],
    traits: PLAIN,
    infer: infer_range,
    eval: eval_range,
    lowering: Lowering::Compute(lower_range),
    examples: &[
        "graph @e(%s: i64[], %d: i64[]) { %y = range %s, %d {count = [5]} return y: %y }",
        "graph @e(%x: f32[N], %s: f32[], %d: f32[]) {
           %y = range %s, %d {count = [N]} %z = add %x, %y return y: %y, z: %z }",
        "graph @e(%s: i16[], %d: i16[]) { %y = range %s, %d {count = [0]} return y: %y }",
    ],
};

/// Number of elements from `start` up to (down to) but without `limit`; `None` for a step of 0.
pub fn range_count(start: &Dim, limit: &Dim, step: i64) -> Option<Dim> {
    let span = match step.signum() {
        1 => limit.clone() - start.clone(),
        -1 => start.clone() - limit.clone(),
        _ => return None,
    };
    let span = greatest(&span, &Dim::new(0));
    Some(span.ceil_div(&Dim::new(step.saturating_abs())))
}

fn infer_range(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    const CONTENT_MAX: i64 = 1024;
    let numbers = [DTypeClass::Float, DTypeClass::Signed, DTypeClass::Unsigned];
    let dtype = ctx.expect_class(0, &numbers)?;
    ctx.expect_same_dtype(0, 1)?;
    for position in 0..2 {
        let ty = ctx.tensor(position)?;
        if ty.rank() != 0 {
            return Err(InferError::Mismatch(format!(
                "operand {position} is {ty}, not a scalar"
            )));
        }
    }
    let [count] = ctx.attrs.dims("count") else {
        return Err(InferError::Mismatch("count is not one dim".to_owned()));
    };
    let content = match (ctx.content(0), ctx.content(1), count.as_const()) {
        (Some([start]), Some([delta]), Some(count)) if count <= CONTENT_MAX => Some(
            (0..count)
                .map(|k| start.clone() + delta.clone() * Dim::new(k))
                .collect(),
        ),
        _ => None,
    };
    Ok(vec![
        Inferred::tensor(dtype, vec![count.clone()]).with_content(content),
    ])
}

fn eval_range(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (start, delta) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let count = known_extents(ctx.attrs.dims("count"))?[0];
    let dtype = start.dtype();
    ctx.zeros(dtype, &[count])?;
    let values: Vec<Scalar> = match (start.get(0), delta.get(0)) {
        (Some(Scalar::Int(start)), Some(Scalar::Int(delta))) => (0..count as i128)
            .map(|k| Scalar::Int(start + k * delta))
            .collect(),
        (Some(start), Some(delta)) => {
            let (start, delta) = (start.to_f64(), delta.to_f64());
            (0..count)
                .map(|k| Scalar::Float(start + k as f64 * delta))
                .collect()
        }
        _ => return Err(EvalError::Value("start or delta is empty".to_owned())),
    };
    Ok(vec![ctx.result(dtype, &[count], &values)?])
}

fn lower_range(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let (start, delta) = (compute.load(0, Vec::new()), compute.load(1, Vec::new()));
    let position = compute.indices()[0];
    let position = compute.pool.cast(position, ctx.result(0).dtype.compute());
    let distance = compute.pool.mul(position, delta);
    let value = compute.pool.add(start, distance);
    Ok(vec![compute.finish(value)])
}

/// A matrix with ones on one diagonal.
pub static EYE: OpDef = OpDef {
    name: "eye",
    summary: "y[i, j] = 1 where j - i = k, else 0",
    operands: &[],
    attrs: &[
        AttrSpec::required("to", AttrKind::Dims, "two extents"),
        AttrSpec::int("k", 0, "the diagonal; positive is above the main one"),
        AttrSpec::required("dtype", AttrKind::DType, "dtype of the result"),
    ],
    traits: PLAIN,
    infer: infer_eye,
    eval: eval_eye,
    lowering: Lowering::Compute(lower_eye),
    examples: &[
        "graph @e(%x: f32[N]) { %y = eye {to = [N, 4], dtype = f32} return y: %y, x: %x }",
        "graph @e(%x: f32[]) { %y = eye {to = [3, 3], k = -1, dtype = i8} return y: %y, x: %x }",
        "graph @e(%x: f32[]) { %y = eye {to = [2, 0], dtype = bool} return y: %y, x: %x }",
    ],
};

fn infer_eye(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let (to, dtype) = (ctx.attrs.dims("to"), ctx.attrs.dtype("dtype"));
    if to.len() != 2 || dtype == DType::String {
        return Err(InferError::Mismatch(format!(
            "{} extents of {dtype} for a matrix",
            to.len()
        )));
    }
    Ok(vec![Inferred::tensor(dtype, to.to_vec())])
}

fn eval_eye(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (to, k) = (known_extents(ctx.attrs.dims("to"))?, ctx.attrs.int("k"));
    let dtype = ctx.attrs.dtype("dtype");
    ctx.zeros(dtype, &to)?;
    let mut values = Vec::new();
    for_each_index(&to, |index| {
        let on = index[1] as i64 - index[0] as i64 == k;
        values.push(Scalar::Int(i128::from(on)));
        Ok::<_, EvalError>(())
    })?;
    Ok(vec![ctx.result(dtype, &to, &values)?])
}

fn lower_eye(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let index = compute.indices();
    let k = compute.pool.int(ctx.attrs.int("k"));
    let above = compute.pool.sub(index[1], index[0]);
    let on = compute.pool.apply(ScalarOp::Eq, &[above, k]);
    Ok(vec![compute.finish(on)])
}

/// Indices as rows of on and off values.
pub static ONE_HOT: OpDef = OpDef {
    name: "one_hot",
    summary: "y[.., d, ..] = values[1] where indices[..] = d, else values[0]",
    operands: &["indices", "values"],
    attrs: &[
        AttrSpec::required("depth", AttrKind::Dims, "one dim: extent of the new axis"),
        AttrSpec::int("axis", -1, "position of the new axis in the result"),
    ],
    traits: PLAIN,
    infer: infer_one_hot,
    eval: eval_one_hot,
    lowering: Lowering::Compute(lower_one_hot),
    examples: &[
        "graph @e(%i: i64[2, 3], %v: f32[2]) {
           %y = one_hot %i, %v {depth = [5]} return y: %y }",
        "graph @e(%i: i32[N], %v: i8[2]) {
           %y = one_hot %i, %v {depth = [N], axis = 0} return y: %y }",
        "graph @e(%i: f32[], %v: bool[2]) {
           %y = one_hot %i, %v {depth = [4]} return y: %y }",
    ],
};

fn infer_one_hot(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(
        0,
        &[DTypeClass::Float, DTypeClass::Signed, DTypeClass::Unsigned],
    )?;
    let (indices, values) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let axis = ctx.axis(ctx.attrs.int("axis"), indices.rank() + 1)?;
    let [depth] = ctx.attrs.dims("depth") else {
        return Err(InferError::Mismatch("depth is not one dim".to_owned()));
    };
    if !matches!(values.shape.as_slice(), [two] if two.as_const().is_none_or(|n| n == 2)) {
        return Err(InferError::Mismatch(format!(
            "off and on values are {values}, not two"
        )));
    }
    let mut shape = indices.shape.clone();
    shape.insert(axis, depth.clone());
    Ok(vec![Inferred::tensor(values.dtype, shape)])
}

fn eval_one_hot(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (indices, values) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let depth = known_extents(ctx.attrs.dims("depth"))?[0];
    let axis = axis_of(ctx.attrs.int("axis"), indices.rank() + 1);
    let mut shape = indices.shape().to_vec();
    shape.insert(axis, depth);
    let hot = indices.to_scalars();
    let value = crate::movement::assemble(ctx, &[values], &shape, |index| {
        let mut own = index.to_vec();
        let place = own.remove(axis) as i128;
        let wanted = hot[crate::movement::linear(indices.shape(), &own)].cast(DType::I64);
        let wanted = wanted.as_int().unwrap_or(-1);
        let wanted = if wanted < 0 {
            wanted + depth as i128
        } else {
            wanted
        };
        Ok((0, usize::from(wanted == place)))
    })?;
    Ok(vec![value])
}

fn lower_one_hot(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let depth = ctx.attrs.dims("depth")[0].clone();
    let axis = axis_of(ctx.attrs.int("axis"), ctx.tensor(0).rank() + 1);
    let mut index = compute.indices();
    let place = index.remove(axis);
    let wanted = compute.load(0, index);
    let pool = &mut compute.pool;
    let wanted = pool.cast(wanted, DType::I64);
    let (zero, one, depth) = (pool.int(0), pool.int(1), pool.dim(depth));
    let below = pool.apply(ScalarOp::Lt, &[wanted, zero]);
    let turned = pool.add(wanted, depth);
    let wanted = pool.select(below, turned, wanted);
    let is_hot = pool.apply(ScalarOp::Eq, &[wanted, place]);
    let (off, on) = (compute.load(1, vec![zero]), compute.load(1, vec![one]));
    let value = compute.pool.select(is_hot, on, off);
    Ok(vec![compute.finish(value)])
}
