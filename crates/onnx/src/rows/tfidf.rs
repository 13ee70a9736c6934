//! `TfIdfVectorizer` of integers: how often each of a pool of n-grams occurs in a row.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{AND, EQ, GT};
use alula_ops::indexing::SCATTER_ELEMENTS;
use alula_ops::reduce::REDUCE_SUM;
use alula_tensor::{DType, Dim, Tensor};

use super::compose::{Value, one_of};
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "TfIdfVectorizer",
    &[9],
    &[
        "max_gram_length",
        "max_skip_count",
        "min_gram_length",
        "mode",
        "ngram_counts",
        "ngram_indexes",
        "pool_int64s",
        "weights",
    ],
    vectorize,
)];

/// The n-grams of one length.
struct Pool {
    length: usize,
    /// One after the other.
    items: Vec<i64>,
    /// Where each is counted, and its number among all.
    places: Vec<(i64, usize)>,
}

fn pools(ctx: &RowCtx<'_, '_>) -> Result<Vec<Pool>, RowError> {
    let list = |name: &str| {
        let list = ctx.ints(name);
        list.ok_or_else(|| RowError::Invalid(format!("attribute {name} is absent")))
    };
    let (starts, places) = (list("ngram_counts")?, list("ngram_indexes")?);
    let items = ctx
        .ints("pool_int64s")
        .ok_or_else(|| RowError::Unsupported("n-grams of strings".to_owned()))?;
    let wrong = || RowError::Invalid(format!("ngram_counts {starts:?} of {} items", items.len()));
    let mut pools = Vec::new();
    let mut number = 0;
    for (k, &start) in starts.iter().enumerate() {
        let end = starts.get(k + 1).copied().unwrap_or(items.len() as i64);
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let own = range
            .and_then(|(start, end)| items.get(start..end))
            .ok_or_else(wrong)?;
        let length = k + 1;
        if !own.len().is_multiple_of(length) {
            return Err(wrong());
        }
        let count = own.len() / length;
        let own_places = places.get(number..number + count).ok_or_else(wrong)?;
        let numbered = own_places.iter().copied().zip(number..number + count);
        pools.push(Pool {
            length,
            items: own.to_vec(),
            places: numbered.collect(),
        });
        number += count;
    }
    Ok(pools)
}

/// How often each n-gram of a pool occurs, `f32[rows, n-grams]`, its items `skip` apart.
fn counts(
    ctx: &mut RowCtx<'_, '_>,
    x: ValueId,
    pool: &Pool,
    skip: i64,
) -> Result<Option<ValueId>, RowError> {
    let shape = ctx.ty(x)?.shape;
    let Some(columns) = shape[1].as_const() else {
        return Err(RowError::Unsupported(format!("rows of {} items", shape[1])));
    };
    let step = skip + 1;
    let windows = columns - (pool.length as i64 - 1) * step;
    if windows <= 0 {
        return Ok(None);
    }
    let mut all: Option<ValueId> = None;
    let count = pool.items.len() / pool.length;
    for k in 0..pool.length {
        let items: Vec<i64> = pool
            .items
            .iter()
            .copied()
            .skip(k)
            .step_by(pool.length)
            .collect();
        let wanted = ctx.list(&items);
        let begin = k as i64 * step;
        let found = ctx.part(x, 1, Dim::new(begin), Dim::new(begin + windows))?;
        let found = ctx.unsqueeze(found, 2)?;
        let is_same = ctx.op(&EQ, &[found, wanted])?;
        all = Some(match all {
            Some(all) => ctx.op(&AND, &[all, is_same])?,
            None => is_same,
        });
    }
    let Some(all) = all.filter(|_| count > 0) else {
        return Ok(None);
    };
    let number = ctx.cast(all, DType::F32)?;
    Ok(Some(ctx.reduce(&REDUCE_SUM, number, vec![1], false)?))
}

fn vectorize(ctx: &mut RowCtx<'_, '_>) -> Built {
    let required = |name: &str| {
        let value = ctx.int(name).and_then(|value| usize::try_from(value).ok());
        value.ok_or_else(|| RowError::Invalid(format!("attribute {name} is absent or negative")))
    };
    let (least, greatest) = (required("min_gram_length")?, required("max_gram_length")?);
    let skips = required("max_skip_count")? as i64;
    let mode = ctx.str_or("mode", "");
    let mode = one_of("mode", &mode, &["TF", "IDF", "TFIDF"])?;
    let weights = ctx.floats("weights");
    let pools = pools(ctx)?;
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    if ty.dtype == DType::String {
        return Err(RowError::Unsupported("n-grams of strings".to_owned()));
    }
    let rows = match ty.rank() {
        1 => ctx.unsqueeze(x, 0)?,
        2 => x,
        _ => {
            return Err(RowError::Invalid(format!(
                "{ty} has neither one nor two axes"
            )));
        }
    };
    let rows = ctx.cast(rows, DType::I64)?;
    let lines = ctx.ty(rows)?.shape[0].clone();
    let places = pools.iter().flat_map(|pool| &pool.places);
    let width = places.map(|(place, _)| place + 1).max().unwrap_or(0);
    let zero = ctx.scalar(DType::F32, 0.0)?;
    let mut y = ctx.expand(zero, vec![lines.clone(), Dim::new(width)])?;
    for pool in pools
        .iter()
        .filter(|pool| (least..=greatest).contains(&pool.length))
    {
        let mut sum: Option<ValueId> = None;
        // Single items have no distance.
        let last = if pool.length == 1 { 0 } else { skips };
        for skip in 0..=last {
            if let Some(own) = counts(ctx, rows, pool, skip)? {
                sum = Some(match sum {
                    Some(sum) => ctx.add(sum, own)?,
                    None => own,
                });
            }
        }
        let Some(mut sum) = sum else { continue };
        if mode > 0 {
            sum = weighted(ctx, sum, pool, weights.as_deref(), mode == 1)?;
        }
        let places: Vec<i64> = pool.places.iter().map(|(place, _)| *place).collect();
        let at = ctx.list(&places);
        let at = ctx.expand(at, vec![lines.clone(), Dim::from(places.len())])?;
        let attrs = Attrs::new()
            .with("axis", 1_i64)
            .with("reduction", "add".to_owned());
        y = ctx.push(&SCATTER_ELEMENTS, &[y, at, sum], attrs)?;
    }
    if ty.rank() == 1 {
        y = ctx.view(y, vec![Dim::new(width)])?;
    }
    Ok(vec![y])
}

/// Counts, or whether there are any, times the weight of each n-gram.
fn weighted(
    ctx: &mut RowCtx<'_, '_>,
    counts: ValueId,
    pool: &Pool,
    weights: Option<&[f64]>,
    only_whether: bool,
) -> Value {
    let mut value = counts;
    if only_whether {
        let zero = ctx.number(counts, 0.0)?;
        let occurs = ctx.op(&GT, &[counts, zero])?;
        value = ctx.cast(occurs, DType::F32)?;
    }
    let Some(weights) = weights else {
        return Ok(value);
    };
    let own: Option<Vec<f32>> = pool
        .places
        .iter()
        .map(|(_, number)| weights.get(*number).map(|weight| *weight as f32))
        .collect();
    let own = own.ok_or_else(|| RowError::Invalid("weights are fewer than n-grams".to_owned()))?;
    let own = Tensor::from_slice(&[own.len()], &own);
    let own = own.map_err(|error| RowError::Invalid(error.to_string()))?;
    let own = ctx.constant(own);
    ctx.mul(value, own)
}
