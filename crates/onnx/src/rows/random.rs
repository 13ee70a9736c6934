//! Random numbers. Without a seed, the node's name is one, so that runs can be repeated.

use alula_ir::{Attrs, OpDef};
use alula_ops::elementwise::arithmetic::{GE, LT, MIN};
use alula_ops::elementwise::choice::CAST;
use alula_ops::normalization::SOFTMAX;
use alula_ops::random::{RANDOM_NORMAL, RANDOM_UNIFORM};
use alula_ops::reduce::REDUCE_SUM;
use alula_ops::shape::CUM_SUM;
use alula_tensor::{DType, Dim};

use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "RandomNormal",
        &[1, 22],
        &["dtype", "mean", "scale", "seed", "shape"],
        |ctx| random(ctx, &RANDOM_NORMAL, None),
    ),
    row(
        "RandomNormalLike",
        &[1, 22],
        &["dtype", "mean", "scale", "seed"],
        |ctx| like(ctx, &RANDOM_NORMAL),
    ),
    row(
        "RandomUniform",
        &[1, 22],
        &["dtype", "high", "low", "seed", "shape"],
        |ctx| random(ctx, &RANDOM_UNIFORM, None),
    ),
    row(
        "RandomUniformLike",
        &[1, 22],
        &["dtype", "high", "low", "seed"],
        |ctx| like(ctx, &RANDOM_UNIFORM),
    ),
    row("Bernoulli", &[15, 22], &["dtype", "seed"], bernoulli),
    row(
        "Multinomial",
        &[7, 22],
        &["dtype", "sample_size", "seed"],
        multinomial,
    ),
];

/// The bits of the seed, or a hash of the node's name (FNV-1a).
pub(super) fn seed(ctx: &RowCtx<'_, '_>) -> i64 {
    match ctx.float("seed") {
        Some(seed) => seed.to_bits().cast_signed(),
        None => {
            let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            ctx.name()
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325, step)
                .cast_signed()
        }
    }
}

fn like(ctx: &mut RowCtx<'_, '_>, op: &'static OpDef) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    random(ctx, op, Some((ty.dtype, ty.shape)))
}

/// Numbers of the type given by attributes, else of the one that is imitated.
fn random(
    ctx: &mut RowCtx<'_, '_>,
    op: &'static OpDef,
    imitated: Option<(DType, Vec<Dim>)>,
) -> Built {
    let given = ctx.dtype("dtype")?;
    let (dtype, shape) = match imitated {
        Some((dtype, shape)) => (given.unwrap_or(dtype), shape),
        None => {
            let shape = ctx.ints("shape");
            let shape =
                shape.ok_or_else(|| RowError::Invalid("attribute shape is absent".to_owned()))?;
            (
                given.unwrap_or(DType::F32),
                shape.into_iter().map(Dim::new).collect(),
            )
        }
    };
    let mut attrs = Attrs::new()
        .with("shape", shape)
        .with("dtype", dtype)
        .with("seed", seed(ctx));
    for name in ["mean", "scale", "low", "high"] {
        if let Some(value) = ctx.float(name) {
            attrs.set(name, value);
        }
    }
    Ok(vec![ctx.push(op, &[], attrs)?])
}

/// 1 with the probability that the input holds, else 0.
fn bernoulli(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let dtype = ctx.dtype("dtype")?.unwrap_or(ty.dtype);
    let attrs = Attrs::new()
        .with("shape", ty.shape)
        .with("dtype", ty.dtype)
        .with("seed", seed(ctx));
    let drawn = ctx.push(&RANDOM_UNIFORM, &[], attrs)?;
    let is_one = ctx.push(&LT, &[drawn, x], Attrs::new())?;
    Ok(vec![ctx.push(
        &CAST,
        &[is_one],
        Attrs::new().with("to", dtype),
    )?])
}

/// Classes of each row, drawn by the logarithms of their chances: as many chances as there are
/// classes before it, summed up, are below a uniform number.
fn multinomial(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let [rows, classes] = ty.shape.as_slice() else {
        return Err(RowError::Invalid(format!("logarithms of chances {ty}")));
    };
    let dtype = ctx.dtype("dtype")?.unwrap_or(DType::I32);
    if !matches!(dtype, DType::I32 | DType::I64) {
        return Err(RowError::Invalid(format!("classes as {dtype}")));
    }
    let count = ctx.int_or("sample_size", 1);
    if count < 0 {
        return Err(RowError::Invalid(format!("sample_size {count}")));
    }
    let x = ctx.cast(x, ty.dtype.compute())?;
    let chances = ctx.push(&SOFTMAX, &[x], Attrs::new().with("axis", -1_i64))?;
    let sums = ctx.push(&CUM_SUM, &[chances], Attrs::new().with("axis", 1_i64))?;
    let sums = ctx.unsqueeze(sums, 1)?;
    let attrs = Attrs::new()
        .with("shape", vec![rows.clone(), Dim::new(count), Dim::new(1)])
        .with("dtype", ctx.ty(sums)?.dtype)
        .with("seed", seed(ctx));
    let drawn = ctx.push(&RANDOM_UNIFORM, &[], attrs)?;
    let is_above = ctx.op(&GE, &[drawn, sums])?;
    let is_above = ctx.cast(is_above, DType::I64)?;
    let class = ctx.reduce(&REDUCE_SUM, is_above, vec![2], false)?;
    // The sum of all chances may be rounded below the number.
    let last = ctx.dim(classes.clone() - Dim::new(1))?;
    let class = ctx.op(&MIN, &[class, last])?;
    Ok(vec![ctx.cast(class, dtype)?])
}
