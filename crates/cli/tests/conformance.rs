//! ONNX's own tests on the CPU: none is wrong, none crashes, and every one passes that is not in
//! the list of those that do not, `conformance/cpu.txt`. `BLESS=1` renews the list and the page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Tests of onnx 1.23.2 that the test data hold; fewer would say less.
const TESTS: usize = 2024;

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    std::env::var_os("ALULA_CACHE").map_or_else(|| home().join(".cache/alula"), PathBuf::from)
}

/// Statuses other than pass by test, as the list has them.
fn listed(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(status, test)| (test, status))
        .collect()
}

#[test]
fn no_test_of_onnx_is_wrong_and_none_is_lost() {
    let cache = cache();
    if !cache.join("conformance").is_dir() {
        let reason = format!("no conformance tests in {}", cache.display());
        alula_testkit::skip("no_test_of_onnx_is_wrong_and_none_is_lost", &reason);
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (list, page) = (
        root.join("tests/conformance/cpu.txt"),
        root.join("../../docs/conformance.md"),
    );
    let is_blessing = std::env::var_os("BLESS").is_some();
    let mut command = Command::new(env!("CARGO_BIN_EXE_alula"));
    command
        .args(["--json", "conformance", "--target", "cpu", "--cache"])
        .arg(&cache);
    if is_blessing {
        command.arg("--write").arg(&page);
    }
    let output = command.output().expect("the command line runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .collect();
    assert_eq!(
        rows.len(),
        TESTS,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    if is_blessing {
        let mut text = String::from("# Tests that do not pass on the CPU. Written with BLESS=1.\n");
        for row in &rows {
            let status = word(row, "status");
            if status != "pass" {
                let _ = writeln!(text, "{status} {}", word(row, "test"));
            }
        }
        std::fs::write(&list, text).expect("written");
    }
    let list = std::fs::read_to_string(&list).expect("the list is there");
    let listed = listed(&list);
    let mut findings = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        let (test, status) = (word(row, "test"), word(row, "status"));
        let wanted = listed.get(test.as_str()).copied().unwrap_or("pass");
        if status != wanted || status == "wrong" || status == "crash" {
            findings.push(format!("{test}: {status}, not {wanted}: {}", row["reason"]));
        }
        *counts.entry(status).or_default() += 1;
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    let count = |status: &str| counts.get(status).copied().unwrap_or(0);
    let score = format!(
        "{} pass, {} random, {} refused, 0 wrong, 0 crash of {TESTS}.",
        count("pass"),
        count("random"),
        count("refused")
    );
    let page = std::fs::read_to_string(&page).expect("the page is there");
    assert!(
        page.contains(&score),
        "docs/conformance.md does not say {score:?}: run this test with BLESS=1"
    );
}
