//! `alula corpus`: every model of the test data against its references.

mod references;

use std::path::{Path, PathBuf};

use alula::{Model, Target, Value};
use serde_json::{Value as Json, json};

use self::references::{Bound, compare, load, records, spreads};
use super::{cache, catch};
use crate::args::{Corpus, Global};
use crate::failure::Failure;
use crate::{log, out};

/// How a model did.
struct Outcome {
    status: &'static str,
    /// Largest error over its bound, with both.
    worst: Option<(f64, f64)>,
    seconds: f64,
    reason: String,
}

impl Outcome {
    fn failed(status: &'static str, reason: String) -> Outcome {
        Outcome {
            status,
            worst: None,
            seconds: 0.0,
            reason,
        }
    }
}

pub(crate) fn run(args: &Corpus, global: &Global) -> Result<(), Failure> {
    let cache = cache(args.cache.as_ref())?;
    let mut models: Vec<(String, PathBuf)> = Vec::new();
    for kind in ["real", "standard"] {
        models.extend(listed(&cache.join(kind))?);
    }
    let there: Vec<String> = models.iter().map(|(name, _)| name.clone()).collect();
    let chosen = |name: &str| args.only.is_empty() || args.only.iter().any(|o| name.contains(o));
    models.retain(|(name, _)| chosen(name));
    if models.is_empty() {
        let text = format!(
            "no models in {}: run tools/models/setup.py",
            cache.display()
        );
        return Err(Failure::user(text));
    }
    let missing: Vec<String> = known()
        .into_iter()
        .filter(|name| chosen(name) && !there.contains(name))
        .collect();
    let bar = log::bar(models.len() * args.target.len());
    let mut table = out::table(&["model", "target", "status", "worst", "bound", "s", "reason"]);
    let mut bad = 0;
    for (name, path) in &models {
        for &target in &args.target {
            bar.set_message(format!("{name} {target}"));
            let references = cache.join("references").join(name);
            let outcome = match catch(|| one(args, (name, path), &references, target)) {
                Ok(outcome) => outcome,
                Err(panic) => Outcome::failed("crash", panic),
            };
            bar.inc(1);
            bad += usize::from(outcome.status != "ok");
            let (worst, bound) = outcome.worst.unzip();
            if global.json {
                out::line(json!({
                    "model": name, "target": target.name(), "status": outcome.status,
                    "precision": args.precision.on(target).0.name(),
                    "worst_rel": worst, "bound": bound, "seconds": outcome.seconds,
                    "reason": outcome.reason,
                }));
                continue;
            }
            let number = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.1e}"));
            let line = outcome.reason.lines().take(2).collect::<Vec<_>>().join(" ");
            table.add_row([
                name.clone(),
                target.to_string(),
                outcome.status.to_owned(),
                number(worst),
                number(bound),
                format!("{:.3}", outcome.seconds),
                line.chars().take(120).collect(),
            ]);
        }
    }
    bar.finish_and_clear();
    let total = models.len() * args.target.len();
    for name in missing.iter().filter(|_| global.json) {
        out::line(json!({"model": name, "status": "missing"}));
    }
    if !global.json {
        out::line(table);
        out::line(format_args!("{} of {total} are right", total - bad));
        if !missing.is_empty() {
            let (count, names) = (missing.len(), missing.join(", "));
            out::line(format_args!("{count} models are not in the cache: {names}"));
        }
    }
    match bad {
        0 => Ok(()),
        _ => Err(Failure::Mismatch(format!("{bad} of {total} are not right"))),
    }
}

/// The names of all models of the test data, whether they are in the cache or not.
fn known() -> Vec<String> {
    let lists = [
        include_str!("../../../../tools/models/real.json"),
        include_str!("../../../../tools/models/standard.json"),
    ];
    let records = lists.map(|text| serde_json::from_str::<Vec<Json>>(text).unwrap_or_default());
    let names = records
        .iter()
        .flatten()
        .filter_map(|record| record["name"].as_str());
    names.map(str::to_owned).collect()
}

