//! `alula conformance`: ONNX's own tests, each pass, random, refused, wrong or crash; or generated
//! cases that two other evaluators judge.

mod judge;
mod judged;
mod page;
mod random;
mod subject;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use alula::Target;
use serde_json::json;

use super::{cache, catch};
use crate::args::{Conformance, Global};
use crate::failure::Failure;
use crate::{log, out};
use judge::Distance;
use subject::Subject;

const KINDS: [&str; 4] = ["node", "simple", "pytorch-operator", "pytorch-converted"];

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    /// Every output is within the suite's tolerance.
    Pass,
    /// The outputs are draws of another generator; types and statistics are right.
    Random,
    /// An error that says what is not done.
    Refused,
    Wrong,
    /// A panic.
    Crash,
}

impl Status {
    const ALL: [Status; 5] = [
        Status::Pass,
        Status::Random,
        Status::Refused,
        Status::Wrong,
        Status::Crash,
    ];

    fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Random => "random",
            Status::Refused => "refused",
            Status::Wrong => "wrong",
            Status::Crash => "crash",
        }
    }
}

/// One test on one target.
struct Outcome {
    test: String,
    subject: Subject,
    status: Status,
    /// Why it did not pass; one line.
    reason: String,
    distance: Distance,
}

pub(crate) fn run(args: &Conformance, global: &Global) -> Result<(), Failure> {
    let cache = cache(args.cache.as_ref())?;
    if args.judged {
        return judged::run(&cache, args, global);
    }
    let tests = tests(&cache.join("conformance"), &args.only);
    if tests.is_empty() {
        let text = format!("no tests in {}: run tools/models/setup.py", cache.display());
        return Err(Failure::user(text));
    }
    // Panics are counted, not printed.
    std::panic::set_hook(Box::new(|_| {}));
    let mut list = String::new();
    let mut by_target = Vec::new();
    for &target in &args.target {
        let outcomes = on(target, &tests);
        for outcome in &outcomes {
            let (status, test, reason) = (outcome.status.name(), &outcome.test, &outcome.reason);
            let _ = writeln!(list, "{target} {status} {test} {reason}");
            if global.json {
                out::line(json!({
                    "target": target.name(), "test": test, "status": status, "reason": reason,
                    "operator": outcome.subject.operator, "near": outcome.distance.near,
                    "ulp": outcome.distance.ulp,
                }));
            }
        }
        if !global.json {
            out::line(format_args!("{target}: {}", counted(&outcomes)));
        }
        by_target.push((target, outcomes));
    }
    let _ = std::panic::take_hook();
    if let Some(file) = &args.list {
        std::fs::write(file, list).map_err(|error| Failure::io(file, &error))?;
    }
    if let Some(file) = &args.write {
        std::fs::write(file, page::page(&by_target)).map_err(|error| Failure::io(file, &error))?;
    }
    let crashed = by_target.iter().flat_map(|(_, outcomes)| outcomes);
    let crashed = crashed.filter(|outcome| outcome.status == Status::Crash);
    match crashed.count() {
        0 => Ok(()),
        crashed => Err(Failure::Internal(format!("{crashed} tests crashed"))),
    }
}

/// Names and folders of the chosen tests, sorted.
fn tests(folder: &Path, only: &[String]) -> Vec<(String, PathBuf)> {
    let mut tests = Vec::new();
    for kind in KINDS {
        let Ok(entries) = std::fs::read_dir(folder.join(kind)) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = format!("{kind}/{}", entry.file_name().to_string_lossy());
            let is_chosen = only.is_empty() || only.iter().any(|part| name.contains(part));
            if is_chosen && entry.path().join("model.onnx").is_file() {
                tests.push((name, entry.path()));
            }
        }
    }
    tests.sort();
    tests
}

fn on(target: Target, tests: &[(String, PathBuf)]) -> Vec<Outcome> {
    let bar = log::bar(tests.len());
    let mut outcomes = Vec::with_capacity(tests.len());
    for (name, folder) in tests {
        bar.set_message(name.clone());
        let subject = Subject::of(folder);
        let (status, reason, distance) = match catch(|| judge::judge(name, folder, target)) {
            Ok(Ok((status, distance))) => (status, String::new(), distance),
            Ok(Err((status, reason))) => (status, reason, Distance::default()),
            Err(panic) => (Status::Crash, panic, Distance::default()),
        };
        bar.inc(1);
        outcomes.push(Outcome {
            test: name.clone(),
            subject,
            status,
            reason: reason.split_whitespace().collect::<Vec<_>>().join(" "),
            distance,
        });
    }
    bar.finish_and_clear();
    outcomes
}

/// `12 pass, 0 random, 3 refused, 0 wrong, 0 crash of 15`.
fn counted(outcomes: &[Outcome]) -> String {
    let mut counts: BTreeMap<Status, usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.status).or_default() += 1;
    }
    let count = |status: Status| format!("{} {}", counts.get(&status).unwrap_or(&0), status.name());
    let counts: Vec<String> = Status::ALL.into_iter().map(count).collect();
    format!("{} of {}", counts.join(", "), outcomes.len())
}
