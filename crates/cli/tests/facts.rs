//! What compiling real models must show: which rules recognised what, that activations fused, and
//! how much memory and time it took.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A model, rules with how often they fire at least, and words for nodes that are no kernel of
/// their own.
struct Facts {
    model: &'static str,
    rules: &'static [(&'static str, u64)],
    fused: &'static [&'static str],
}

/// Every checkout of the test data has these.
const REAL: &[Facts] = &[
    Facts {
        model: "picodet-layout",
        rules: &[("fold_batch_norm_into_conv", 94)],
        fused: &["Relu"],
    },
    Facts {
        model: "ppocr4-det",
        rules: &[
            ("fold_batch_norm_into_conv", 2),
            ("fold_batch_norm_into_conv_transpose", 1),
        ],
        fused: &["Relu"],
    },
    Facts {
        model: "ppocr4-rec",
        rules: &[
            ("fold_batch_norm_into_conv", 6),
            ("recognise_layer_norm", 5),
            ("recognise_attention", 2),
        ],
        fused: &["Relu"],
    },
    Facts {
        model: "basic-pitch",
        rules: &[],
        fused: &["Relu"],
    },
    Facts {
        model: "minilm-l3",
        rules: &[("recognise_gelu", 3), ("recognise_attention", 3)],
        fused: &[],
    },
    Facts {
        model: "piper-vits",
        rules: &[("recognise_layer_norm", 36), ("recognise_gelu", 24)],
        fused: &[],
    },
];

/// These are large, and are checked where somebody has made them.
const STANDARD: &[Facts] = &[
    Facts {
        model: "resnet50",
        rules: &[("fold_batch_norm_into_conv", 53)],
        fused: &["relu", "node_add"],
    },
    Facts {
        model: "bert-base",
        rules: &[("recognise_attention", 12)],
        fused: &[],
    },
];

/// Most seconds that compiling takes, without optimisation and beside other tests. It is to notice
/// what never ends, not what is slow.
const SECONDS_MAX: f64 = 120.0;

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    std::env::var_os("ALULA_CACHE").map_or_else(|| home().join(".cache/alula"), PathBuf::from)
}

fn json(words: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_alula"))
        .arg("--json")
        .args(words)
        .output()
        .expect("the command line runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().next();
    let line = line.unwrap_or_else(|| panic!("{words:?}: {error}"));
    serde_json::from_str(line).expect("JSON")
}

/// What is not as it must be.
fn findings(facts: &Facts, model: &Path, folder: &Path) -> Vec<String> {
    let name = facts.model;
    let mut findings = Vec::new();
    let path = model.display().to_string();
    let explained = json(&["explain", &path]);
    for (rule, least) in facts.rules {
        let found = explained["fires"][rule].as_u64().unwrap_or(0);
        if found < *least {
            findings.push(format!("{name}: {rule} fired {found} times, not {least}"));
        }
    }
    let kernels = explained["kernels"].as_array().expect("a list of kernels");
    let nodes = kernels.iter().filter_map(Value::as_array);
    let alone = nodes.filter(|nodes| nodes.len() == 1);
    for node in alone.filter_map(|nodes| nodes[0].as_str()) {
        if facts.fused.iter().any(|word| node.contains(word)) {
            findings.push(format!("{name}: {node} is a kernel of its own"));
        }
    }
    let file = folder.join("model.alula").display().to_string();
    let compiled = json(&["compile", &path, "-o", &file]);
    if let Some(peak) = compiled["rss_mb"].as_f64() {
        let bytes = model.metadata().expect("the model is there").len();
        let bound = 3.0 * bytes as f64 / 1e6 + 200.0;
        if peak > bound {
            findings.push(format!(
                "{name}: compiling took {peak:.0} MB, not {bound:.0}"
            ));
        }
    }
    let seconds = compiled["compile_s"].as_f64().expect("a time");
    if seconds > SECONDS_MAX {
        findings.push(format!("{name}: compiling took {seconds:.0} s"));
    }
    findings
}

#[test]
fn real_models_fuse_and_compile_as_they_must() {
    let cache = cache();
    if !cache.join("real").is_dir() {
        let reason = format!("no models in {}", cache.display());
        alula_testkit::skip("real_models_fuse_and_compile_as_they_must", &reason);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut found = Vec::new();
    for (kind, list) in [("real", REAL), ("standard", STANDARD)] {
        for facts in list {
            let model = cache.join(kind).join(format!("{}.onnx", facts.model));
            if kind == "real" || model.is_file() {
                found.extend(findings(facts, &model, folder.path()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
