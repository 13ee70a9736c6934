//! Strings: joined, split, changed in case, matched, compared, looked up. All of them run on the
//! host.

use alula_ir::{
    AttrDefault, AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred,
    LowerCtx, LowerError, Lowering, OpDef,
};
use alula_program::{HostFn, LetterCase};
use alula_tensor::{DType, Scalar, Tensor};

use crate::elementwise::broadcast_shapes;
use crate::movement::{for_each_index, linear};
use crate::shape::PLAIN;

fn strings<'t>(ctx: &EvalCtx<'t>, position: usize) -> Result<&'t [String], EvalError> {
    let strings = ctx.tensor(position)?.strings();
    strings.ok_or_else(|| EvalError::Value(format!("operand {position} is not of strings")))
}

fn expect_strings(ctx: &InferCtx<'_>, count: usize) -> Result<(), InferError> {
    for operand in 0..count {
        let ty = ctx.tensor(operand)?;
        if ty.dtype != DType::String {
            return Err(InferError::BadDType {
                operand,
                given: ty.to_string(),
                wanted: "strings".to_owned(),
            });
        }
    }
    Ok(())
}

/// Pairs of elements at broadcast positions.
fn pairs(ctx: &EvalCtx<'_>) -> Result<(Vec<usize>, Vec<(String, String)>), EvalError> {
    let (a, b) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let (left, right) = (strings(ctx, 0)?, strings(ctx, 1)?);
    let rank = a.rank().max(b.rank());
    let mut shape = Vec::new();
    for axis in 0..rank {
        let extent = |t: &Tensor| match (axis + t.rank()).checked_sub(rank) {
            Some(own) => t.shape()[own],
            None => 1,
        };
        shape.push(match (extent(a), extent(b)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            (x, y) => return Err(EvalError::Value(format!("extents {x} and {y} differ"))),
        });
    }
    let place = |t: &Tensor, index: &[usize]| {
        let own = &index[rank - t.rank()..];
        let own: Vec<usize> = own
            .iter()
            .zip(t.shape())
            .map(|(at, extent)| if *extent == 1 { 0 } else { *at })
            .collect();
        linear(t.shape(), &own)
    };
    let mut all = Vec::new();
    for_each_index(&shape, |index| {
        let pair = (&left[place(a, index)], &right[place(b, index)]);
        all.push((pair.0.clone(), pair.1.clone()));
        Ok::<_, EvalError>(())
    })?;
    Ok((shape, all))
}

