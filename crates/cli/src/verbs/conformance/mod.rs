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
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use alula::{Precision, Target};
use serde_json::json;

use super::{cache, catch};
use crate::args::{Conformance, Global};
use crate::failure::Failure;
use crate::place::{Opened, Place};
use crate::{log, out};
use judge::Distance;
use subject::Subject;

/// Folders of tests in `CACHE/conformance`.
const KINDS: [&str; 4] = ["node", "simple", "pytorch-operator", "pytorch-converted"];

/// Folder in `CACHE` of the node tests of an older ONNX, which run on the processor.
const OLDER: &str = "onnx-1.22.0";

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

/// A model with inputs and what it must give of them.
struct Test {
    name: String,
    folder: PathBuf,
    subject: Subject,
}

/// How a test ended on one target.
struct Outcome<'t> {
    test: &'t Test,
    status: Status,
    /// Why it did not pass; one line.
    reason: String,
    distance: Distance,
    /// Whether something of it runs on the host.
    has_host_steps: bool,
}

impl Test {
    fn is_older(&self) -> bool {
        self.name.starts_with(OLDER)
    }
}

/// How the tests of one target ended, in their order.
type Outcomes<'t> = (Place, Vec<Outcome<'t>>);

pub(crate) fn run(args: &Conformance, global: &Global) -> Result<(), Failure> {
    let cache = cache(args.cache.as_ref())?;
    if args.judged {
        return judged::run(&cache, args, global);
    }
    let tests = tests(&cache, &args.only);
    if tests.is_empty() {
        let text = format!("no tests in {}: run tools/models/setup.py", cache.display());
        return Err(Failure::user(text));
    }
    // Panics are counted, not printed.
    std::panic::set_hook(Box::new(|_| {}));
    let mut list = String::new();
    let mut by_place = Vec::new();
    for &place in &args.target {
        let has_older = place == Place::Here(Target::Cpu);
        let chosen = tests.iter().filter(|test| has_older || !test.is_older());
        let outcomes = on((place, args.precision), chosen.collect())?;
        for outcome in &outcomes {
            let test = outcome.test;
            let (status, name, reason) = (outcome.status.name(), &test.name, &outcome.reason);
            let _ = writeln!(list, "{place} {status} {name} {reason}");
            if global.json {
                out::line(json!({
                    "target": place.to_string(), "test": name, "status": status,
                    "reason": reason, "operator": test.subject.operator,
                    "near": outcome.distance.near, "ulp": outcome.distance.ulp,
                }));
            }
        }
        if !global.json {
            out::line(format_args!("{place}: {}", counted(&outcomes)));
        }
        by_place.push((place, outcomes));
    }
    let _ = std::panic::take_hook();
    if let Some(file) = &args.list {
        std::fs::write(file, list).map_err(|error| Failure::io(file, &error))?;
    }
    if let Some(file) = &args.write {
        let page = page::page(&by_place);
        std::fs::write(file, page).map_err(|error| Failure::io(file, &error))?;
    }
    let crashed = by_place.iter().flat_map(|(_, outcomes)| outcomes);
    let crashed = crashed.filter(|outcome| outcome.status == Status::Crash);
    match crashed.count() {
        0 => Ok(()),
        crashed => Err(Failure::Internal(format!("{crashed} tests crashed"))),
    }
}

/// The chosen tests, sorted by name.
fn tests(cache: &Path, only: &[String]) -> Vec<Test> {
    let conformance = cache.join("conformance");
    let kinds = KINDS.map(|kind| (kind, conformance.join(kind)));
    let kinds = kinds.into_iter().chain([(OLDER, cache.join(OLDER))]);
    let mut tests = Vec::new();
    for (kind, folder) in kinds {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = format!("{kind}/{}", entry.file_name().to_string_lossy());
            let is_chosen = only.is_empty() || only.iter().any(|part| name.contains(part));
            let folder = entry.path();
            if is_chosen && folder.join("model.onnx").is_file() {
                let subject = Subject::of(&folder);
                tests.push(Test {
                    name,
                    folder,
                    subject,
                });
            }
        }
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    tests
}

/// Runs tests on every core, each on a device of one thread.
fn on<'t>(
    (place, precision): (Place, Precision),
    tests: Vec<&'t Test>,
) -> Result<Vec<Outcome<'t>>, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let open = (0..cores).map(|_| place.open(precision));
    let devices: Vec<Opened> = open.collect::<Result<_, _>>()?;
    let bar = log::bar(tests.len());
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = |device: &Opened| {
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some(test) = tests.get(position) else {
                break;
            };
            let outcome = outcome(test, device);
            bar.inc(1);
            let mut outcomes = outcomes.lock().expect("no holder of the lock panics");
            outcomes.insert(position, outcome);
        }
    };
    std::thread::scope(|scope| {
        for device in &devices {
            scope.spawn(|| work(device));
        }
    });
    bar.finish_and_clear();
    let outcomes = outcomes.into_inner().expect("no holder of the lock panics");
    Ok(outcomes.into_values().collect())
}

fn outcome<'t>(test: &'t Test, device: &Opened) -> Outcome<'t> {
    let judged = catch(|| judge::judge(&test.name, &test.folder, device));
    let judged = judged.unwrap_or_else(|panic| Err((Status::Crash, panic)));
    let (good, reason) = match judged {
        Ok(good) => (good, String::new()),
        Err((status, reason)) => (judge::Good::without_values(status), reason),
    };
    Outcome {
        test,
        status: good.status,
        reason: reason.split_whitespace().collect::<Vec<_>>().join(" "),
        distance: good.distance,
        has_host_steps: good.has_host_steps,
    }
}

/// How many tests ended in each way.
fn counts<'o>(outcomes: impl IntoIterator<Item = &'o Outcome<'o>>) -> BTreeMap<Status, usize> {
    let mut counts = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.status).or_default() += 1;
    }
    counts
}

/// `12 pass, 0 random, 3 refused, 0 wrong, 0 crash of 15`.
fn counted(outcomes: &[Outcome<'_>]) -> String {
    let counts = counts(outcomes);
    let count = |status: Status| format!("{} {}", counts.get(&status).unwrap_or(&0), status.name());
    let words: Vec<String> = Status::ALL.into_iter().map(count).collect();
    format!("{} of {}", words.join(", "), outcomes.len())
}
