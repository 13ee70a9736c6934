//! Operators that choose between values or convert them: `select`, `clip`, `cast`, `prelu`,
//! `is_inf`.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, ExprId};
use alula_tensor::{DType, DTypeClass, Dim, MiniFloat, Scalar, ScalarOp, Tensor};

use super::{broadcast_shapes, broadcast_values, map_elements};
use crate::movement::{assemble, begin, linear};

const ELEMENTWISE: Traits = Traits {
    commutative: false,
    random: false,
    elementwise: true,
    control_flow: false,
};

const NUMBERS: [DTypeClass; 3] = [DTypeClass::Float, DTypeClass::Signed, DTypeClass::Unsigned];

/// One of two values by a condition.
pub static SELECT: OpDef = OpDef {
    name: "select",
    summary: "a where cond, else b",
    operands: &["cond", "a", "b"],
    attrs: &[],
    traits: ELEMENTWISE,
    infer: infer_select,
    eval: eval_select,
    lowering: Lowering::Compute(|ctx| {
        let mut compute = begin(ctx, 0)?;
        let [cond, a, b] = [0, 1, 2].map(|k| compute.load_broadcast(k));
        let value = compute.pool.select(cond, a, b);
        Ok(vec![compute.finish(value)])
    }),
    examples: &[
        "graph @e(%c: bool[2, 1], %a: f32[3], %b: f32[]) {
           %y = select %c, %a, %b return y: %y }",
        "graph @e(%c: bool[], %a: i64[N, 2], %b: i64[N, 2]) {
           %y = select %c, %a, %b return y: %y }",
        "graph @e(%c: bool[0], %a: f16[1], %b: f16[1]) {
           %y = select %c, %a, %b return y: %y }",
    ],
};

fn infer_select(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(0, &[DTypeClass::Bool])?;
    let dtype = ctx.expect_same_dtype(1, 2)?;
    let shapes = [
        &ctx.tensor(0)?.shape,
        &ctx.tensor(1)?.shape,
        &ctx.tensor(2)?.shape,
    ];
    let shape = broadcast_shapes(&shapes)?;
    let content = select_content(ctx, shape.len());
    Ok(vec![Inferred::tensor(dtype, shape).with_content(content)])
}

fn select_content(ctx: &InferCtx<'_>, rank: usize) -> Option<Vec<Dim>> {
    let (cond, a, b) = (ctx.const_ints(0)?, ctx.content(1)?, ctx.content(2)?);
    let count = if rank == 0 {
        1
    } else {
        *[cond.len(), a.len(), b.len()].iter().max()?
    };
    let fits = |len: usize| len == 1 || len == count;
    if rank > 1 || !fits(cond.len()) || !fits(a.len()) || !fits(b.len()) {
        return None;
    }
    let pick = |k: usize| {
        if cond[k % cond.len()] != 0 {
            &a[k % a.len()]
        } else {
            &b[k % b.len()]
        }
    };
    Some((0..count).map(|k| pick(k).clone()).collect())
}

fn eval_select(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (cond, a, b) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    // The shape comes from broadcasting a map of the conditions; elements move as they are.
    let shapes = [cond, a, b].map(|t| Tensor::zeros(DType::Bool, t.shape()));
    let [x, y, z] = shapes.map(|t| t.map(HostValue::from));
    let (x, y, z) = (x?, y?, z?);
    let shape_ctx = EvalCtx {
        attrs: ctx.attrs,
        operands: vec![Some(&x), Some(&y), Some(&z)],
        results: Vec::new(),
        bytes_max: ctx.bytes_max,
        run_graph: ctx.run_graph,
    };
    let shaped = map_elements(&shape_ctx, DType::Bool, |all| all[0])?;
    let shape = shaped[0]
        .as_tensor()
        .map_or(&[][..], Tensor::shape)
        .to_vec();
    let chosen = broadcast_values(cond, &shape);
    let value = assemble(ctx, &[a, b], &shape, |index| {
        let source = usize::from(!chosen[linear(&shape, index)].is_true());
        let from = [a, b][source].shape();
        let own: Vec<usize> = index[shape.len() - from.len()..]
            .iter()
            .zip(from)
            .map(|(&at, &extent)| if extent == 1 { 0 } else { at })
            .collect();
        Ok((source, linear(from, &own)))
    })?;
    Ok(vec![value])
}

