//! Generated cases of single operators that ONNX Runtime and ONNX's reference judge. Whatever we do
//! not agree on is in `conformance/judged.txt` with a verdict: by operator where one of the judges
//! is with us or has no vote, and by its name where both are against us.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Cases that fewer would say less than.
const CASES_MIN: usize = 500;

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    std::env::var_os("ALULA_CACHE").map_or_else(|| home().join(".cache/alula"), PathBuf::from)
}

/// The name of the case without the number, or of its operator.
fn operator(case: &str) -> &str {
    let maker = case.rsplit_once('_').map_or(case, |(maker, _)| maker);
    maker
        .split_once('-')
        .map_or(maker, |(operator, _)| operator)
}

#[test]
fn no_case_differs_without_a_verdict() {
    let cache = cache();
    if !cache.join("judged").is_dir() {
        let reason = format!("no judged cases in {}", cache.display());
        alula_testkit::skip("no_case_differs_without_a_verdict", &reason);
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_alula"))
        .args(["--json", "conformance", "--judged", "--cache"])
        .arg(&cache)
        .output()
        .expect("the command line runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .collect();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(rows.len() >= CASES_MIN, "{} cases: {words}", rows.len());
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/judged.txt");
    let list = std::fs::read_to_string(list).expect("the list is there");
    // `STATUS NAME: verdict`.
    let listed: BTreeSet<&str> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .map(|(case, _)| case)
        .collect();
    let mut findings = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let word = |name: &str| row[name].as_str().unwrap_or_default();
        let (case, status) = (word("test"), word("status"));
        *counts.entry(status).or_default() += 1;
        let is_known = match status {
            "agree" => true,
            "split" | "alone" | "unlike" | "refused" => {
                listed.contains(format!("{status} {}", operator(case)).as_str())
            }
            _ => listed.contains(format!("{status} {case}").as_str()),
        };
        if !is_known {
            findings.push(format!("{status} {case}: {}", word("reason")));
        }
    }
    eprintln!("{counts:?}");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
