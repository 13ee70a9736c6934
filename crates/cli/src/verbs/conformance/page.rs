//! The score as a page: a table of operators with a column for each target, and what the refused
//! tests ask for that the target lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Outcome, Outcomes, Status, counts};

const INTRODUCTION: &str = "\
# ONNX conformance

<!-- Written by `alula conformance --target cpu,wgpu,ptx --write docs/conformance.md`. -->

ONNX's own tests: the node tests of onnx 1.23.2 and the model tests of its last wheel that had them.
A test passes where each element of a float is within the tolerance of ONNX's runner
(`1e-7 + 1e-3 |reference|`, in bf16 `1e-7 + 2^-6 |reference|`) and all else is equal. An element
beyond that is *near* if it is within 2 units in the last place of the tensor's largest: what is
left where the terms of a sum cancel. The references of *random* tests come from NumPy's generator,
which ONNX does not ask for; there types and statistics are judged. Tests of an operator's function
body count as the operator's. *ULP* is the largest error of a float element, over the spacing of
its dtype at the reference, or at a thousandth of the largest reference where that is wider.

*wgpu* is lavapipe, a Vulkan driver without a GPU, and *ptx* what is printed for NVIDIA GPUs, in
our interpreter. The few operators that run on the host do so on every target
([host steps](host-steps.md)).

*Host* counts the tests in which a step runs on the host. The tests of 1.22.0 are that version's
node tests: older versions of the same operators.
";

/// The page.
pub(super) fn page(by_place: &[Outcomes<'_>]) -> String {
    let mut page = String::from(INTRODUCTION);
    score(&mut page, by_place);
    near(&mut page, by_place);
    table(&mut page, by_place);
    for (place, outcomes) in by_place {
        let bad = |status| !matches!(status, Status::Pass | Status::Random);
        if outcomes.iter().any(|outcome| bad(outcome.status)) {
            let _ = write!(page, "\n## Not passed on {place}\n");
            reasons(&mut page, outcomes);
        }
    }
    page
}

fn score(page: &mut String, by_place: &[Outcomes<'_>]) {
    page.push_str("\n| target | onnx | tests |");
    for status in Status::ALL {
        let _ = write!(page, " {} |", status.name());
    }
    page.push_str(" host |\n|---|---|---|---|---|---|---|---|---|\n");
    for (place, outcomes) in by_place {
        for (onnx, is_older) in [("1.23.2", false), ("1.22.0", true)] {
            let outcomes = outcomes.iter();
            let outcomes = outcomes.filter(|outcome| outcome.test.is_older() == is_older);
            let outcomes: Vec<&Outcome<'_>> = outcomes.collect();
            if outcomes.is_empty() {
                continue;
            }
            let _ = write!(page, "| {place} | {onnx} | {} |", outcomes.len());
            let counts = counts(outcomes.iter().copied());
            for status in Status::ALL {
                let _ = write!(page, " {} |", counts.get(&status).unwrap_or(&0));
            }
            let hosted = outcomes.iter().filter(|outcome| outcome.has_host_steps);
            let _ = writeln!(page, " {} |", hosted.count());
        }
    }
}

/// What the tests of one operator say.
#[derive(Default)]
struct Line<'o> {
    versions: BTreeSet<i64>,
    dtypes: BTreeSet<&'o str>,
    /// For each target.
    outcomes: Vec<Vec<&'o Outcome<'o>>>,
}

/// What a test counts for: its operator, unless it is a model of many.
fn subject<'o>(outcome: &'o Outcome<'_>) -> &'o str {
    let test = outcome.test;
    match test.name.split_once('/') {
        Some((kind, _)) if kind != "node" => kind,
        _ => &test.subject.operator,
    }
}

fn table(page: &mut String, by_place: &[Outcomes<'_>]) {
    let mut lines: BTreeMap<&str, Line<'_>> = BTreeMap::new();
    for (position, (_, outcomes)) in by_place.iter().enumerate() {
        for outcome in outcomes.iter().filter(|outcome| !outcome.test.is_older()) {
            let about = &outcome.test.subject;
            let line = lines.entry(subject(outcome)).or_default();
            if outcome.test.name.starts_with("node/") {
                line.versions.extend(about.version);
            }
            line.dtypes.extend(about.dtypes.iter().map(String::as_str));
            line.outcomes.resize(by_place.len(), Vec::new());
            line.outcomes[position].push(outcome);
        }
    }
    page.push_str("\n## By operator\n\n| operator | versions | dtypes | tests |");
    for (place, _) in by_place {
        let _ = write!(page, " {place} | ULP |");
    }
    page.push_str("\n|---|---|---|---|");
    page.push_str(&"---|---|".repeat(by_place.len()));
    page.push('\n');
    for (name, line) in lines {
        let versions: Vec<String> = line.versions.iter().map(i64::to_string).collect();
        let dtypes: Vec<&str> = line.dtypes.into_iter().collect();
        let (versions, dtypes) = (versions.join(" "), dtypes.join(" "));
        let count = line.outcomes.first().map_or(0, Vec::len);
        let _ = write!(page, "| {name} | {versions} | {dtypes} | {count} |");
        for outcomes in &line.outcomes {
            let ulps = outcomes.iter().filter_map(|outcome| outcome.distance.ulp);
            let ulp = ulps.reduce(f64::max).map(ulp).unwrap_or_default();
            let _ = write!(page, " {} | {ulp} |", status(outcomes));
        }
        page.push('\n');
    }
}

/// How the tests of an operator ended: `pass`, or how many in which way.
fn status(outcomes: &[&Outcome<'_>]) -> String {
    let counts = counts(outcomes.iter().copied());
    if counts.keys().all(|status| *status == Status::Pass) {
        return Status::Pass.name().to_owned();
    }
    let words = counts
        .iter()
        .map(|(status, count)| format!("{count} {}", status.name()));
    words.collect::<Vec<_>>().join(", ")
}

/// Two digits, no more.
fn ulp(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 10.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Which tests are only near, by where they are.
fn near(page: &mut String, by_place: &[Outcomes<'_>]) {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (place, outcomes) in by_place {
        for outcome in outcomes.iter().filter(|outcome| outcome.distance.near) {
            let name = outcome.test.name.as_str();
            places.entry(name).or_default().push(place.to_string());
        }
    }
    let mut by_places: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, places) in places {
        by_places.entry(places.join(", ")).or_default().push(name);
    }
    for (places, names) in by_places {
        let (count, names) = (names.len(), names.join(", "));
        let _ = writeln!(
            page,
            "\nOf those that pass on {places}, {count} are only near: {names}."
        );
    }
}

/// What tests did not pass, by what was said of it.
fn reasons(page: &mut String, outcomes: &[Outcome<'_>]) {
    let mut by_reason: BTreeMap<(Status, &str), Vec<&str>> = BTreeMap::new();
    for outcome in outcomes {
        if !matches!(outcome.status, Status::Pass | Status::Random) {
            let reason = last_part(&outcome.reason);
            let names = by_reason.entry((outcome.status, reason)).or_default();
            names.push(&outcome.test.name);
        }
    }
    page.push_str("\n| status | reason | count | tests |\n|---|---|---|---|\n");
    for ((status, reason), names) in by_reason {
        let (status, reason) = (status.name(), reason.replace('|', "\\|"));
        let (count, names) = (names.len(), names.join(" "));
        let _ = writeln!(page, "| {status} | {reason} | {count} | {names} |");
    }
}

/// What an error says in the end, without the names of kernels and nodes.
fn last_part(reason: &str) -> &str {
    reason.rsplit(": ").next().unwrap_or_default()
}
