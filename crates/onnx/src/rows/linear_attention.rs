//! `LinearAttention`: attention by a state that each token updates, as a `loop` over tokens.

use alula_ir::{Attr, Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::control::LOOP;
use alula_ops::elementwise::arithmetic::EXP;
use alula_ops::reduce::REDUCE_SUM;
use alula_tensor::{DType, Dim, Tensor, TensorType};

use super::compose::{Value, one_of};
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "LinearAttention",
    &[27],
    &[
        // A hint of how to compute, which does not change what is computed.
        "chunk_size",
        "kv_num_heads",
        "q_num_heads",
        "scale",
        "update_rule",
    ],
    linear_attention,
)];

/// `[batch, length, heads * size]` as `f32[length, batch, heads, size]`.
fn by_token(ctx: &mut RowCtx<'_, '_>, x: ValueId, heads: &Dim) -> Value {
    let ty = ctx.ty(x)?;
    let [batch, length, width] = <[Dim; 3]>::try_from(ty.shape.clone())
        .map_err(|_| RowError::Invalid(format!("{ty} has not three axes")))?;
    let size = width.floor_div(heads);
    let x = ctx.view(x, vec![batch, length, heads.clone(), size])?;
    let x = ctx.permute(x, &[1, 0, 2, 3])?;
    ctx.cast(x, wide(ty.dtype))
}

fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 {
        dtype
    } else {
        DType::F32
    }
}

/// What the loop's body reads, one slice for each token.
struct Lines {
    query: ValueId,
    key: ValueId,
    value: ValueId,
    decay: Option<ValueId>,
    beta: Option<ValueId>,
}

impl Lines {
    fn all(&self) -> Vec<ValueId> {
        let mut all = vec![self.query, self.key, self.value];
        all.extend(self.decay);
        all.extend(self.beta);
        all
    }
}

/// One token: the state after it, and the result. Slices are `[batch, heads, size]`.
fn update(
    ctx: &mut RowCtx<'_, '_>,
    state: ValueId,
    token: &Lines,
    (heads, scale): (&Dim, f64),
) -> Result<[ValueId; 2], RowError> {
    let mut state = state;
    if let Some(decay) = token.decay {
        let factor = ctx.op(&EXP, &[decay])?;
        let factor = ctx.unsqueeze(factor, 3)?;
        state = ctx.mul(state, factor)?;
    }
    let column = ctx.unsqueeze(token.key, 3)?;
    let mut value = token.value;
    if let Some(beta) = token.beta {
        let found = ctx.mul(state, column)?;
        let found = ctx.reduce(&REDUCE_SUM, found, vec![2], false)?;
        let missing = ctx.sub(value, found)?;
        value = ctx.mul(beta, missing)?;
    }
    let row = ctx.unsqueeze(value, 2)?;
    let outer = ctx.mul(column, row)?;
    state = ctx.add(state, outer)?;
    // Queries of one key head are rows of one product.
    let ty = ctx.ty(token.query)?;
    let group = ty.shape[1].floor_div(heads);
    let rows = vec![
        ty.shape[0].clone(),
        heads.clone(),
        group,
        ty.shape[2].clone(),
    ];
    let query = ctx.view(token.query, rows)?;
    let result = ctx.op(&MATMUL, &[query, state])?;
    Ok([state, ctx.times(result, scale)?])
}

