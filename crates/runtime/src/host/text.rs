//! Host steps on strings.

use std::collections::{BTreeMap, HashSet};

use alula_program::{HostFn, LetterCase};
use alula_tensor::{DType, Scalar, Tensor, Value};
use smallvec::SmallVec;

use super::{Operands, Room, axis::take, keys::keys};
use crate::StepError;

pub(super) fn call(
    function: &HostFn,
    given: &Operands<'_>,
    room: &Room,
) -> Result<SmallVec<[Value; 4]>, StepError> {
    let mut results: SmallVec<[Value; 4]> = SmallVec::new();
    match function {
        HostFn::StringConcat => {
            let (shape, joined) = zip(given, room, |a, b| {
                room.take(a.len() + b.len())?;
                Ok([a, b].concat())
            })?;
            results.push(Tensor::from_strings(&shape, joined)?.into());
        }
        HostFn::StringEqual => {
            let (shape, same) = zip(given, room, |a, b| Ok(a == b))?;
            room.take(same.len())?;
            results.push(Tensor::from_bools(&shape, &same)?.into());
        }
        HostFn::StringSplit { delimiter, splits } => {
            let (parts, counts) = split(given.tensor(0)?, delimiter, *splits, room)?;
            results.push(parts.into());
            results.push(counts.into());
        }
        HostFn::StringNormalize {
            case,
            sensitive,
            stopwords,
        } => results.push(normalize(given.tensor(0)?, *case, *sensitive, stopwords, room)?.into()),
        HostFn::RegexFullMatch { pattern } => {
            let x = given.tensor(0)?;
            let pattern = regex::Regex::new(&format!(r"\A(?:{pattern})\z"))
                .map_err(|error| StepError::Value(error.to_string()))?;
            let matches = room.collect(strings(x)?.iter().map(|s| pattern.is_match(s)))?;
            room.take(matches.len())?;
            results.push(Tensor::from_bools(x.shape(), &matches)?.into());
        }
        HostFn::StringFormat { digits } => {
            results.push(format_all(given.tensor(0)?, *digits, room)?.into());
        }
        HostFn::StringParse { to } => results.push(parse_all(given.tensor(0)?, *to, room)?.into()),
        HostFn::Lookup => results.push(lookup(given, room)?.into()),
        other => return Err(StepError::Value(format!("{other:?} is no step on strings"))),
    }
    Ok(results)
}

fn strings(tensor: &Tensor) -> Result<&[String], StepError> {
    tensor
        .strings()
        .ok_or_else(|| StepError::Value(format!("{} is not of strings", tensor.ty())))
}

/// Both operands broadcast, element by element.
fn zip<T>(
    given: &Operands<'_>,
    room: &Room,
    combine: impl Fn(&str, &str) -> Result<T, StepError>,
) -> Result<(Vec<usize>, Vec<T>), StepError> {
    let (a, b) = (given.tensor(0)?, given.tensor(1)?);
    let (left, right) = (strings(a)?, strings(b)?);
    let rank = a.rank().max(b.rank());
    let padded = |t: &Tensor| {
        let mut shape = vec![1; rank - t.rank()];
        shape.extend_from_slice(t.shape());
        shape
    };
    let (a_shape, b_shape) = (padded(a), padded(b));
    let mut shape = Vec::with_capacity(rank);
    for (&x, &y) in a_shape.iter().zip(&b_shape) {
        if x != y && x != 1 && y != 1 {
            let (a, b) = (a.ty(), b.ty());
            return Err(StepError::Value(format!("{a} and {b} do not broadcast")));
        }
        shape.push(if x == 1 { y } else { x });
    }
    let count = shape
        .iter()
        .fold(1_usize, |n, &extent| n.saturating_mul(extent));
    let place = |own: &[usize], at: usize| {
        let (mut rest, mut place, mut stride) = (at, 0, 1);
        for (extent, full) in own.iter().zip(&shape).rev() {
            if *extent > 1 {
                place += rest % full * stride;
            }
            stride *= extent;
            rest /= full;
        }
        place
    };
    let mut all = room.vec(count)?;
    for at in 0..count {
        all.push(combine(
            &left[place(&a_shape, at)],
            &right[place(&b_shape, at)],
        )?);
    }
    Ok((shape, all))
}

fn split(
    x: &Tensor,
    delimiter: &str,
    splits: Option<usize>,
    room: &Room,
) -> Result<(Tensor, Tensor), StepError> {
    let most = splits.map_or(usize::MAX, |splits| splits.saturating_add(1));
    let parts = |text: &String| -> Vec<String> {
        if !delimiter.is_empty() {
            return text.splitn(most, delimiter).map(str::to_owned).collect();
        }
        let mut parts = Vec::new();
        let mut rest = text.trim_start();
        while parts.len() + 1 < most {
            match rest.split_once(char::is_whitespace) {
                Some((part, after)) => {
                    parts.push(part.to_owned());
                    rest = after.trim_start();
                }
                None => break,
            }
        }
        if !rest.is_empty() {
            parts.push(rest.to_owned());
        }
        parts
    };
    let mut lists: Vec<Vec<String>> = room.vec(x.len())?;
    for text in strings(x)? {
        let list = parts(text);
        room.take(text.len() + list.len() * size_of::<String>())?;
        lists.push(list);
    }
    let width = lists.iter().map(Vec::len).max().unwrap_or(0);
    let counts = room.collect(lists.iter().map(|list| list.len() as i64))?;
    // One long text makes every row long.
    let mut all = room.filled(lists.len().saturating_mul(width), String::new())?;
    for (row, list) in lists.into_iter().enumerate() {
        for (column, part) in list.into_iter().enumerate() {
            all[row * width + column] = part;
        }
    }
    let mut shape = x.shape().to_vec();
    shape.push(width);
    let counts = Tensor::from_i64s(&counts).reshape(x.shape())?;
    Ok((Tensor::from_strings(&shape, all)?, counts))
}

