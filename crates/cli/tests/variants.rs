//! Every family of micro-kernels and every precision gives right results: part of ONNX's tests and
//! of the real models under each. `tools/variants` runs all of them.
//!
//! A forced family stands for a processor that has no more, loops included.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Families of this architecture.
const FAMILIES: &[&str] = match cfg!(target_arch = "x86_64") {
    true => &["portable", "avx2", "avx512", "amx"],
    false => &["portable", "neon"],
};

/// Operators whose code differs between families: contractions, and loops of most forms.
const OPERATORS: &str = "conv,gemm,matmul,einsum,lstm,gru,rnn,attention,linear_,softmax,\
    normalization,reduce_,resize,gelu,cumsum,quantize,pool,cast_,top_k";

/// Real models, small ones of each kind: convolutions, transformers, recurrent, bytes.
const MODELS: &str = "basic-pitch,crnn-int8,gru-seq2seq,minilm-l3,ppocr4-rec,silero-vad,smart-turn";
const MODELS_COUNT: usize = 7;

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    std::env::var_os("ALULA_CACHE").map_or_else(|| home().join(".cache/alula"), PathBuf::from)
}

fn alula(words: &[&str], family: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alula"));
    let command = command.args(words).env("ALULA_CPU_ISA", family);
    command.output().expect("the command line runs")
}

/// Whether this processor has the family; what is said where it has not is the reason.
fn lacks(family: &str) -> Option<String> {
    let asked = alula(&["explain", &digits()], family);
    (!asked.status.success()).then(|| String::from_utf8_lossy(&asked.stderr).trim().to_owned())
}

fn digits() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/digits.onnx");
    path.to_str().expect("paths are text").to_owned()
}

/// Rows that are not `good`, and the number of rows.
fn bad(output: &Output, subject: &str, good: &[&str]) -> (Vec<String>, usize) {
    let text = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .filter(|row: &Value| row["status"] != "missing")
        .collect();
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let bad = rows
        .iter()
        .filter(|row| !good.contains(&word(row, "status").as_str()));
    let line = |row: &Value| {
        format!(
            "{} is {}: {}",
            word(row, subject),
            word(row, "status"),
            word(row, "reason")
        )
    };
    (bad.map(line).collect(), rows.len())
}

/// Names the family and the precision in front of each finding.
fn check(family: &str, precision: &str, cache: &Path, findings: &mut Vec<String>) {
    let cache = cache.to_str().expect("paths are text");
    let options = ["--precision", precision, "--cache", cache, "--only"];
    let words = |verb| [&["--json", verb][..], &options].concat();
    let tests = alula(&[&words("conformance")[..], &[OPERATORS]].concat(), family);
    let models = alula(&[&words("corpus")[..], &[MODELS]].concat(), family);
    let of_tests = bad(&tests, "test", &["pass", "random"]);
    let of_models = bad(&models, "model", &["ok"]);
    assert!(
        of_tests.1 > 1000,
        "{}",
        String::from_utf8_lossy(&tests.stderr)
    );
    assert_eq!(
        of_models.1,
        MODELS_COUNT,
        "{}",
        String::from_utf8_lossy(&models.stderr)
    );
    for finding in of_tests.0.into_iter().chain(of_models.0) {
        findings.push(format!("{family}, {precision}: {finding}"));
    }
}

/// One family on this machine, with the precisions that differ on it.
fn family_is_right(family: &str) {
    let name = format!("forced_{family}_is_right");
    let cache = cache();
    if ["references", "real", "conformance"]
        .iter()
        .any(|folder| !cache.join(folder).is_dir())
    {
        return alula_testkit::skip(&name, &format!("no test data in {}", cache.display()));
    }
    if let Some(reason) = lacks(family) {
        return alula_testkit::skip(&name, &reason);
    }
    // Precisions differ where there are tiles; the other tests run the first there.
    let precisions: &[&str] = match family {
        "amx" => &["high", "medium"],
        _ => &["highest"],
    };
    let mut findings = Vec::new();
    for precision in precisions {
        check(family, precision, &cache, &mut findings);
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn every_family_and_precision_is_right() {
    FAMILIES.iter().for_each(|family| family_is_right(family));
}

/// The instructions of a model for a family.
#[cfg(target_arch = "x86_64")]
fn instructions(family: &str, model: &Path) -> String {
    let model = model.to_str().expect("paths are text");
    let output = alula(&["compile", model, "--emit", "asm"], family);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{family}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn loops_keep_to_the_forced_family() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("negate.onnx");
    std::fs::write(&model, alula::doc_model()).expect("written");
    // Instructions of AVX and later have names that begin with v.
    let has_avx = |text: &str| text.lines().any(|line| line.trim_start().starts_with('v'));
    for family in FAMILIES {
        if let Some(reason) = lacks(family) {
            alula_testkit::skip(&format!("forced_{family}_keeps_its_loops"), &reason);
            continue;
        }
        let text = instructions(family, &model);
        let (is_wide, is_new) = (matches!(*family, "avx512" | "amx"), *family != "portable");
        assert_eq!(text.contains("zmm"), is_wide, "{family}: {text}");
        assert_eq!(has_avx(&text), is_new, "{family}: {text}");
    }
}

/// What was compiled for more is refused by name.
#[cfg(target_arch = "x86_64")]
#[test]
fn artifacts_of_wide_loops_are_refused_where_they_are_left_out() {
    if let Some(reason) = lacks("avx512") {
        return alula_testkit::skip("forced_avx512_is_refused", &reason);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (model, artifact) = (path("negate.onnx"), path("negate.alula"));
    std::fs::write(&model, alula::doc_model()).expect("written");
    let made = alula(&["compile", &model, "--output", &artifact], "avx512");
    assert!(made.status.success());
    let run = |family| alula(&["run", &artifact, "--random", "1"], family);
    assert!(run("avx512").status.success());
    let refused = run("avx2");
    let said = String::from_utf8_lossy(&refused.stderr);
    let wanted = "the code needs avx512dq, which ALULA_CPU_ISA leaves out";
    assert!(!refused.status.success() && said.contains(wanted), "{said}");
}
