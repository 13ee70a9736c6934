//! `attention`: values weighed by the softmax of scaled products of queries and keys.

use alula_ir::{
    AttrSpec, Attrs, EvalCtx, EvalError, Graph, GraphError, HostValue, InferCtx, InferError,
    Inferred, Lowering, NodeId, OpDef, Traits, ValueId,
};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, Shape, Tensor, TensorType};

use crate::contraction::MATMUL;
use crate::elementwise::arithmetic::{ADD, IS_NAN, MUL};
use crate::elementwise::choice::SELECT;
use crate::elementwise::{broadcast_shapes, broadcast_values};
use crate::normalization::SOFTMAX;

/// `y = softmax(mask(scale * q k^T)) v` over the last two axes; the axes before broadcast.
///
/// `q` is `[.., m, d]`, `k` is `[.., t, d]` (`[.., d, t]` with `transpose_k`), `v` is `[.., t, e]`
/// and `y` is `[.., m, e]`, all of one floating-point dtype. A mask broadcasts to the scores
/// `[.., m, t]` or they to it. One of the scores' dtype is added. One of `bool` keeps the scores
/// where it is true and puts `fill` elsewhere, with `hides` the other way round. A row of which
/// all scores are `-inf` has weights that are NaN, and gives 0 with `guards`.
pub static ATTENTION: OpDef = OpDef {
    name: "attention",
    summary: "y = softmax(mask(scale * q k^T)) v over the last two axes",
    operands: &["q", "k", "v", "mask?"],
    attrs: &[
        AttrSpec::float("scale", 1.0, "factor of the scores"),
        AttrSpec::bool("transpose_k", false, "k is given as [.., d, t]"),
        AttrSpec::bool("hides", false, "a mask of bools is true where fill goes"),
        AttrSpec::float("fill", f64::NEG_INFINITY, "score of what a mask hides"),
        AttrSpec::bool("guards", false, "weights that are NaN count as 0"),
    ],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compose(compose),
    examples: &[
        "graph @e(%q: f32[2, 3, 4], %k: f32[2, 5, 4], %v: f32[2, 5, 6]) {
           %y = attention %q, %k, %v {scale = 0.5} return y: %y }",
        "graph @e(%q: f32[2, 3, S, 4], %k: f32[2, 1, 4, T], %v: f32[1, T, 4], %m: f32[S, T]) {
           %y = attention %q, %k, %v, %m {scale = 0.5, transpose_k = true} return y: %y }",
        "graph @e(%q: f64[3, 4], %k: f64[5, 4], %v: f64[5, 2], %m: bool[2, 1, 5]) {
           %y = attention %q, %k, %v, %m {fill = -100.0} return y: %y }",
        "graph @e(%q: f32[3, 4], %k: f32[3, 4], %v: f32[3, 4], %m: bool[3, 3]) {
           %y = attention %q, %k, %v, %m {fill = -100.0, hides = true} return y: %y }",
        "graph @e(%q: f32[2, 4], %k: f32[2, 4], %v: f32[2, 3]) {
           %m = const bool[2, 2] [true, false, false, false]
           %y = attention %q, %k, %v, %m {guards = true} return y: %y }",
    ],
};

/// Extents of the scores, and of the result.
fn shapes(ctx: &InferCtx<'_>) -> Result<(Shape, Shape), InferError> {
    let (q, k, v) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    let matrices = [q, k, v];
    if matrices.iter().any(|ty| ty.rank() < 2) {
        return Err(InferError::Mismatch(format!(
            "matrices are needed, not {q}, {k} and {v}"
        )));
    }
    let from_end = |ty: &TensorType, back: usize| ty.shape[ty.rank() - back].clone();
    let (keys, size) = match ctx.attrs.bool("transpose_k") {
        true => (from_end(k, 1), from_end(k, 2)),
        false => (from_end(k, 2), from_end(k, 1)),
    };
    let differ = |a: &Dim, b: &Dim| a != b && a.as_const().is_some() && b.as_const().is_some();
    if differ(&size, &from_end(q, 1)) || differ(&keys, &from_end(v, 2)) {
        return Err(InferError::Mismatch(format!(
            "queries {q} do not meet keys {k} and values {v}"
        )));
    }
    let batch = |ty: &TensorType| ty.shape[..ty.rank() - 2].to_vec();
    let mut scores = broadcast_shapes(&[&batch(q), &batch(k)])?;
    scores.extend([from_end(q, 2), keys]);
    if ctx.has(3) {
        scores = broadcast_shapes(&[&scores, &ctx.tensor(3)?.shape])?;
    }
    let rank = scores.len();
    let mut result = broadcast_shapes(&[&scores[..rank - 2].to_vec(), &batch(v)])?;
    result.extend([scores[rank - 2].clone(), from_end(v, 1)]);
    Ok((scores, result))
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    ctx.expect_same_dtype(0, 1)?;
    ctx.expect_same_dtype(0, 2)?;
    if ctx.has(3) && ctx.tensor(3)?.dtype != DType::Bool {
        ctx.expect_same_dtype(0, 3)?;
    }
    Ok(vec![Inferred::tensor(dtype, shapes(ctx)?.1)])
}

