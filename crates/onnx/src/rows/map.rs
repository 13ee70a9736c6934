//! Maps: made of scores by `ZipMap`, and made tensors by `CastMap` and `DictVectorizer`.
//!
//! A map comes apart into keys and values as soon as it is read; the rest is done with those.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{GE, LT, OR};
use alula_ops::host_ops::{LOOKUP, MAP_ENTRIES, STRING_FORMAT, STRING_PARSE, ZIP_MAPS, map_of};
use alula_tensor::{DType, Dim, Tensor};

use super::compose::{Value, one_of};
use super::ml::row;
use super::regressor::invalid;
use super::{Built, Row, RowCtx, RowError};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "ZipMap",
        &[1],
        &["classlabels_int64s", "classlabels_strings"],
        zip_map,
    ),
    row(
        "CastMap",
        &[1],
        &["cast_to", "map_form", "max_map"],
        cast_map,
    ),
    row(
        "DictVectorizer",
        &[1],
        &["int64_vocabulary", "string_vocabulary"],
        dict_vectorizer,
    ),
];

/// Digits after the point of a number that a map's value is made of, as ONNX Runtime writes it.
const DIGITS: i64 = 6;
/// What ONNX Runtime writes where a map has no key; ONNX says nothing of it.
const NOTHING: &str = "0.f";

/// A list of keys in one of two attributes; an empty one is as good as none.
fn keys(ctx: &RowCtx<'_, '_>, integers: &str, strings: &str) -> Result<Tensor, RowError> {
    let of_integers = ctx.ints(integers).filter(|keys| !keys.is_empty());
    let of_strings = ctx.strs(strings).filter(|keys| !keys.is_empty());
    match (of_integers, of_strings) {
        (Some(keys), None) => Ok(Tensor::from_i64s(&keys)),
        (None, Some(keys)) => {
            let keys = Tensor::from_strings(&[keys.len()], keys);
            keys.map_err(|error| invalid(error.to_string()))
        }
        (Some(_), Some(_)) => Err(invalid(format!("both {integers} and {strings} are given"))),
        (None, None) => Err(invalid(format!(
            "neither {integers} nor {strings} says a key"
        ))),
    }
}

fn zip_map(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let keys = keys(ctx, "classlabels_int64s", "classlabels_strings")?;
    let keys = ctx.constant(keys);
    Ok(vec![ctx.op(&ZIP_MAPS, &[x, keys])?])
}

/// The keys of the first operand, a map, and its values.
fn entries(ctx: &mut RowCtx<'_, '_>) -> Result<(ValueId, ValueId), RowError> {
    let map = ctx.input(0)?;
    let results = ctx.push_all(&MAP_ENTRIES, &[Some(map)], Attrs::new())?;
    match results.as_slice() {
        [keys, values] => Ok((*keys, *values)),
        _ => Err(invalid("a map has keys and values")),
    }
}

/// A list as one row.
fn as_row(ctx: &mut RowCtx<'_, '_>, list: ValueId) -> Value {
    ctx.unsqueeze(list, 0)
}

fn word(text: &str) -> Result<Tensor, RowError> {
    let word = Tensor::from_strings(&[], vec![text.to_owned()]);
    word.map_err(|error| invalid(error.to_string()))
}

fn cast_map(ctx: &mut RowCtx<'_, '_>) -> Built {
    let cast_to = ctx.str_or("cast_to", "TO_FLOAT");
    let dtypes = [DType::F32, DType::String, DType::I64];
    let words = ["TO_FLOAT", "TO_STRING", "TO_INT64"];
    let to = dtypes[one_of("cast_to", &cast_to, &words)?];
    let form = ctx.str_or("map_form", "DENSE");
    let is_sparse = one_of("map_form", &form, &["DENSE", "SPARSE"])? == 1;
    let (keys, values) = entries(ctx)?;
    let values = cast_values(ctx, values, to)?;
    if !is_sparse {
        return Ok(vec![as_row(ctx, values)?]);
    }
    let count = ctx.int_or("max_map", 1);
    if count < 1 {
        return Err(invalid(format!("max_map is {count}")));
    }
    let (zero, most) = (Tensor::scalar(0_i64), Tensor::scalar(count));
    let [zero, most] = [zero, most].map(|bound| ctx.constant(bound));
    let (below, above) = (ctx.op(&LT, &[keys, zero])?, ctx.op(&GE, &[keys, most])?);
    let outside = ctx.op(&OR, &[below, above])?;
    ctx.refuse(outside, &format!("a key is outside of 0..{count}"))?;
    let nothing = match to {
        DType::String => ctx.constant(word(NOTHING)?),
        _ => ctx.scalar(to, 0.0)?,
    };
    let places = ctx.iota(DType::I64, Dim::new(count))?;
    let placed = ctx.op(&LOOKUP, &[places, keys, values, nothing])?;
    Ok(vec![as_row(ctx, placed)?])
}

fn cast_values(ctx: &mut RowCtx<'_, '_>, values: ValueId, to: DType) -> Value {
    match (ctx.ty(values)?.dtype, to) {
        (DType::String, DType::String) => Ok(values),
        (DType::String, _) => ctx.push(&STRING_PARSE, &[values], Attrs::new().with("to", to)),
        (_, DType::String) => {
            let attrs = Attrs::new().with("digits", DIGITS);
            ctx.push(&STRING_FORMAT, &[values], attrs)
        }
        _ => ctx.cast(values, to),
    }
}

/// ONNX and its reference give a list, ONNX Runtime one row, which is what models go on with.
fn dict_vectorizer(ctx: &mut RowCtx<'_, '_>) -> Built {
    let vocabulary = keys(ctx, "int64_vocabulary", "string_vocabulary")?;
    let map = ctx.input(0)?;
    let ty = ctx.value_type(map);
    if map_of(&ty).is_some_and(|(key, _)| key != vocabulary.dtype()) {
        let given = vocabulary.dtype();
        return Err(invalid(format!("a vocabulary of {given} for {ty}")));
    }
    let (keys, values) = entries(ctx)?;
    let nothing = match ctx.ty(values)?.dtype {
        DType::String => ctx.constant(word("")?),
        dtype => ctx.scalar(dtype, 0.0)?,
    };
    let vocabulary = ctx.constant(vocabulary);
    let found = ctx.op(&LOOKUP, &[vocabulary, keys, values, nothing])?;
    Ok(vec![as_row(ctx, found)?])
}
