//! `alula conformance`: ONNX's own tests, each pass, refused, wrong or crash.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use alula::{Model, Session, Target, Value, pb};
use serde_json::json;

use super::{cache, catch};
use crate::args::{Conformance, Global};
use crate::failure::Failure;
use crate::measure::distance;
use crate::{log, out};

/// Errors that ONNX's own runner allows: relative 1e-3 and absolute 1e-7 of each element. Here one
/// bound over the largest element, and 0 for integers.
const BOUND: f64 = 1e-3;

const KINDS: [&str; 4] = ["node", "simple", "pytorch-operator", "pytorch-converted"];
const STATUSES: [&str; 4] = ["pass", "refused", "wrong", "crash"];

pub(crate) fn run(args: &Conformance, global: &Global) -> Result<(), Failure> {
    let cache = cache(args.cache.as_ref())?;
    let mut tests: Vec<(String, PathBuf)> = Vec::new();
    for kind in KINDS {
        let folder = cache.join("conformance").join(kind);
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = format!("{kind}/{}", entry.file_name().to_string_lossy());
            let is_chosen = args.only.is_empty() || args.only.iter().any(|o| name.contains(o));
            if is_chosen && entry.path().join("model.onnx").is_file() {
                tests.push((name, entry.path()));
            }
        }
    }
    tests.sort();
    if tests.is_empty() {
        let text = format!("no tests in {}: run tools/models/setup.py", cache.display());
        return Err(Failure::user(text));
    }
    // Panics are counted, not printed.
    std::panic::set_hook(Box::new(|_| {}));
    let mut list = String::new();
    let mut crashed = 0;
    for &target in &args.target {
        let bar = log::bar(tests.len());
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, folder) in &tests {
            bar.set_message(name.clone());
            let (status, reason) = match catch(|| one(folder, target)) {
                Ok(Ok(())) => ("pass", String::new()),
                Ok(Err((status, reason))) => (status, reason),
                Err(panic) => ("crash", panic),
            };
            bar.inc(1);
            *counts.entry(status).or_default() += 1;
            let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(list, "{target} {status} {name} {reason}");
            if global.json {
                out::line(json!({
                    "target": target.name(), "test": name, "status": status, "reason": reason,
                }));
            }
        }
        bar.finish_and_clear();
        crashed += counts.get("crash").copied().unwrap_or(0);
        if !global.json {
            let count = |status| format!("{} {status}", counts.get(status).unwrap_or(&0));
            let counts: Vec<String> = STATUSES.into_iter().map(count).collect();
            out::line(format_args!(
                "{target}: {} of {}",
                counts.join(", "),
                tests.len()
            ));
        }
    }
    let _ = std::panic::take_hook();
    if let Some(file) = &args.list {
        std::fs::write(file, list).map_err(|error| Failure::io(file, &error))?;
    }
    match crashed {
        0 => Ok(()),
        _ => Err(Failure::Internal(format!("{crashed} tests crashed"))),
    }
}

/// A status other than pass, and why.
type Bad = (&'static str, String);

fn one(folder: &Path, target: Target) -> Result<(), Bad> {
    let refused = |error: alula::Error| ("refused", error.to_string());
    let model = Model::builder(folder.join("model.onnx"))
        .target(target)
        .threads(1);
    let session = model
        .compile()
        .and_then(|model| model.session_for(target))
        .map_err(refused)?;
    for set in 0.. {
        let data = folder.join(format!("test_data_set_{set}"));
        if !data.is_dir() {
            if set == 0 {
                return Err(("refused", "the test has no data".to_owned()));
            }
            break;
        }
        check(&session, &data)?;
    }
    Ok(())
}

fn check(session: &Session, data: &Path) -> Result<(), Bad> {
    let wrong = |reason: String| ("wrong", reason);
    let read = |prefix: &str, position: usize, ty| -> Result<Value, Bad> {
        let path = data.join(format!("{prefix}_{position}.pb"));
        pb::read(path, ty).map_err(|error| ("refused", error.to_string()))
    };
    let mut inputs: Vec<(&str, Value)> = Vec::new();
    for (position, port) in session.inputs().iter().enumerate() {
        inputs.push((port.name.as_str(), read("input", position, &port.ty)?));
    }
    let outputs = session
        .run(&inputs)
        .map_err(|error| ("refused", error.to_string()))?;
    for (position, (port, (name, actual))) in session.outputs().iter().zip(&outputs).enumerate() {
        let expected = read("output", position, &port.ty)?;
        let far = distance(actual, &expected);
        if let Some(reason) = far.reason {
            return Err(wrong(format!("{name}: {reason}")));
        }
        if far.worst_rel > BOUND {
            return Err(wrong(format!("{name} is off by {:.1e}", far.worst_rel)));
        }
    }
    Ok(())
}
