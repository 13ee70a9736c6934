//! Random numbers. Without a seed, the node's name is one, so that runs can be repeated.

use alula_ir::{Attrs, OpDef};
use alula_ops::elementwise::arithmetic::LT;
use alula_ops::elementwise::choice::CAST;
use alula_ops::random::{RANDOM_NORMAL, RANDOM_UNIFORM};
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