fn normalize(
    x: &Tensor,
    case: LetterCase,
    sensitive: bool,
    stopwords: &[String],
    room: &Room,
) -> Result<Tensor, StepError> {
    let key = |text: &str| match sensitive {
        true => text.to_owned(),
        false => text.to_lowercase(),
    };
    let stops: HashSet<String> = stopwords.iter().map(|word| key(word)).collect();
    let mut kept: Vec<String> = room.vec(x.len().max(1))?;
    for text in strings(x)?
        .iter()
        .filter(|text| !stops.contains(&key(text)))
    {
        room.take(text.len())?;
        kept.push(match case {
            LetterCase::Keep => text.clone(),
            LetterCase::Lower => text.to_lowercase(),
            LetterCase::Upper => text.to_uppercase(),
        });
    }
    if kept.is_empty() {
        kept.push(String::new());
    }
    let shape = match x.shape() {
        [_] => vec![kept.len()],
        [1, _] => vec![1, kept.len()],
        _ => return Err(StepError::Value(format!("{} is not one row", x.ty()))),
    };
    Ok(Tensor::from_strings(&shape, kept)?)
}

/// Numbers as text: with `digits` after the point, or the shortest that reads back.
fn format_all(x: &Tensor, digits: Option<usize>, room: &Room) -> Result<Tensor, StepError> {
    let of_float = |value: f64| match digits {
        Some(digits) if value.is_finite() => format!("{value:.digits$}"),
        // As C prints them: the sign of NaN is lost.
        Some(_) => value.to_string().to_lowercase(),
        None if value.is_nan() => "NaN".to_owned(),
        None if value == f64::INFINITY => "INF".to_owned(),
        None if value == f64::NEG_INFINITY => "-INF".to_owned(),
        None if x.dtype() == DType::F64 => value.to_string(),
        None => (value as f32).to_string(),
    };
    let is_bool = x.dtype() == DType::Bool;
    let mut all = room.vec(x.len())?;
    for scalar in (0..x.len()).filter_map(|at| x.get(at)) {
        let text = match scalar {
            Scalar::Int(0) if is_bool => "False".to_owned(),
            Scalar::Int(_) if is_bool => "True".to_owned(),
            Scalar::Int(value) => value.to_string(),
            Scalar::Float(value) => of_float(value),
        };
        room.take(text.len())?;
        all.push(text);
    }
    Ok(Tensor::from_strings(x.shape(), all)?)
}

/// The numbers that strings spell.
fn parse_all(x: &Tensor, to: DType, room: &Room) -> Result<Tensor, StepError> {
    let number = |text: &String| {
        let digits = text.trim();
        let whole = to.is_integer().then(|| digits.parse().ok()).flatten();
        let real = || match to {
            DType::F32 => digits.parse::<f32>().ok().map(f64::from),
            _ => digits.parse::<f64>().ok(),
        };
        let number = whole.map(Scalar::Int).or_else(|| real().map(Scalar::Float));
        number.ok_or_else(|| StepError::Value(format!("{text:?} is no number")))
    };
    let mut all = room.vec(x.len())?;
    for text in strings(x)? {
        all.push(number(text)?);
    }
    room.take(x.len().saturating_mul(to.size_bytes()))?;
    Ok(Tensor::from_scalars(to, x.shape(), &all)?)
}

/// Elements by their keys; the default is appended to the values and taken where there is no key.
fn lookup(given: &Operands<'_>, room: &Room) -> Result<Tensor, StepError> {
    let (x, table) = (given.tensor(0)?, given.tensor(1)?);
    let (values, default) = (given.tensor(2)?, given.tensor(3)?);
    let missing = table.len();
    let places: Vec<usize> = match x.dtype() {
        DType::String => {
            let mut first: BTreeMap<&str, usize> = BTreeMap::new();
            for (place, key) in strings(table)?.iter().enumerate() {
                first.entry(key).or_insert(place);
            }
            let place = |text: &String| first.get(text.as_str()).copied();
            let all = strings(x)?.iter();
            room.collect(all.map(|text| place(text).unwrap_or(missing)))?
        }
        _ => {
            let mut first: BTreeMap<u64, usize> = BTreeMap::new();
            for (place, key) in keys(table, room)?.into_iter().enumerate() {
                first.entry(key).or_insert(place);
            }
            let all = keys(x, room)?.into_iter();
            room.collect(all.map(|key| first.get(&key).copied().unwrap_or(missing)))?
        }
    };
    let values = super::axis::concat(&[values.clone(), default.reshape(&[1])?], 0, room)?;
    Ok(take(&values, 0, places.iter().copied(), room)?.reshape(x.shape())?)
}
