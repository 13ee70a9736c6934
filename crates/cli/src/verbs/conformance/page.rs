//! The score as a page: a table of operators for each target, and every refusal with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use alula::Target;

use super::{Outcome, Status, counted};

/// Words of a reason that are shown.
const REASON_LENGTH_MAX: usize = 160;

const INTRODUCTION: &str = "\
# ONNX conformance

<!-- Written by `alula conformance --write docs/conformance.md`. -->

ONNX's own tests: the node tests of onnx 1.23.2 and the model tests of its last wheel that had them.
A test passes where each element of a float is within the tolerance of ONNX's runner
(`1e-7 + 1e-3 |reference|`, in bf16 `1e-7 + 2^-6 |reference|`) and all else is equal. An element
beyond that is *near* if it is within 2 units in the last place of the tensor's largest: what is
left where the terms of a sum cancel. The references of *random* tests come from NumPy's generator,
which ONNX does not ask for; there types and statistics are judged. Tests of an operator's function
body count as the operator's. *ULP* is the largest error of a float element, over the spacing of
its dtype at the reference, or at a thousandth of the largest reference where that is wider.

The 1,765 node tests of onnx 1.22.0, run once on cpu: 1755 pass, 10 random, 0 refused, 0 wrong.
";

/// What the tests of one operator say.
#[derive(Default)]
struct Line<'o> {
    versions: BTreeSet<i64>,
    dtypes: BTreeSet<&'o str>,
    counts: BTreeMap<Status, usize>,
    ulp: Option<f64>,
}

/// The page.
pub(super) fn page(by_target: &[(Target, Vec<Outcome>)]) -> String {
    let mut page = String::from(INTRODUCTION);
    for (target, outcomes) in by_target {
        let _ = write!(page, "\n## {target}\n\n{}.\n", counted(outcomes));
        table(&mut page, outcomes);
        near(&mut page, outcomes);
        reasons(&mut page, outcomes);
    }
    page
}

fn table(page: &mut String, outcomes: &[Outcome]) {
    let mut lines: BTreeMap<&str, Line<'_>> = BTreeMap::new();
    for outcome in outcomes {
        let subject = &outcome.subject;
        let (kind, _) = outcome.test.split_once('/').unwrap_or_default();
        // A model of many operators is no test of its first one.
        let name = match kind {
            "node" => subject.operator.as_str(),
            _ => kind,
        };
        let line = lines.entry(name).or_default();
        if kind == "node" {
            line.versions.extend(subject.version);
        }
        line.dtypes
            .extend(subject.dtypes.iter().map(String::as_str));
        *line.counts.entry(outcome.status).or_default() += 1;
        line.ulp = match (line.ulp, outcome.distance.ulp) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
    }
    page.push_str(
        "\n| operator | versions | dtypes | pass | random | refused | wrong | crash | ULP |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, line) in lines {
        let versions: Vec<String> = line.versions.iter().map(i64::to_string).collect();
        let dtypes: Vec<&str> = line.dtypes.into_iter().collect();
        let _ = write!(
            page,
            "| {name} | {} | {} |",
            versions.join(" "),
            dtypes.join(" ")
        );
        for status in Status::ALL {
            match line.counts.get(&status) {
                Some(count) => {
                    let _ = write!(page, " {count} |");
                }
                None => page.push_str(" |"),
            }
        }
        let ulp = line.ulp.map(ulp).unwrap_or_default();
        let _ = writeln!(page, " {ulp} |");
    }
}

fn near(page: &mut String, outcomes: &[Outcome]) {
    let near = outcomes.iter().filter(|outcome| outcome.distance.near);
    let near: Vec<&str> = near.map(|outcome| outcome.test.as_str()).collect();
    if !near.is_empty() {
        let (count, names) = (near.len(), near.join(", "));
        let _ = writeln!(
            page,
            "\nOf those that pass, {count} are only near: {names}."
        );
    }
}

/// Two digits, no more.
fn ulp(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 10.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn reasons(page: &mut String, outcomes: &[Outcome]) {
    let bad = |outcome: &&Outcome| !matches!(outcome.status, Status::Pass | Status::Random);
    let mut bad = outcomes.iter().filter(bad).peekable();
    if bad.peek().is_none() {
        return;
    }
    page.push_str("\n| test | status | reason |\n|---|---|---|\n");
    for outcome in bad {
        let mut reason: String = outcome.reason.chars().take(REASON_LENGTH_MAX).collect();
        if reason.len() < outcome.reason.len() {
            reason.push('…');
        }
        let reason = reason.replace('|', "\\|");
        let (test, status) = (&outcome.test, outcome.status.name());
        let _ = writeln!(page, "| {test} | {status} | {reason} |");
    }
}