/// Values between bounds.
pub static CLIP: OpDef = OpDef {
    name: "clip",
    summary: "min(max(x, lo), hi); an absent bound does not bind",
    operands: &["x", "lo?", "hi?"],
    attrs: &[],
    traits: ELEMENTWISE,
    infer: infer_clip,
    eval: eval_clip,
    lowering: Lowering::Compute(lower_clip),
    examples: &[
        "graph @e(%x: f32[2, 3], %l: f32[], %h: f32[]) {
           %y = clip %x, %l, %h return y: %y }",
        "graph @e(%x: i8[N], %h: i8[]) { %y = clip %x, _, %h return y: %y }",
        "graph @e(%x: f16[], %l: f16[1]) { %y = clip %x, %l return y: %y }",
        "graph @e(%x: f64[2, 0]) { %y = clip %x return y: %y }",
    ],
};

fn infer_clip(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(0, &NUMBERS)?;
    let x = ctx.tensor(0)?;
    for position in 1..ctx.len() {
        if ctx.has(position) {
            ctx.expect_same_dtype(0, position)?;
            let bound = ctx.tensor(position)?;
            if bound.rank() > 1 || !bound.num_elements().is(1) {
                return Err(InferError::Mismatch(format!(
                    "a bound is {bound}, not one number"
                )));
            }
        }
    }
    Ok(vec![Inferred::tensor(x.dtype, x.shape.clone())])
}

fn eval_clip(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let bound = |k: usize| ctx.optional(k).and_then(|t| t.get(0));
    let (low, high) = (bound(1), bound(2));
    let dtype = x.dtype().compute();
    let values: Vec<Scalar> = x
        .to_scalars()
        .into_iter()
        .map(|x| low.map_or(x, |low| ScalarOp::Max.eval(dtype, &[x, low])))
        .map(|x| high.map_or(x, |high| ScalarOp::Min.eval(dtype, &[x, high])))
        .collect();
    Ok(vec![ctx.result(x.dtype(), x.shape(), &values)?])
}

fn lower_clip(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let index = compute.indices();
    let mut value = compute.load(0, index);
    for (position, op) in [(1, ScalarOp::Max), (2, ScalarOp::Min)] {
        if ctx.has(position) {
            let at = vec![compute.pool.int(0); ctx.tensor(position).rank()];
            let bound = compute.load(ctx.present(position), at);
            value = compute.pool.apply(op, &[value, bound]);
        }
    }
    Ok(vec![compute.finish(value)])
}

/// Conversion between dtypes.
pub static CAST: OpDef = OpDef {
    name: "cast",
    summary: "x as `to`: floats round to even, floats to integers truncate and saturate, \
              (below 8 bits: wrap), integers wrap, anything to bool is `!= 0`",
    operands: &["x"],
    attrs: &[
        AttrSpec::required("to", AttrKind::DType, "dtype of the result"),
        AttrSpec::bool(
            "saturate",
            true,
            "to 8-bit floats: overflow gives the greatest value",
        ),
    ],
    traits: ELEMENTWISE,
    infer: infer_cast,
    eval: eval_cast,
    lowering: Lowering::Compute(lower_cast),
    examples: &[
        "graph @e(%x: f32[2, 3]) { %y = cast %x {to = i8} return y: %y }",
        "graph @e(%x: i64[N]) { %y = cast %x {to = f16} return y: %y }",
        "graph @e(%x: f32[4]) {
           %k = const f32[] [1000.0] %s = mul %x, %k
           %y = cast %s {to = f8e4m3fn} %z = cast %s {to = f8e5m2, saturate = false}
           return y: %y, z: %z }",
        "graph @e(%x: bool[]) { %y = cast %x {to = bf16} return y: %y }",
        "graph @e(%x: f32[4]) {
           %k = const f32[] [9.0] %s = mul %x, %k %y = cast %s {to = i4} return y: %y }",
        "graph @e(%x: f64[0]) { %y = cast %x {to = bool} return y: %y }",
    ],
};

fn infer_cast(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let (x, to) = (ctx.tensor(0)?, ctx.attrs.dtype("to"));
    let fits = |dim: &Dim| match (dim.as_const(), to.int_range()) {
        (Some(value), Some((low, high))) => (low..=high).contains(&i128::from(value)),
        // Extents fit 32 bits in practice, and a wrapped one would be refused by its sign.
        (None, Some(_)) => matches!(to, DType::I32 | DType::I64),
        (_, None) => false,
    };
    let truth = |dim: &Dim| Some(Dim::new(i64::from(dim.as_const()? != 0)));
    let content = match ctx.content(0) {
        Some(dims) if to == DType::Bool && x.dtype != DType::Bool => {
            dims.iter().map(truth).collect()
        }
        Some(dims) if dims.iter().all(fits) => Some(dims.to_vec()),
        _ => None,
    };
    Ok(vec![
        Inferred::tensor(to, x.shape.clone()).with_content(content),
    ])
}

