//! Instructions of the first run of a few models, counted by callgrind: a figure of speed that does
//! not depend on the machine or on what else it does. It is compared with `instructions.txt` within
//! [`SHARE`]; `BLESS=1` renews that.
//!
//! Code is compiled for AVX2, which valgrind knows, and the library as tests build it. Valgrind's
//! processor is the same everywhere, so that kernels which ask it what it has choose the same.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Test data that are fetched, run on their first example, besides the model of the repository.
const REAL: [&str; 2] = ["silero-vad", "gru-seq2seq-int8"];

/// By how much of a figure a count may differ either way.
const SHARE: f64 = 0.02;

/// The function within which instructions are counted, kernels that it calls included.
const COUNTED: &str = "*alula_runtime*session*Session*run_with*";

const NAME: &str = "runs_take_as_many_instructions_as_before";

/// A model, and where its inputs are.
struct Subject {
    name: &'static str,
    model: PathBuf,
    example: Option<PathBuf>,
}

fn subjects() -> Vec<Subject> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cache = std::env::var_os("ALULA_CACHE");
    let cache = cache.map_or_else(|| home().join(".cache/alula"), PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let digits = Subject {
        name: "digits",
        model: root.join("../../examples/digits/digits.onnx"),
        example: None,
    };
    let real = REAL.map(|name| Subject {
        name,
        model: cache.join("real").join(format!("{name}.onnx")),
        example: Some(cache.join("references").join(name).join("0")),
    });
    [digits].into_iter().chain(real).collect()
}

/// The words that give a run its inputs.
fn inputs(example: Option<&Path>) -> Vec<String> {
    let Some(folder) = example else {
        return ["--random", "1"].map(str::to_owned).to_vec();
    };
    let record = std::fs::read_to_string(folder.join("record.json")).expect("it was there");
    let record: Value = serde_json::from_str(&record).expect("a record is JSON");
    let entries = record["inputs"].as_array().expect("a list of inputs");
    let words = entries.iter().flat_map(|entry| {
        let word = |key: &str| entry[key].as_str().expect("a word");
        let file = folder.join(word("file"));
        [
            "--input".to_owned(),
            format!("{}={}", word("name"), file.display()),
        ]
    });
    words.collect()
}

fn alula() -> &'static str {
    env!("CARGO_BIN_EXE_alula")
}

fn done(command: &mut Command) -> Output {
    let output = command
        .env("ALULA_CPU_ISA", "avx2")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

/// Instructions of the first run of a model.
fn count(subject: &Subject, folder: &Path) -> u64 {
    let artifact = folder.join("model.alula");
    let words = ["compile", "--threads", "1", "--output"];
    done(
        Command::new(alula())
            .args(words)
            .arg(&artifact)
            .arg(&subject.model),
    );
    let output = done(
        Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(format!("--toggle-collect={COUNTED}"))
            .arg(alula())
            .args(["run", "--threads", "1", "--json"])
            .args(inputs(subject.example.as_deref()))
            .arg(&artifact),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let count = line.and_then(|(_, count)| count.trim().parse().ok());
    let count = count.unwrap_or_else(|| panic!("callgrind counts: {said}"));
    assert!(count > 0, "no function is named {COUNTED}: {said}");
    count
}

/// Why nothing can be counted here.
fn missing() -> Option<String> {
    if !cfg!(debug_assertions) {
        return Some("figures are those of the test build".to_owned());
    }
    if !cfg!(target_arch = "x86_64") {
        return Some("figures are those of x86-64".to_owned());
    }
    let version = Command::new("valgrind").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Some("valgrind is not installed".to_owned());
    }
    let needed = subjects().into_iter().flat_map(|subject| {
        let record = subject.example.map(|folder| folder.join("record.json"));
        [Some(subject.model), record].into_iter().flatten()
    });
    let mut absent = needed.filter(|path| !path.is_file());
    absent
        .next()
        .map(|path| format!("{} is not there", path.display()))
}

#[test]
fn runs_take_as_many_instructions_as_before() {
    if let Some(reason) = missing() {
        return alula_testkit::skip(NAME, &reason);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let counts: Vec<(&str, u64)> = subjects()
        .iter()
        .map(|subject| (subject.name, count(subject, folder.path())))
        .collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions.txt");
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        let lines = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}\n"));
        let head = "# Instructions of the first run, as instructions.rs counts them. Written with \
                    BLESS=1.\n";
        let text = head.to_owned() + &lines.collect::<String>();
        std::fs::write(&file, text).expect("the figures can be written");
    }
    let text = std::fs::read_to_string(&file).expect("the figures are there");
    let figure = |name: &str| -> Option<u64> {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(known, _)| *known == name)?.1.parse().ok()
    };
    let mut findings = Vec::new();
    for (name, count) in counts {
        let Some(old) = figure(name) else {
            findings.push(format!("{name}: {count}, and there is no figure"));
            continue;
        };
        let change = count as f64 / old as f64 - 1.0;
        eprintln!("{name}: {count}, {:+.2} %", 100.0 * change);
        if change.abs() > SHARE {
            findings.push(format!(
                "{name}: {count}, not {old}: {:+.1} %",
                100.0 * change
            ));
        }
    }
    assert!(
        findings.is_empty(),
        "{}\nBLESS=1 renews the figures",
        findings.join("\n")
    );
}
