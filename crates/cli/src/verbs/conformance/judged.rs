//! Generated cases of single operators, whose outputs two evaluators gave that know nothing of each
//! other or of us: ONNX Runtime without optimisations, and ONNX's reference. Two of three vote.
//! Where there is the operator's function body beside the case, we must make of it what we make of
//! the operator.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use alula::{Session, Value, pb};
use serde_json::json;

use super::judge::{Bad, compare, inputs, session};
use super::{Status, catch};
use crate::args::{Conformance, Global};
use crate::failure::Failure;
use crate::place::Opened;
use crate::{log, out};

const JUDGES: [&str; 2] = ["onnxruntime", "reference"];

/// How we stand to the judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Vote {
    /// Every judge that has a vote says the same.
    Agree,
    /// The judges differ, and we are with one of them.
    Split,
    /// The judges differ, and we are with none of them.
    Apart,
    /// Only one judge has a vote, and says something else.
    Alone,
    /// We make something else of the operator's function body.
    Unlike,
    /// We refuse the case.
    Refused,
    /// Both judges say the same, and we something else.
    Wrong,
    /// A panic.
    Crash,
}

impl Vote {
    const ALL: [Vote; 8] = [
        Vote::Agree,
        Vote::Split,
        Vote::Apart,
        Vote::Alone,
        Vote::Unlike,
        Vote::Refused,
        Vote::Wrong,
        Vote::Crash,
    ];

    fn name(self) -> &'static str {
        match self {
            Vote::Agree => "agree",
            Vote::Split => "split",
            Vote::Apart => "apart",
            Vote::Alone => "alone",
            Vote::Unlike => "unlike",
            Vote::Refused => "refused",
            Vote::Wrong => "wrong",
            Vote::Crash => "crash",
        }
    }
}

/// Runs every chosen case of `CACHE/judged` on every chosen target.
pub(super) fn run(cache: &Path, args: &Conformance, global: &Global) -> Result<(), Failure> {
    let cases = cases(&cache.join("judged"), &args.only);
    if cases.is_empty() {
        let text = format!(
            "no cases in {}: run tools/models/setup.py judged",
            cache.display()
        );
        return Err(Failure::user(text));
    }
    std::panic::set_hook(Box::new(|_| {}));
    let mut list = String::new();
    let mut crashed = 0;
    for place in &args.target {
        let opened = place.open(args.precision)?;
        let mut counts: BTreeMap<Vote, usize> = BTreeMap::new();
        let bar = log::bar(cases.len());
        for (name, folder) in &cases {
            bar.set_message(name.clone());
            let judged = catch(|| judged(folder, &opened));
            let (vote, reason) = judged.unwrap_or_else(|panic| (Vote::Crash, panic));
            bar.inc(1);
            *counts.entry(vote).or_default() += 1;
            let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(list, "{place} {} {name} {reason}", vote.name());
            if global.json {
                out::line(json!({
                    "target": place.to_string(), "test": name, "status": vote.name(),
                    "reason": reason,
                }));
            }
        }
        bar.finish_and_clear();
        crashed += counts.get(&Vote::Crash).copied().unwrap_or(0);
        if !global.json {
            let count = |vote: Vote| format!("{} {}", counts.get(&vote).unwrap_or(&0), vote.name());
            let counts: Vec<String> = Vote::ALL.into_iter().map(count).collect();
            out::line(format_args!(
                "{place}: {} of {}",
                counts.join(", "),
                cases.len()
            ));
        }
    }
    let _ = std::panic::take_hook();
    if let Some(file) = &args.list {
        std::fs::write(file, list).map_err(|error| Failure::io(file, &error))?;
    }
    match crashed {
        0 => Ok(()),
        crashed => Err(Failure::Internal(format!("{crashed} cases crashed"))),
    }
}

/// Names and folders of the chosen cases, sorted.
fn cases(folder: &Path, only: &[String]) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, entry.path())
    });
    let is_chosen = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part));
    let mut cases: Vec<(String, PathBuf)> = named
        .filter(|(name, path)| is_chosen(name) && path.join("model.onnx").is_file())
        .collect();
    cases.sort();
    cases
}

fn judged(folder: &Path, place: &Opened) -> (Vote, String) {
    let (ours, judges) = match given(folder, place) {
        Ok(given) => given,
        Err((Status::Wrong, reason)) => return (Vote::Wrong, reason),
        Err((_, reason)) => return (Vote::Refused, reason),
    };
    let body = folder.join("expanded.onnx");
    if body.is_file()
        && let Ok((_, expanded)) = outputs(&body, folder, place)
        && let Some(why) = difference(&ours, &expanded)
    {
        return (
            Vote::Unlike,
            format!("the function body gives another {why}"),
        );
    }
    // Why we differ from each judge that has a vote.
    let differs: Vec<(&str, Option<String>)> = judges
        .iter()
        .map(|(judge, theirs)| (*judge, difference(&ours, theirs)))
        .collect();
    let words = || {
        let named = differs.iter().map(|(judge, why)| match why {
            None => format!("{judge} agrees"),
            Some(why) => format!("{judge}: {why}"),
        });
        named.collect::<Vec<_>>().join("; ")
    };
    let disagree = differs.iter().filter(|(_, why)| why.is_some()).count();
    match (disagree, differs.len()) {
        (0, _) => (Vote::Agree, String::new()),
        (1, 1) => (Vote::Alone, words()),
        (1, _) => (Vote::Split, words()),
        _ => match difference(&judges[0].1, &judges[1].1) {
            None => (Vote::Wrong, words()),
            Some(_) => (Vote::Apart, words()),
        },
    }
}

/// The first output in which two lists differ, and how.
fn difference(ours: &[Value], theirs: &[Value]) -> Option<String> {
    let pairs = ours.iter().zip(theirs).enumerate();
    pairs.into_iter().find_map(|(position, (ours, theirs))| {
        let differs = compare(ours, theirs).err()?;
        Some(format!("output {position}: {differs}"))
    })
}

/// Outputs of one who has a vote.
type Outputs = Vec<Value>;

/// Our outputs and those of each judge that has a vote.
fn given(folder: &Path, place: &Opened) -> Result<(Outputs, Vec<(&'static str, Outputs)>), Bad> {
    let (session, ours) = outputs(&folder.join("model.onnx"), folder, place)?;
    let mut judges = Vec::new();
    for judge in JUDGES {
        let data = folder.join(judge);
        if !data.is_dir() {
            continue;
        }
        let ports = session.outputs().iter().enumerate();
        let values = ports.map(|(position, port)| {
            let path = data.join(format!("output_{position}.pb"));
            pb::read(path, &port.ty).map_err(|error| (Status::Wrong, error.to_string()))
        });
        judges.push((judge, values.collect::<Result<_, _>>()?));
    }
    Ok((ours, judges))
}

/// A model's outputs of a case's inputs.
fn outputs(model: &Path, folder: &Path, place: &Opened) -> Result<(Session, Outputs), Bad> {
    // Cases may break what an operator demands, which any of the three may refuse.
    let refused = |(_, reason): Bad| (Status::Refused, reason);
    let session = session(model, place).map_err(refused)?;
    let outputs = {
        let inputs = inputs(&session, &folder.join("test_data_set_0")).map_err(refused)?;
        let outputs = session.run(&inputs);
        outputs.map_err(|error| (Status::Refused, error.to_string()))?
    };
    let outputs = outputs.into_iter().map(|(_, value)| value).collect();
    Ok((session, outputs))
}
