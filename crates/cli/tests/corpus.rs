//! The real models of the test data, compiled and compared with their references: all are right.
//! `alula corpus` runs the standard ones, too.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    std::env::var_os("ALULA_CACHE").map_or_else(|| home().join(".cache/alula"), PathBuf::from)
}

#[test]
fn models_agree_with_their_references() {
    let cache = cache();
    if !cache.join("references").is_dir() || !cache.join("real").is_dir() {
        let reason = format!("no models in {}", cache.display());
        alula_testkit::skip("models_agree_with_their_references", &reason);
        return;
    }
    let manifest = std::fs::read_to_string(cache.join("real/manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("the manifest is JSON");
    let models = manifest["models"].as_array().expect("a list of models");
    let only = models.iter().filter_map(|model| model["name"].as_str());
    let output = Command::new(env!("CARGO_BIN_EXE_alula"))
        .args(["--json", "corpus", "--target", "cpu", "--cache"])
        .arg(&cache)
        .args(only.flat_map(|name| ["--only", name]))
        .output()
        .expect("the command line runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut findings = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        let Ok(row) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let (Some(model), Some(status)) = (row["model"].as_str(), row["status"].as_str()) else {
            continue;
        };
        count += 1;
        if status != "ok" {
            findings.push(format!("{model} is {status}: {}", row["reason"]));
        }
    }
    assert!(
        count >= 18,
        "{count} models: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
