//! Strings, and what is looked up by them.

use alula_ir::{Attr, Attrs};
use alula_ops::host_ops::{
    LOOKUP, REGEX_FULL_MATCH, STRING_CONCAT, STRING_NORMALIZE, STRING_SPLIT,
};
use alula_tensor::{DType, Tensor, TensorError};

use super::compose::one_of;
use super::ml;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("StringConcat", &[20], &[], |ctx| {
        let inputs = ctx.all_inputs()?;
        Ok(vec![ctx.op(&STRING_CONCAT, &inputs)?])
    }),
    row("StringSplit", &[20], &["delimiter", "maxsplit"], |ctx| {
        let x = ctx.input(0)?;
        let mut attrs = Attrs::new().with("delimiter", ctx.str_or("delimiter", ""));
        // Less than no splits means any number, as in Python.
        if let Some(most) = ctx.int("maxsplit").filter(|most| *most >= 0) {
            attrs.set("splits", most);
        }
        ctx.push_all(&STRING_SPLIT, &[Some(x)], attrs)
    }),
    row(
        "StringNormalizer",
        &[10],
        &[
            "case_change_action",
            "is_case_sensitive",
            "locale",
            "stopwords",
        ],
        normalizer,
    ),
    row("RegexFullMatch", &[20], &["pattern"], |ctx| {
        let x = ctx.input(0)?;
        let pattern = ctx.str("pattern");
        let pattern =
            pattern.ok_or_else(|| RowError::Invalid("attribute pattern is absent".to_owned()))?;
        let attrs = Attrs::new().with("pattern", pattern);
        Ok(vec![ctx.push(&REGEX_FULL_MATCH, &[x], attrs)?])
    }),
    ml::row(
        "CategoryMapper",
        &[1],
        &[
            "cats_int64s",
            "cats_strings",
            "default_int64",
            "default_string",
        ],
        category_mapper,
    ),
    ml::row(
        "LabelEncoder",
        &[1, 2, 4],
        &[
            "classes_strings",
            "default_float",
            "default_int64",
            "default_string",
            "default_tensor",
            "keys_floats",
            "keys_int64s",
            "keys_strings",
            "keys_tensor",
            "values_floats",
            "values_int64s",
            "values_strings",
            "values_tensor",
        ],
        label_encoder,
    ),
];

fn normalizer(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let case = ctx.str_or("case_change_action", "NONE");
    let cases = ["NONE", "LOWER", "UPPER"];
    let case = ["none", "lower", "upper"][one_of("case_change_action", &case, &cases)?];
    let locale = ctx.str_or("locale", "en_US");
    // Case is changed by the rules of Unicode, which these languages add their own to.
    if ["tr", "az", "lt"]
        .iter()
        .any(|language| locale.starts_with(language))
    {
        return Err(RowError::Unsupported(format!(
            "letters of locale {locale:?}"
        )));
    }
    let attrs = Attrs::new()
        .with("case", case.to_owned())
        .with("sensitive", ctx.flag("is_case_sensitive", false))
        .with(
            "stopwords",
            Attr::Strs(ctx.strs("stopwords").unwrap_or_default()),
        );
    Ok(vec![ctx.push(&STRING_NORMALIZE, &[x], attrs)?])
}

fn made(tensor: Result<Tensor, TensorError>) -> Result<Tensor, RowError> {
    tensor.map_err(|error| RowError::Invalid(error.to_string()))
}

/// One side of an encoder: a list in one of four attributes.
fn side(ctx: &RowCtx<'_, '_>, name: &str) -> Result<Tensor, RowError> {
    let floats = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
    if let Some(tensor) = ctx.tensor(&format!("{name}_tensor"))? {
        return made(tensor.reshape(&[tensor.len()]));
    }
    if let Some(values) = ctx.strs(&format!("{name}_strings")) {
        return made(Tensor::from_strings(&[values.len()], values));
    }
    if let Some(values) = ctx.ints(&format!("{name}_int64s")) {
        return Ok(Tensor::from_i64s(&values));
    }
    if let Some(values) = ctx.floats(&format!("{name}_floats")) {
        return made(Tensor::from_slice(&[values.len()], &floats(values)));
    }
    Err(RowError::Invalid(format!("no {name} are given")))
}

/// What stands where there is no key.
fn default_of(ctx: &RowCtx<'_, '_>, dtype: DType) -> Result<Tensor, RowError> {
    if let Some(tensor) = ctx.tensor("default_tensor")? {
        return made(tensor.reshape(&[]));
    }
    match dtype {
        DType::String => {
            let text = ctx.str_or("default_string", "_Unused");
            made(Tensor::from_strings(&[], vec![text]))
        }
        DType::I64 => Ok(Tensor::scalar(ctx.int_or("default_int64", -1))),
        DType::F32 => Ok(Tensor::scalar(ctx.float_or("default_float", -0.0) as f32)),
        other => Err(RowError::Invalid(format!("no default of {other} is given"))),
    }
}

/// Between strings and numbers, which stand at the same places of two lists.
fn category_mapper(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let words = ctx.strs("cats_strings").unwrap_or_default();
    let numbers = ctx.ints("cats_int64s").unwrap_or_default();
    if words.len() != numbers.len() || words.is_empty() {
        return Err(RowError::Invalid(format!(
            "{} strings for {} numbers",
            words.len(),
            numbers.len()
        )));
    }
    let words = made(Tensor::from_strings(&[words.len()], words))?;
    let numbers = Tensor::from_i64s(&numbers);
    let (keys, values) = match ctx.ty(x)?.dtype {
        DType::String => (words, numbers),
        _ => (numbers, words),
    };
    let default = default_of(ctx, values.dtype())?;
    let [keys, values, default] = [keys, values, default].map(|tensor| ctx.constant(tensor));
    Ok(vec![ctx.op(&LOOKUP, &[x, keys, values, default])?])
}

/// Version 1 maps between strings and their positions in one list.
fn label_encoder(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let dtype = ctx.ty(x)?.dtype;
    let (keys, values) = if ctx.version == 1 {
        let classes = ctx.strs("classes_strings").unwrap_or_default();
        let places = Tensor::from_i64s(&(0..classes.len() as i64).collect::<Vec<i64>>());
        let classes = made(Tensor::from_strings(&[classes.len()], classes))?;
        match dtype {
            DType::String => (classes, places),
            _ => (places, classes),
        }
    } else {
        (side(ctx, "keys")?, side(ctx, "values")?)
    };
    // Versions and engines differ in whether it is found.
    if keys.dtype().is_float() && keys.to_f64s().iter().any(|key| key.is_nan()) {
        return Err(RowError::Unsupported("a key that is NaN".to_owned()));
    }
    let default = default_of(ctx, values.dtype())?;
    let operands = [keys, values, default].map(|tensor| ctx.constant(tensor));
    let [keys, values, default] = operands;
    Ok(vec![ctx.op(&LOOKUP, &[x, keys, values, default])?])
}