/// Strings of two tensors one after the other.
pub static STRING_CONCAT: OpDef = OpDef {
    name: "string_concat",
    summary: "a followed by b, broadcast",
    operands: &["a", "b"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| {
        expect_strings(ctx, 2)?;
        let shape = broadcast_shapes(&[&ctx.tensor(0)?.shape, &ctx.tensor(1)?.shape])?;
        Ok(vec![Inferred::tensor(DType::String, shape)])
    },
    eval: |ctx| {
        let (shape, pairs) = pairs(ctx)?;
        let joined = pairs.into_iter().map(|(a, b)| a + &b).collect();
        Ok(vec![Tensor::from_strings(&shape, joined)?.into()])
    },
    lowering: Lowering::Host(|_| Ok(HostFn::StringConcat)),
    examples: &["graph @e() {
       %a = const string[2, 1] [\"a\", \"b\"] %b = const string[2] [\"x\", \"\"]
       %y = string_concat %a, %b return y: %y }"],
};

/// Whether strings are the same.
pub static STRING_EQUAL: OpDef = OpDef {
    name: "string_equal",
    summary: "whether a and b are the same strings, broadcast",
    operands: &["a", "b"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| {
        expect_strings(ctx, 2)?;
        let shape = broadcast_shapes(&[&ctx.tensor(0)?.shape, &ctx.tensor(1)?.shape])?;
        Ok(vec![Inferred::tensor(DType::Bool, shape)])
    },
    eval: |ctx| {
        let (shape, pairs) = pairs(ctx)?;
        let same: Vec<bool> = pairs.into_iter().map(|(a, b)| a == b).collect();
        Ok(vec![Tensor::from_bools(&shape, &same)?.into()])
    },
    lowering: Lowering::Host(|_| Ok(HostFn::StringEqual)),
    examples: &["graph @e() {
       %a = const string[2] [\"a\", \"b\"] %b = const string[] [\"b\"]
       %y = string_equal %a, %b return y: %y }"],
};

/// Strings in parts.
pub static STRING_SPLIT: OpDef = OpDef {
    name: "string_split",
    summary: "the parts of each string between delimiters along a new last axis, padded with empty \
              strings, and their number",
    operands: &["x"],
    attrs: &[
        AttrSpec::str(
            "delimiter",
            "",
            "what parts are split at; empty: any run of white space",
        ),
        AttrSpec {
            name: "splits",
            kind: AttrKind::Int,
            default: AttrDefault::Absent,
            doc: "most splits of one string; absent: any number",
        },
    ],
    traits: PLAIN,
    infer: |ctx| {
        expect_strings(ctx, 1)?;
        let shape = ctx.tensor(0)?.shape.clone();
        let mut parts = shape.clone();
        parts.push(ctx.fresh_extent(0, shape.len()));
        Ok(vec![
            Inferred::tensor(DType::String, parts),
            Inferred::tensor(DType::I64, shape),
        ])
    },
    eval: eval_split,
    lowering: Lowering::Host(|ctx| {
        Ok(HostFn::StringSplit {
            delimiter: ctx.attrs.str("delimiter").to_owned(),
            splits: splits(ctx.attrs),
        })
    }),
    examples: &[
        "graph @e() {
           %x = const string[2] [\"a,b,,c\", \"\"]
           %y, %n = string_split %x {delimiter = \",\", splits = 2} return y: %y, n: %n }",
        "graph @e() {
           %x = const string[3] [\" a  b \", \"\", \"c\"]
           %y, %n = string_split %x return y: %y, n: %n }",
    ],
};

fn splits(attrs: &alula_ir::Attrs) -> Option<usize> {
    let splits = attrs.has("splits").then(|| attrs.int("splits"));
    splits.and_then(|splits| usize::try_from(splits).ok())
}

fn eval_split(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let delimiter = ctx.attrs.str("delimiter");
    let most = splits(ctx.attrs).unwrap_or(usize::MAX);
    let mut lists: Vec<Vec<String>> = Vec::new();
    for text in strings(ctx, 0)? {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        if delimiter.is_empty() {
            rest = rest.trim_start();
            while !rest.is_empty() {
                let end = match parts.len() < most {
                    true => rest.find(char::is_whitespace).unwrap_or(rest.len()),
                    false => rest.len(),
                };
                parts.push(rest[..end].to_owned());
                rest = rest[end..].trim_start();
            }
        } else {
            while let Some(at) = rest.find(delimiter).filter(|_| parts.len() < most) {
                parts.push(rest[..at].to_owned());
                rest = &rest[at + delimiter.len()..];
            }
            parts.push(rest.to_owned());
        }
        lists.push(parts);
    }
    let counts: Vec<Scalar> = lists.iter().map(|l| Scalar::Int(l.len() as i128)).collect();
    let width = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut all = Vec::new();
    for mut parts in lists {
        parts.resize(width, String::new());
        all.append(&mut parts);
    }
    let mut shape = x.shape().to_vec();
    shape.push(width);
    let parts = Tensor::from_strings(&shape, all)?;
    Ok(vec![
        parts.into(),
        ctx.result(DType::I64, x.shape(), &counts)?,
    ])
}

/// Strings without stop words, in another case.
pub static STRING_NORMALIZE: OpDef = OpDef {
    name: "string_normalize",
    summary: "the strings of one axis (or of one row) that are no stop words, in another case; one \
              empty string if none is left",
    operands: &["x"],
    attrs: &[
        AttrSpec::str("case", "none", "none, lower or upper"),
        AttrSpec::bool(
            "sensitive",
            false,
            "stop words are compared with their case",
        ),
        AttrSpec::required("stopwords", AttrKind::Strs, "what is left out"),
    ],
    traits: PLAIN,
    infer: infer_normalize,
    eval: eval_normalize,
    lowering: Lowering::Host(lower_normalize),
    examples: &[
        "graph @e() {
           %x = const string[3] [\"Monday\", \"monday\", \"Tuesday\"]
           %y = string_normalize %x {case = \"upper\", sensitive = true, stopwords = [\"monday\"]}
           return y: %y }",
        "graph @e() {
           %x = const string[1, 2] [\"Monday\", \"monday\"]
           %y = string_normalize %x {case = \"lower\", stopwords = [\"MONDAY\"]}
           return y: %y }",
    ],
};

fn letter_case(attrs: &alula_ir::Attrs) -> Option<LetterCase> {
    Some(match attrs.str("case") {
        "none" => LetterCase::Keep,
        "lower" => LetterCase::Lower,
        "upper" => LetterCase::Upper,
        _ => return None,
    })
}

fn infer_normalize(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    expect_strings(ctx, 1)?;
    let x = ctx.tensor(0)?;
    let row = x.rank() == 2 && x.shape[0].as_const().is_none_or(|rows| rows == 1);
    if x.rank() != 1 && !row {
        return Err(InferError::Mismatch(format!(
            "{x} is not one row of strings"
        )));
    }
    if letter_case(ctx.attrs).is_none() {
        return Err(InferError::BadAttr {
            name: "case".to_owned(),
            reason: format!("{:?} is no case", ctx.attrs.str("case")),
        });
    }
    let mut shape = x.shape.clone();
    let last = shape.len() - 1;
    shape[last] = ctx.fresh_extent(0, last);
    Ok(vec![Inferred::tensor(DType::String, shape)])
}

fn eval_normalize(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let (sensitive, stopwords) = (ctx.attrs.bool("sensitive"), ctx.attrs.strs("stopwords"));
    let same = |a: &str, b: &str| match sensitive {
        true => a == b,
        false => a.to_lowercase() == b.to_lowercase(),
    };
    let mut kept = Vec::new();
    for text in strings(ctx, 0)? {
        if stopwords.iter().any(|word| same(word, text)) {
            continue;
        }
        kept.push(match letter_case(ctx.attrs) {
            Some(LetterCase::Lower) => text.to_lowercase(),
            Some(LetterCase::Upper) => text.to_uppercase(),
            _ => text.clone(),
        });
    }
    if kept.is_empty() {
        kept.push(String::new());
    }
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = kept.len();
    }
    Ok(vec![Tensor::from_strings(&shape, kept)?.into()])
}

fn lower_normalize(ctx: &LowerCtx<'_>) -> Result<HostFn, LowerError> {
    Ok(HostFn::StringNormalize {
        case: letter_case(ctx.attrs).unwrap_or(LetterCase::Keep),
        sensitive: ctx.attrs.bool("sensitive"),
        stopwords: ctx.attrs.strs("stopwords").to_vec(),
    })
}

/// Whether all of a string is what a regular expression describes.
pub static REGEX_FULL_MATCH: OpDef = OpDef {
    name: "regex_full_match",
    summary: "whether the whole of each string matches `pattern`, in the syntax of RE2",
    operands: &["x"],
    attrs: &[AttrSpec::required(
        "pattern",
        AttrKind::Str,
        "a regular expression",
    )],
    traits: PLAIN,
    infer: |ctx| {
        expect_strings(ctx, 1)?;
        if let Err(error) = pattern(ctx.attrs) {
            return Err(InferError::BadAttr {
                name: "pattern".to_owned(),
                reason: error.to_string(),
            });
        }
        let shape = ctx.tensor(0)?.shape.clone();
        Ok(vec![Inferred::tensor(DType::Bool, shape)])
    },
    eval: |ctx| {
        let pattern = pattern(ctx.attrs).map_err(|error| EvalError::Value(error.to_string()))?;
        let matches = strings(ctx, 0)?.iter().map(|text| pattern.is_match(text));
        let matches: Vec<bool> = matches.collect();
        Ok(vec![
            Tensor::from_bools(ctx.tensor(0)?.shape(), &matches)?.into(),
        ])
    },
    lowering: Lowering::Host(|ctx| {
        Ok(HostFn::RegexFullMatch {
            pattern: ctx.attrs.str("pattern").to_owned(),
        })
    }),
    examples: &["graph @e() {
       %x = const string[3] [\"ab1\", \"ab\", \"xab1\"]
       %y = regex_full_match %x {pattern = \"[a-z]{2}[0-9]\"} return y: %y }"],
};

fn pattern(attrs: &alula_ir::Attrs) -> Result<regex::Regex, regex::Error> {
    regex::Regex::new(&format!(r"\A(?:{})\z", attrs.str("pattern")))
}

/// What keys are mapped to.
pub static LOOKUP: OpDef = OpDef {
    name: "lookup",
    summary: "values[k] for the first k with keys[k] = x, else default; NaN is equal to NaN",
    operands: &["x", "keys", "values", "default"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| {
        ctx.expect_same_dtype(0, 1)?;
        let dtype = ctx.expect_same_dtype(2, 3)?;
        let (keys, values) = (ctx.tensor(1)?, ctx.tensor(2)?);
        if keys.rank() != 1 || keys.shape != values.shape || ctx.tensor(3)?.rank() != 0 {
            return Err(InferError::Mismatch(format!(
                "keys {keys} and values {values}"
            )));
        }
        Ok(vec![Inferred::tensor(dtype, ctx.tensor(0)?.shape.clone())])
    },
    eval: eval_lookup,
    lowering: Lowering::Host(|_| Ok(HostFn::Lookup)),
    examples: &[
        "graph @e() {
           %x = const string[3] [\"a\", \"c\", \"b\"] %k = const string[2] [\"a\", \"b\"]
           %v = const i64[2] [5, 6] %d = const i64[] [-1]
           %y = lookup %x, %k, %v, %d return y: %y }",
        "graph @e(%x: i64[2, N]) {
           %k = const i64[3] [1, 2, 0] %v = const string[3] [\"one\", \"two\", \"none\"]
           %d = const string[] [\"many\"] %y = lookup %x, %k, %v, %d return y: %y }",
        "graph @e(%x: i64[3]) {
           %k = const i64[2] [1, 2] %v = const f32[2] [0.5, 0.25]
           %d = const f32[] [0.0] %y = lookup %x, %k, %v, %d return y: %y }",
    ],
};

fn eval_lookup(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, keys) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let (values, default) = (ctx.tensor(2)?, ctx.tensor(3)?);
    let same = |at: usize, key: usize| match (x.strings(), keys.strings()) {
        (Some(x), Some(keys)) => x[at] == keys[key],
        _ => match (x.get(at), keys.get(key)) {
            (Some(Scalar::Float(a)), Some(Scalar::Float(b))) => {
                a == b || (a.is_nan() && b.is_nan())
            }
            (a, b) => a == b,
        },
    };
    let found = (0..x.len()).map(|at| (0..keys.len()).find(|&key| same(at, key)));
    if let (Some(values), Some(default)) = (values.strings(), default.strings()) {
        let picked = found.map(|key| key.map_or(&default[0], |key| &values[key]).clone());
        return Ok(vec![
            Tensor::from_strings(x.shape(), picked.collect())?.into(),
        ]);
    }
    let default_value = default.get(0).unwrap_or(Scalar::Int(0));
    let picked: Vec<Scalar> = found
        .map(|key| key.and_then(|key| values.get(key)).unwrap_or(default_value))
        .collect();
    Ok(vec![ctx.result(values.dtype(), x.shape(), &picked)?])
}