/// The greatest finite value that a saturating cast to this dtype gives.
fn saturation(attrs: &alula_ir::Attrs) -> Option<f64> {
    let to = attrs.dtype("to");
    let is_small = to.is_float() && to.bits() <= 8;
    let format = MiniFloat::of(to).filter(|_| is_small && attrs.bool("saturate"))?;
    Some(format.decode(format.encode(f64::MAX, true)))
}

fn eval_cast(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, to) = (ctx.tensor(0)?, ctx.attrs.dtype("to"));
    if x.dtype() == to {
        return Ok(vec![x.clone().into()]);
    }
    if to == DType::String {
        let strings = x
            .to_scalars()
            .into_iter()
            .map(|value| text(value, x.dtype()))
            .collect();
        return Ok(vec![Tensor::from_strings(x.shape(), strings)?.into()]);
    }
    let values = match x.strings() {
        Some(strings) => strings
            .iter()
            .map(|text| number(text, to))
            .collect::<Result<Vec<_>, _>>()?,
        None => x.to_scalars(),
    };
    let limit = saturation(ctx.attrs);
    let clamp = |value: Scalar| match (value, limit) {
        (Scalar::Float(value), Some(limit)) => Scalar::Float(value.clamp(-limit, limit)),
        (value, _) => value,
    };
    let narrow = |value: Scalar| {
        if is_narrow_integer(to) {
            value.cast(DType::I32)
        } else {
            value
        }
    };
    let values: Vec<Scalar> = values.into_iter().map(clamp).map(narrow).collect();
    Ok(vec![ctx.result(to, x.shape(), &values)?])
}

/// Integers of less than a byte keep the low bits of the truncated float, as ONNX's data has it.
fn is_narrow_integer(to: DType) -> bool {
    to.is_integer() && to.bits() < 8
}

/// A number as text: the shortest that reads back.
pub(crate) fn text(value: Scalar, dtype: DType) -> String {
    match value {
        Scalar::Int(value) if dtype == DType::Bool => {
            if value == 0 { "False" } else { "True" }.to_owned()
        }
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) if value.is_nan() => "NaN".to_owned(),
        Scalar::Float(value) if value.is_infinite() => {
            if value > 0.0 { "INF" } else { "-INF" }.to_owned()
        }
        Scalar::Float(value) if dtype == DType::F64 => value.to_string(),
        Scalar::Float(value) => (value as f32).to_string(),
    }
}

/// The number that text spells.
pub(crate) fn number(text: &str, to: DType) -> Result<Scalar, EvalError> {
    let trimmed = text.trim();
    if to.is_integer()
        && let Ok(value) = trimmed.parse::<i128>()
    {
        return Ok(Scalar::Int(value));
    }
    // Rounded once.
    let value = match to {
        DType::F32 => trimmed.parse::<f32>().map(f64::from),
        _ => trimmed.parse::<f64>(),
    };
    let value = value.map_err(|_| EvalError::Value(format!("{text:?} is no number")))?;
    Ok(Scalar::Float(value))
}

fn lower_cast(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let to = ctx.attrs.dtype("to");
    if to == DType::String {
        return Err(LowerError::Unsupported(
            "cast to strings in a kernel".to_owned(),
        ));
    }
    let mut compute = begin(ctx, 0)?;
    let mut value = compute.load_broadcast(0);
    if let Some(limit) = saturation(ctx.attrs)
        && ctx.tensor(0).dtype.is_float()
    {
        let dtype = compute.pool.dtype(value);
        let (low, high) = (
            compute.pool.float(dtype, -limit),
            compute.pool.float(dtype, limit),
        );
        value = compute.pool.apply(ScalarOp::Max, &[value, low]);
        value = compute.pool.apply(ScalarOp::Min, &[value, high]);
    }
    if is_narrow_integer(to) && ctx.tensor(0).dtype.is_float() {
        value = compute.pool.cast(value, DType::I32);
    }
    Ok(vec![compute.finish(value)])
}

