//! References of a model, and how near its outputs come to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use alula::{Precision, Value, npy};
use serde_json::Value as Json;

use super::Outcome;
use crate::measure::{Distance, distance};
use crate::rows::in_places_of;

/// Rows are the same that differ by no more, over the largest element of the output.
const NEAR: f64 = 1e-4;

/// Models whose outputs jump where products of bf16 decide, and why: they are only held to shapes
/// and to what is finite there.
const JUMPS: [(&str, &str); 1] = [("ssdlite320", "the order of near scores decides the labels")];

/// How far the outputs of an `f32` model may be off.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    most: f64,
    /// What is bounded: of each element, or in the mean.
    of: fn(&Distance) -> f64,
}

impl Bound {
    /// Each element, over the largest of the output; with products of bf16 the root of the mean
    /// square over that of the output, since what one sigmoid makes of them has no other bound.
    pub(super) fn of(precision: Precision, model: &str) -> Bound {
        let jumps = JUMPS.iter().any(|(name, _)| *name == model);
        let (most, of): (f64, fn(&Distance) -> f64) = match precision {
            Precision::Highest => (1e-4, |far| far.worst_rel),
            Precision::High => (1e-3, |far| far.worst_rel),
            Precision::Medium if jumps => (f64::INFINITY, |far| far.rms_rel),
            Precision::Medium => (2e-1, |far| far.rms_rel),
        };
        Bound { most, of }
    }
}

/// The records of a model's examples, in order.
pub(super) fn records(references: &Path) -> Result<Vec<Json>, String> {
    let mut records = Vec::new();
    for example in 0.. {
        let path = references.join(example.to_string()).join("record.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            break;
        };
        let record = serde_json::from_str(&text);
        records.push(record.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(records)
}

/// How far each output of the reference moves by itself, in whichever example it moves most: a
/// code that rounds the other way moves it as far in the others, though no run there met one.
pub(super) fn spreads(records: &[Json]) -> BTreeMap<String, f64> {
    let mut spreads = BTreeMap::new();
    let outputs = records
        .iter()
        .filter_map(|record| record["outputs"].as_array());
    for entry in outputs.flatten() {
        if let (Some(name), Some(spread)) = (entry["name"].as_str(), entry["spread"].as_f64()) {
            let most: &mut f64 = spreads.entry(name.to_owned()).or_default();
            *most = most.max(spread);
        }
    }
    spreads
}

/// An input or output of an example.
pub(super) fn load(folder: &Path, entry: &Json) -> Result<(String, Value), String> {
    let text = |key: &str| entry[key].as_str().ok_or_else(|| format!("no {key}"));
    let tensor = npy::read(folder.join(text("file")?)).map_err(|error| error.to_string())?;
    Ok((text("name")?.to_owned(), tensor.into()))
}

/// Runs one example and takes the worst into account; no output may be further off than the bound
/// or twice its spread.
pub(super) fn compare(
    session: &alula::Session,
    folder: &Path,
    record: &Json,
    (bound, spreads): (Bound, &BTreeMap<String, f64>),
    outcome: &mut Outcome,
) -> Result<(), String> {
    let list = |key: &str| record[key].as_array().cloned().unwrap_or_default();
    let load = |entry: &Json| load(folder, entry);
    let inputs: Vec<(String, Value)> = list("inputs").iter().map(load).collect::<Result<_, _>>()?;
    let named: Vec<(&str, Value)> = inputs
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let start = Instant::now();
    let outputs = session.run(&named).map_err(|error| error.to_string())?;
    outcome.seconds = outcome.seconds.max(start.elapsed().as_secs_f64());
    let mut pairs = Vec::new();
    for entry in list("outputs") {
        let (name, expected) = load(&entry)?;
        let found = outputs.iter().find(|(output, _)| *output == name);
        let (_, actual) = found.ok_or_else(|| format!("output {name:?} is missing"))?;
        let most = bound
            .most
            .max(2.0 * spreads.get(&name).copied().unwrap_or(0.0));
        pairs.push(Pair {
            is_settled: entry["different"].as_u64().unwrap_or(0) == 0,
            name,
            bound: Bound { most, ..bound },
            actual: actual.clone(),
            expected,
        });
    }
    let is_unordered = record["unordered"].as_bool() == Some(true);
    let mut nearness = Nearness::of(pairs.clone(), is_unordered);
    for files in list("others") {
        if nearness.reason.is_none() {
            break;
        }
        let files = files.as_array().cloned().unwrap_or_default();
        for (pair, file) in pairs.iter_mut().zip(&files) {
            let file = file.as_str().ok_or("no file of another result")?;
            let tensor = npy::read(folder.join(file)).map_err(|error| error.to_string())?;
            pair.expected = tensor.into();
        }
        let other = Nearness::of(pairs.clone(), is_unordered);
        if other.reason.is_none() {
            nearness = other;
        }
    }
    let share = |(worst, bound): (f64, f64)| worst / bound;
    let most = |a: (f64, f64), b: (f64, f64)| if share(a) < share(b) { b } else { a };
    outcome.worst = match (outcome.worst, nearness.worst) {
        (Some(a), Some(b)) => Some(most(a, b)),
        (a, b) => a.or(b),
    };
    if let Some(reason) = nearness.reason {
        outcome.status = "wrong";
        outcome.reason = reason;
    }
    Ok(())
}

/// An output beside what it should be.
#[derive(Clone)]
struct Pair {
    name: String,
    actual: Value,
    expected: Value,
    bound: Bound,
    /// Whether the reference always gives the same integers.
    is_settled: bool,
}

/// How near all outputs of an example are to one result.
struct Nearness {
    /// Largest error over its bound, with both.
    worst: Option<(f64, f64)>,
    /// Why they are not near enough.
    reason: Option<String>,
}

impl Nearness {
    fn of(mut pairs: Vec<Pair>, is_unordered: bool) -> Nearness {
        if is_unordered {
            settle(&mut pairs);
        }
        let mut nearness = Nearness {
            worst: None,
            reason: None,
        };
        for pair in &pairs {
            let (name, bound) = (&pair.name, pair.bound.most);
            let far = distance(&pair.actual, &pair.expected);
            if let Some(reason) = far.reason {
                nearness.reason = Some(format!("{name}: {reason}"));
                continue;
            }
            // Integers that the reference itself cannot settle are not asked for exactly.
            let far = match pair.is_settled {
                true => (pair.bound.of)(&far),
                false => 0.0,
            };
            if nearness.worst.is_none_or(|(w, b)| w / b < far / bound) {
                nearness.worst = Some((far, bound));
            }
            if far > bound {
                nearness.reason = Some(format!("{name} is off by {far:.1e}"));
            }
        }
        nearness
    }
}

/// Puts the rows of actual outputs into the places of the rows of the reference that they are near.
fn settle(pairs: &mut [Pair]) {
    let mut columns = Vec::new();
    for pair in pairs.iter() {
        match (&pair.expected, &pair.actual) {
            (Value::Tensor(expected), Value::Tensor(actual)) => columns.push((expected, actual)),
            _ => return,
        }
    }
    let (expected, actual): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    if let Some(settled) = in_places_of(&expected, &actual, NEAR) {
        for (pair, tensor) in pairs.iter_mut().zip(settled) {
            pair.actual = tensor.into();
        }
    }
}
