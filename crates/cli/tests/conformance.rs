//! ONNX's own tests on the CPU, on wgpu, and as PTX in its interpreter: none is wrong, none
//! crashes, and every one passes that is not in the list of those that do not,
//! `conformance/TARGET.txt`. No operator is further off than `conformance/ulp.txt` allows, which is
//! far less than ONNX does. What `docs/conformance.md` says is what the command says. `BLESS=1`
//! renews the lists of tests and the page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Tests of onnx 1.23.2 that the test data hold; fewer would say less.
const TESTS: usize = 2024;

/// Node tests of onnx 1.22.0, which run on the processor.
const TESTS_OLDER: usize = 1765;

/// Units in the last place that an operator may be off if no list says otherwise.
const ULP_MAX: f64 = 4.0;

const TARGETS: [&str; 3] = ["cpu", "wgpu", "ptx"];

const NAME: &str = "no_test_of_onnx_is_wrong_and_none_is_lost";

fn alula(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alula"));
    command.args(args).output().expect("the command line runs")
}

/// One JSON value a line.
fn rows(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = text.lines().map(serde_json::from_str);
    rows.map(|row| row.expect("every line is JSON")).collect()
}

fn word<'v>(row: &'v Value, name: &str) -> &'v str {
    row[name].as_str().unwrap_or_default()
}

/// Whether this machine has an adapter.
fn has_wgpu() -> bool {
    let devices = rows(&alula(&["--json", "devices"]));
    let mut wgpu = devices.iter().filter(|row| word(row, "target") == "wgpu");
    wgpu.any(|row| row["available"] == true)
}

/// What an error says in the end, without the names of kernels and nodes.
fn last_part(reason: &str) -> &str {
    reason.rsplit(": ").next().unwrap_or_default()
}

/// The tests that do not pass, as the list has them: `STATUS TEST REASON`.
fn list_of(target: &str, rows: &[&Value]) -> String {
    let mut list = format!("# Tests that do not pass on {target}. Written with BLESS=1.\n");
    for row in rows {
        let (status, test) = (word(row, "status"), word(row, "test"));
        if status != "pass" {
            let line = format!("{status} {test} {}", last_part(word(row, "reason")));
            let _ = writeln!(list, "{}", line.trim_end());
        }
    }
    list
}

/// Statuses other than pass by test.
fn statuses(list: &str) -> BTreeMap<&str, &str> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let statuses = lines.filter_map(|line| {
        let mut words = line.split(' ');
        let status = words.next()?;
        Some((words.next()?, status))
    });
    statuses.collect()
}

/// Adds what is not as the list of a target has it.
fn check(target: &str, rows: &[&Value], listed: &str, findings: &mut Vec<String>) {
    let older = if target == "cpu" { TESTS_OLDER } else { 0 };
    assert_eq!(
        rows.len(),
        TESTS + older,
        "{target}: tools/models/setup.py fetches the tests"
    );
    let listed = statuses(listed);
    for row in rows {
        let (test, status) = (word(row, "test"), word(row, "status"));
        let wanted = listed.get(test).copied().unwrap_or("pass");
        if status != wanted || status == "wrong" || status == "crash" {
            let reason = word(row, "reason");
            findings.push(format!("{target} {test}: {status}, not {wanted}: {reason}"));
        }
    }
}

/// Bounds in units in the last place, as the list has them: `SUBJECT BOUND: reason`.
fn bounds() -> BTreeMap<&'static str, f64> {
    let list = include_str!("conformance/ulp.txt");
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let bounds = lines.map(|line| {
        let (bound, _) = line.split_once(": ").expect("each bound has its reason");
        let (subject, bound) = bound.split_once(' ').expect("each subject has its bound");
        (subject, bound.parse().expect("bounds are numbers"))
    });
    bounds.collect()
}

/// Adds what is further off than our own bounds allow. References of the older ONNX are less exact.
fn check_ulp(rows: &[Value], findings: &mut Vec<String>) {
    let bounds = bounds();
    let is_older = |row: &&Value| word(row, "test").starts_with("onnx-");
    for row in rows.iter().filter(|row| !is_older(row)) {
        let test = word(row, "test");
        // A model of many operators is no test of its first one.
        let subject = match test.split_once('/') {
            Some((kind, _)) if kind.starts_with("pytorch") => kind,
            _ => word(row, "operator"),
        };
        let (ulp, bound) = (row["ulp"].as_f64(), bounds.get(subject).copied());
        let bound = bound.unwrap_or(ULP_MAX);
        if let Some(ulp) = ulp.filter(|ulp| *ulp > bound) {
            let target = word(row, "target");
            let off = format!("{target} {test}: {subject} is off by {ulp} ULP, not {bound}");
            findings.push(off);
        }
    }
}

/// A page without what differs between machines: the units in the last place, and which tests are
/// near.
fn without_ulp(page: &str) -> Vec<String> {
    let lines = page.lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("Of those"));
    let lines = lines.map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        // Operator, versions, dtypes, count, then a status and its units for each target.
        match cells.len() == 4 + 2 * TARGETS.len() {
            true => {
                let head = cells[..4].iter().copied();
                let statuses = cells[4..].iter().copied().step_by(2);
                head.chain(statuses).collect::<Vec<_>>().join(" | ")
            }
            false => line.to_owned(),
        }
    });
    lines.collect()
}

#[test]
fn no_test_of_onnx_is_wrong_and_none_is_lost() {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cache = std::env::var_os("ALULA_CACHE");
    let cache = cache.map_or_else(|| home().join(".cache/alula"), PathBuf::from);
    if !cache.join("conformance").is_dir() {
        let reason = format!("no conformance tests in {}", cache.display());
        return alula_testkit::skip(NAME, &reason);
    }
    let mut targets = TARGETS.to_vec();
    if !has_wgpu() {
        targets.retain(|target| *target != "wgpu");
        alula_testkit::skip(NAME, "no adapter for wgpu");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let written = folder.path().join("conformance.md");
    let text = |path: &Path| path.to_str().expect("paths are text").to_owned();
    let output = alula(&[
        "--json",
        "conformance",
        "--target",
        &targets.join(","),
        "--cache",
        &text(&cache),
        "--write",
        &text(&written),
    ]);
    let rows = rows(&output);
    assert!(
        !rows.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let is_blessing = std::env::var_os("BLESS").is_some();
    let mut findings = Vec::new();
    for target in &targets {
        let rows: Vec<&Value> = rows
            .iter()
            .filter(|row| word(row, "target") == *target)
            .collect();
        let file = root.join(format!("tests/conformance/{target}.txt"));
        if is_blessing {
            std::fs::write(&file, list_of(target, &rows)).expect("the list can be written");
        }
        let listed = std::fs::read_to_string(&file).expect("the list is there");
        check(target, &rows, &listed, &mut findings);
    }
    check_ulp(&rows, &mut findings);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    if targets != TARGETS {
        return;
    }
    let page = root.join("../../docs/conformance.md");
    if is_blessing {
        std::fs::copy(&written, &page).expect("the page can be written");
    }
    let read = |path: &Path| std::fs::read_to_string(path).expect("the page is there");
    let (page, written) = (read(&page), read(&written));
    let (page, written) = (without_ulp(&page), without_ulp(&written));
    let mut pairs = page.iter().zip(&written);
    let difference = pairs.find(|(is, should)| is != should);
    assert!(
        difference.is_none() && page.len() == written.len(),
        "docs/conformance.md is not what the tests say; BLESS=1 renews it: {difference:?}"
    );
}