/// The models of a folder by name, those whose file is there.
fn listed(folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let path = folder.join("manifest.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(Vec::new());
    };
    let manifest: Json = serde_json::from_str(&text)
        .map_err(|error| Failure::user(format!("{}: {error}", path.display())))?;
    let records = manifest["models"].as_array().cloned().unwrap_or_default();
    let model = |record: &Json| {
        let (name, file) = (record["name"].as_str()?, record["file"].as_str()?);
        Some((name.to_owned(), folder.join(file))).filter(|(_, path)| path.is_file())
    };
    Ok(records.iter().filter_map(model).collect())
}

/// One model on one target, on each of its examples.
fn one(args: &Corpus, (name, path): (&str, &Path), references: &Path, target: Target) -> Outcome {
    if args.check {
        return match alula::check(path) {
            Ok(list) if list.is_empty() => Outcome::failed("ok", String::new()),
            Ok(list) => {
                let mut reasons: Vec<String> = list
                    .iter()
                    .map(|u| format!("{}: {}", u.node.op_type, u.reason))
                    .collect();
                reasons.sort();
                reasons.dedup();
                Outcome::failed("refused", reasons.join("; "))
            }
            Err(error) => Outcome::failed("refused", error.to_string()),
        };
    }
    let refused = |error: &dyn std::fmt::Display| Outcome::failed("refused", error.to_string());
    let mut direct = None;
    let session = Model::builder(path)
        .target(target)
        .precision(args.precision)
        .threads(args.threads)
        .compile()
        .and_then(|model| match args.artifact {
            false => model.session_for(target),
            true => {
                if args.exact {
                    direct = Some(model.session_for(target)?);
                }
                let file = format!("alula-corpus-{}.alula", std::process::id());
                let file = std::env::temp_dir().join(file);
                model.save(&file)?;
                let stored = Model::from_artifact(&file)?.with_threads(args.threads);
                let session = stored.session_for(target);
                let _ = std::fs::remove_file(&file);
                session
            }
        });
    let session = match session {
        Ok(session) => session,
        Err(error) => return refused(&error),
    };
    let mut outcome = Outcome::failed("ok", String::new());
    let records = match records(references) {
        Ok(records) if records.is_empty() => {
            return Outcome::failed("skipped", "there are no references".to_owned());
        }
        Ok(records) => records,
        Err(reason) => return Outcome::failed("skipped", reason),
    };
    let spreads = spreads(&records);
    let bound = Bound::of(args.precision.on(target).0, name);
    for (example, record) in records.iter().enumerate() {
        let folder = references.join(example.to_string());
        let compared = compare(&session, &folder, record, (bound, &spreads), &mut outcome);
        let exact = direct
            .as_ref()
            .map(|direct| same(direct, &session, &folder, record));
        match compared.and(exact.unwrap_or(Ok(None))) {
            Ok(None) => {}
            Ok(Some(name)) => {
                outcome.status = "inexact";
                outcome.reason = format!("example {example}: the artifact's {name} is another");
            }
            Err(reason) => {
                outcome.status = "refused";
                outcome.reason = format!("example {example}: {reason}");
            }
        }
    }
    outcome
}

/// The name of an output that two sessions give different bits for.
fn same(
    direct: &alula::Session,
    stored: &alula::Session,
    folder: &Path,
    record: &Json,
) -> Result<Option<String>, String> {
    let list = record["inputs"].as_array().cloned().unwrap_or_default();
    let inputs: Vec<(String, Value)> = (list.iter())
        .map(|entry| load(folder, entry))
        .collect::<Result<_, _>>()?;
    let named: Vec<(&str, Value)> = (inputs.iter())
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let run = |session: &alula::Session| session.run(&named).map_err(|error| error.to_string());
    let (direct, stored) = (run(direct)?, run(stored)?);
    let differs = direct
        .iter()
        .zip(&stored)
        .find(|(a, b)| !is_same(&a.1, &b.1));
    Ok(differs.map(|((name, _), _)| name.clone()))
}

/// Equality of bits, so that a NaN is itself.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Tensor(a), Value::Tensor(b)) if a.strings().is_none() => {
            a.ty() == b.ty() && a.bytes() == b.bytes()
        }
        _ => a == b,
    }
}