/// A slope below zero that is an operand.
pub static PRELU: OpDef = OpDef {
    name: "prelu",
    summary: "x where it is not negative, else slope * x; slope broadcasts to x",
    operands: &["x", "slope"],
    attrs: &[],
    traits: ELEMENTWISE,
    infer: infer_prelu,
    eval: |ctx| {
        let dtype = ctx.tensor(0)?.dtype();
        map_elements(ctx, dtype, |v| {
            match ScalarOp::Lt.eval(dtype, &[v[0], zero(dtype)]).is_true() {
                true => ScalarOp::Mul.eval(dtype.compute(), v),
                false => v[0],
            }
        })
    },
    lowering: Lowering::Compute(lower_prelu),
    examples: &[
        "graph @e(%x: f32[2, 3, 4], %s: f32[3, 1]) { %y = prelu %x, %s return y: %y }",
        "graph @e(%x: i32[N, 2], %s: i32[2]) { %y = prelu %x, %s return y: %y }",
    ],
};

fn zero(dtype: DType) -> Scalar {
    Scalar::Int(0).cast(dtype)
}

fn infer_prelu(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(0, &NUMBERS)?;
    let dtype = ctx.expect_same_dtype(0, 1)?;
    let (x, slope) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let shape = broadcast_shapes(&[&x.shape, &slope.shape])?;
    if shape.len() != x.rank() {
        return Err(InferError::Mismatch(format!(
            "slope {slope} does not broadcast to {x}"
        )));
    }
    Ok(vec![Inferred::tensor(dtype, shape)])
}

fn lower_prelu(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let (x, slope) = (compute.load_broadcast(0), compute.load_broadcast(1));
    let pool = &mut compute.pool;
    let none = pool.constant(pool.dtype(x), Scalar::Int(0));
    let below = pool.apply(ScalarOp::Lt, &[x, none]);
    let scaled = pool.mul(slope, x);
    let value = pool.select(below, scaled, x);
    Ok(vec![compute.finish(value)])
}

/// Whether an element is an infinity.
pub static IS_INF: OpDef = OpDef {
    name: "is_inf",
    summary: "whether x is an infinity of one of the signs asked for",
    operands: &["x"],
    attrs: &[
        AttrSpec::bool("negative", true, "minus infinity counts"),
        AttrSpec::bool("positive", true, "plus infinity counts"),
    ],
    traits: ELEMENTWISE,
    infer: |ctx| {
        ctx.expect_class(0, &[DTypeClass::Float])?;
        Ok(vec![Inferred::tensor(
            DType::Bool,
            ctx.tensor(0)?.shape.clone(),
        )])
    },
    eval: |ctx| {
        let (negative, positive) = (ctx.attrs.bool("negative"), ctx.attrs.bool("positive"));
        map_elements(ctx, DType::Bool, |v| {
            let x = v[0].to_f64();
            let counts = (positive && x == f64::INFINITY) || (negative && x == f64::NEG_INFINITY);
            Scalar::Int(i128::from(counts))
        })
    },
    lowering: Lowering::Compute(lower_is_inf),
    examples: &[
        "graph @e(%x: f32[2]) {
           %z = const f32[] [0.0] %q = div %x, %z %y = is_inf %q {negative = false}
           %w = is_inf %q {positive = false} %v = is_inf %q return y: %y, w: %w, v: %v }",
        "graph @e(%x: f16[N]) {
           %y = is_inf %x {positive = false, negative = false} return y: %y }",
    ],
};

fn lower_is_inf(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let x = compute.load_broadcast(0);
    let pool = &mut compute.pool;
    let dtype = pool.dtype(x);
    let sign = |pool: &mut alula_kernel::Pool, op: ScalarOp| -> ExprId {
        let none = pool.float(dtype, 0.0);
        let is_inf = pool.unary(ScalarOp::IsInf, x);
        let side = pool.apply(op, &[x, none]);
        pool.apply(ScalarOp::And, &[is_inf, side])
    };
    let value = match (ctx.attrs.bool("negative"), ctx.attrs.bool("positive")) {
        (true, true) => pool.unary(ScalarOp::IsInf, x),
        (true, false) => sign(pool, ScalarOp::Lt),
        (false, true) => sign(pool, ScalarOp::Gt),
        (false, false) => pool.boolean(false),
    };
    Ok(vec![compute.finish(value)])
}

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&CAST, &CLIP, &IS_INF, &PRELU, &SELECT];