fn linear_attention(ctx: &mut RowCtx<'_, '_>) -> Built {
    let rule = ctx.str_or("update_rule", "gated_delta");
    let rules = ["linear", "gated", "delta", "gated_delta"];
    let rule = one_of("update_rule", &rule, &rules)?;
    let heads = |name: &str| {
        let count = ctx.int(name).filter(|count| *count > 0).map(Dim::new);
        count.ok_or_else(|| RowError::Invalid(format!("attribute {name} is absent")))
    };
    let (q_heads, heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let dtype = wide(ty.dtype);
    let query = by_token(ctx, x, &q_heads)?;
    let (key, value) = (ctx.input(1)?, ctx.input(2)?);
    let (key, value) = (by_token(ctx, key, &heads)?, by_token(ctx, value, &heads)?);
    let decay = match rule {
        1 | 3 => {
            let decay = ctx.input(4)?;
            Some(by_token(ctx, decay, &heads)?)
        }
        _ => None,
    };
    let beta = match rule {
        2 | 3 => {
            let beta = ctx.input(5)?;
            let is_common = ctx.ty(beta)?.shape.get(2).is_some_and(|width| width.is(1));
            let own = if is_common {
                Dim::new(1)
            } else {
                heads.clone()
            };
            Some(by_token(ctx, beta, &own)?)
        }
        _ => None,
    };
    let (k_ty, v_ty) = (ctx.ty(key)?, ctx.ty(value)?);
    let (size, batch) = (k_ty.shape[3].clone(), k_ty.shape[1].clone());
    let scale = match (ctx.float_or("scale", 0.0), size.as_const()) {
        (0.0, Some(size)) => 1.0 / (size as f64).sqrt(),
        (0.0, None) => {
            return Err(RowError::Unsupported(format!(
                "keys {k_ty} of an unknown size"
            )));
        }
        (scale, _) => scale,
    };
    let state_shape = vec![batch.clone(), heads.clone(), size, v_ty.shape[3].clone()];
    let (state, state_dtype) = match ctx.optional(3) {
        Some(past) => (ctx.cast(past, dtype)?, ctx.ty(past)?.dtype),
        None => {
            let zero = ctx.scalar(dtype, 0.0)?;
            (ctx.expand(zero, state_shape.clone())?, ty.dtype)
        }
    };
    let lines = Lines {
        query,
        key,
        value,
        decay,
        beta,
    };
    let types: Vec<_> = lines
        .all()
        .into_iter()
        .map(|line| ctx.value_type(line))
        .collect();
    let (graph, captures) = ctx.in_graph("token", |ctx| {
        let at = ctx.graph().input("token", TensorType::of(DType::I64, &[]));
        ctx.graph()
            .input("goes_on", TensorType::of(DType::Bool, &[]));
        let state = ctx
            .graph()
            .input("state", TensorType::new(dtype, state_shape.clone()));
        let inputs: Vec<ValueId> = types
            .iter()
            .enumerate()
            .map(|(k, ty)| ctx.graph().input(format!("line{k}"), ty.clone()))
            .collect();
        let mut slices = Vec::new();
        for input in inputs {
            slices.push(ctx.gather(input, at, 0)?);
        }
        let mut rest = slices[3..].iter().copied();
        let token = Lines {
            query: slices[0],
            key: slices[1],
            value: slices[2],
            decay: decay.and_then(|_| rest.next()),
            beta: beta.and_then(|_| rest.next()),
        };
        let [state, result] = update(ctx, state, &token, (&heads, scale))?;
        let on = Tensor::from_bools(&[], &[true])
            .map_err(|error| RowError::Invalid(error.to_string()))?;
        let on = ctx.constant(on);
        ctx.graph().output("goes_on", on);
        ctx.graph().output("state", state);
        ctx.graph().output("result", result);
        Ok(())
    })?;
    let trips = ctx.dim(k_ty.shape[0].clone())?;
    let mut operands = vec![Some(trips), None, Some(state)];
    operands.extend(lines.all().into_iter().chain(captures).map(Some));
    let attrs = Attrs::new()
        .with("carried", 1_i64)
        .with("body", Attr::Graph(Box::new(graph)));
    let name = ctx.name().to_owned();
    let results = ctx
        .graph()
        .push_with_results(&LOOP, &operands, attrs, &name, 2)?;
    // `[length, batch, heads, group, size]`, of as many tokens as there are.
    let tokens = k_ty.shape[0].clone();
    let y = results[1];
    let y = ctx.view(
        y,
        vec![
            tokens.clone(),
            batch.clone(),
            q_heads.clone() * v_ty.shape[3].clone(),
        ],
    )?;
    let y = ctx.permute(y, &[1, 0, 2])?;
    let y = ctx.cast(y, ty.dtype)?;
    let state = ctx.cast(results[0], state_dtype)?;
    Ok(vec![y, state])
}