/// Extents that broadcast to a result's, at the last axes with these two.
fn spread(tensor: &Tensor, batch: &[usize], matrix: [usize; 2]) -> Vec<f64> {
    let shape = [batch, &matrix].concat();
    let values = broadcast_values(tensor, &shape);
    values.into_iter().map(Scalar::to_f64).collect()
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (q, k, v) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    let turned = ctx.attrs.bool("transpose_k");
    let from_end = |tensor: &Tensor, back: usize| tensor.shape()[tensor.rank() - back];
    let (size, values_size) = (from_end(q, 1), from_end(v, 1));
    let (keys, own_size) = match turned {
        true => (from_end(k, 1), from_end(k, 2)),
        false => (from_end(k, 2), from_end(k, 1)),
    };
    if size != own_size || keys != from_end(v, 2) {
        return Err(EvalError::Value(format!(
            "queries of {size} meet keys of {own_size}, {keys} keys meet {} values",
            from_end(v, 2)
        )));
    }
    let Some(shape) = ctx.results[0]
        .as_tensor()
        .and_then(TensorType::static_shape)
    else {
        return Err(EvalError::Value("an extent is not known".to_owned()));
    };
    let (batch, rows) = (&shape[..shape.len() - 2], shape[shape.len() - 2]);
    let keys_as_given = if turned { [size, keys] } else { [keys, size] };
    let queries = spread(q, batch, [rows, size]);
    let (all_keys, values) = (
        spread(k, batch, keys_as_given),
        spread(v, batch, [keys, values_size]),
    );
    let mask = ctx.optional(3);
    let masks = mask.map(|mask| spread(mask, batch, [rows, keys]));
    let (scale, fill) = (ctx.attrs.float("scale"), ctx.attrs.float("fill"));
    let hides = f64::from(ctx.attrs.bool("hides"));
    let guards = ctx.attrs.bool("guards");
    let mut result = Vec::with_capacity(shape.iter().product());
    for row in 0..batch.iter().product::<usize>() * rows {
        let at = row / rows;
        let mut scores = Vec::with_capacity(keys);
        for key in 0..keys {
            let product = |inner: usize| {
                let place = match turned {
                    true => inner * keys + key,
                    false => key * size + inner,
                };
                queries[row * size + inner] * all_keys[at * size * keys + place]
            };
            let score = scale * (0..size).map(product).sum::<f64>();
            scores.push(match (&masks, mask.map(Tensor::dtype)) {
                (Some(masks), Some(DType::Bool)) if masks[row * keys + key] == hides => fill,
                (Some(masks), Some(dtype)) if dtype != DType::Bool => {
                    score + masks[row * keys + key]
                }
                _ => score,
            });
        }
        let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = scores
            .iter()
            .map(|score| (score - greatest).exp())
            .collect();
        let sum: f64 = powers.iter().sum();
        for column in 0..values_size {
            let weighed = |(key, power): (usize, &f64)| {
                let weight = power / sum;
                let weight = if guards && weight.is_nan() {
                    0.0
                } else {
                    weight
                };
                weight * values[(at * keys + key) * values_size + column]
            };
            let value = powers.iter().enumerate().map(weighed).sum();
            result.push(Scalar::Float(value));
        }
    }
    Ok(vec![ctx.result(q.dtype(), &shape, &result)?])
}

/// Two products with a softmax between them. Scale and mask become the epilogue of the first.
fn compose(graph: &mut Graph, id: NodeId) -> Result<Vec<ValueId>, GraphError> {
    let node = graph.node(id).clone();
    let (attrs, name) = (&node.attrs, node.name.as_str());
    let operand = |position: usize| node.operands.get(position).copied().flatten();
    let (Some(q), Some(k), Some(v)) = (operand(0), operand(1), operand(2)) else {
        panic!("an attention has queries, keys and values");
    };
    let dtype = graph.ty(q).as_tensor().map_or(DType::F32, |ty| ty.dtype);
    let turned = Attrs::new().with("transpose_b", !attrs.bool("transpose_k"));
    let mut scores = graph.apply(&MATMUL, &[q, k], turned, name)?;
    let scale = attrs.float("scale");
    if scale != 1.0 {
        let scale = graph.constant(scalar(dtype, scale));
        scores = graph.apply(&MUL, &[scores, scale], Attrs::new(), name)?;
    }
    if let Some(mask) = operand(3) {
        let is_bool = graph
            .ty(mask)
            .as_tensor()
            .is_some_and(|ty| ty.dtype == DType::Bool);
        scores = if is_bool {
            let fill = graph.constant(scalar(dtype, attrs.float("fill")));
            let sides = match attrs.bool("hides") {
                true => [mask, fill, scores],
                false => [mask, scores, fill],
            };
            graph.apply(&SELECT, &sides, Attrs::new(), name)?
        } else {
            graph.apply(&ADD, &[scores, mask], Attrs::new(), name)?
        };
    }
    let mut weights = graph.apply(&SOFTMAX, &[scores], Attrs::new(), name)?;
    if attrs.bool("guards") {
        let none = graph.apply(&IS_NAN, &[weights], Attrs::new(), name)?;
        let zero = graph.constant(scalar(dtype, 0.0));
        weights = graph.apply(&SELECT, &[none, zero, weights], Attrs::new(), name)?;
    }
    Ok(vec![graph.apply(
        &MATMUL,
        &[weights, v],
        Attrs::new(),
        name,
    )?])
}

fn scalar(dtype: DType, value: f64) -> Tensor {
    let tensor = Tensor::from_scalars(dtype, &[], &[Scalar::Float(value)]);
    tensor.expect("one value fills a scalar")
}
