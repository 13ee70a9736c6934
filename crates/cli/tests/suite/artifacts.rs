//! Artifacts: the same bytes each time, the same results as from memory, and refusals.

use std::path::{Path, PathBuf};

use alula::{Model, Target};

use crate::support::{Place, digits};

/// Models of the test data that are small enough to compile several times.
const BYTES_MAX: u64 = 30 << 20;

fn models() -> Vec<PathBuf> {
    let mut models = vec![digits()];
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cache =
        std::env::var_os("ALULA_CACHE").map_or_else(|| home().join(".cache/alula"), PathBuf::from);
    let entries = std::fs::read_dir(cache.join("real")).into_iter().flatten();
    let mut real: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "onnx")
        })
        .filter(|path| path.metadata().is_ok_and(|data| data.len() < BYTES_MAX))
        .collect();
    real.sort();
    models.extend(real);
    models
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn threads_do_not_change_artifacts() {
    let place = Place::new();
    let model = text(&digits());
    let mut first = Vec::new();
    for threads in ["1", "2", "4", "4"] {
        let words = [
            "compile",
            &model,
            "-o",
            "a.alula",
            "--target",
            "cpu,wgpu,cuda",
        ];
        let done = place.run_with(&words, &[("RAYON_NUM_THREADS", threads)]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let bytes = place.read("a.alula");
        if first.is_empty() {
            first = bytes;
            continue;
        }
        assert!(first == bytes, "{threads} threads make other bytes");
    }
}

/// Models of the test data whose artifacts are made several times.
const SEVERAL_BYTES_MAX: u64 = 2 << 20;

#[test]
fn real_models_give_the_same_bytes_each_time() {
    let place = Place::new();
    for model in models() {
        if model.metadata().map_or(0, |data| data.len()) > SEVERAL_BYTES_MAX {
            continue;
        }
        let path = text(&model);
        let made = |threads: &str| {
            place.ok(&["compile", &path, "-o", "m.alula", "--threads", threads]);
            place.read("m.alula")
        };
        let first = made("1");
        for threads in ["1", "2", "3"] {
            assert!(
                made(threads) == first,
                "{path}: {threads} threads make other bytes"
            );
        }
    }
}

#[test]
fn artifacts_and_threads_do_not_change_results() {
    let place = Place::new();
    let outputs = |folder: &str| -> Vec<(PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(place.path(folder)).expect("outputs");
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        let read = |path: PathBuf| {
            let bytes = std::fs::read(&path).expect("read");
            (path.file_name().map(PathBuf::from).expect("a name"), bytes)
        };
        files.into_iter().map(read).collect()
    };
    let mut compared = 0;
    for model in models() {
        // Away from its folder, whose example inputs an artifact would not find.
        let path = text(&place.path("m.onnx"));
        let _ = std::fs::remove_file(&path);
        std::fs::copy(&model, &path).expect("copied");
        let run = |what: &str, threads: &str, folder: &str| {
            place.run(&[
                "run",
                what,
                "--random",
                "7",
                "--threads",
                threads,
                "--output-dir",
                folder,
                "--output-format",
                "pb",
            ])
        };
        // Inputs that are made up do not suit every model: a token may be out of range.
        let direct = run(&path, "1", "direct");
        if direct.code != 0 {
            assert!(direct.code <= 2, "{path}: {}", direct.stderr);
            continue;
        }
        place.ok(&["compile", &path, "-o", "m.alula"]);
        for (what, threads, folder) in [("m.alula", "1", "stored"), (&path, "2", "twice")] {
            let done = run(what, threads, folder);
            assert_eq!(done.code, 0, "{path} by {what}: {}", done.stderr);
            assert!(
                outputs("direct") == outputs(folder),
                "{path}: {folder} differs"
            );
        }
        compared += 1;
        for folder in ["direct", "stored", "twice"] {
            std::fs::remove_dir_all(place.path(folder)).expect("removed");
        }
    }
    assert!(compared > 0);
}

#[test]
fn what_is_no_sound_artifact_is_refused() {
    let place = Place::new();
    place.ok(&["compile", &text(&digits()), "-o", "good.alula"]);
    let good = place.read("good.alula");
    let change = |name: &str, at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= value;
        place.write(name, bytes);
    };
    change("version.alula", 8, 0x40);
    change("header.alula", 40, 1);
    change("weights.alula", good.len() - 1, 1);
    place.write("short.alula", &good[..good.len() / 2]);
    place.write("shorter.alula", &good[..20]);
    for name in ["version", "header", "short", "shorter"] {
        let file = format!("{name}.alula");
        let done = place.run(&["run", &file, "--random", "1"]);
        assert_eq!(done.code, 1, "{name}: {}", done.stderr);
    }
    assert!(
        place
            .run(&["inspect", "version.alula"])
            .stderr
            .contains("artifact format")
    );
    // Weights are not read until they are used; who inspects wants to know.
    let done = place.run(&["inspect", "weights.alula"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("weights"), "{}", done.stderr);
    // And who asks for it when running.
    let words = ["run", "weights.alula", "--random", "1"];
    let done = place.run(&[&words[..], &["--verify"]].concat());
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("weights"), "{}", done.stderr);
    place.ok(&["run", "good.alula", "--random", "1", "--verify"]);
}

#[test]
fn what_an_artifact_cannot_heed_is_refused() {
    let place = Place::new();
    place.negation();
    place.ok(&[
        "compile",
        "negate.onnx",
        "-o",
        "n.alula",
        "--fusion",
        "none",
    ]);
    for (option, reason) in [
        (&["--fusion", "auto"][..], "--fusion"),
        (&["--disable-rule", "merge_equal"], "--disable-rule"),
        (&["--only-rule", "merge_equal"], "--only-rule"),
        (&["--max-nodes", "7"], "--max-nodes"),
        (&["--dim", "M=3"], "no dim \"M\""),
        (&["--shape", "z=3"], "no input \"z\""),
    ] {
        let words = ["run", "n.alula", "--random", "1"];
        let done = place.run(&[&words[..], option].concat());
        assert_eq!(done.code, 1, "{option:?}: {}", done.stderr);
        assert!(done.stderr.contains(reason), "{option:?}: {}", done.stderr);
    }
    // Open extents are of the inputs that are made up.
    let words = ["--json", "run", "n.alula", "--random", "1", "--dim", "N=3"];
    assert_eq!(place.ok(&words).json()[0]["type"], "f32[3]");
    // One row, with what is stored.
    let words = [
        "bench",
        "n.alula",
        "--duration",
        "0",
        "--fusion",
        "all",
        "--json",
    ];
    let done = place.ok(&words);
    assert_eq!(done.json().len(), 1, "{}", done.stdout);
    assert_eq!(done.json()[0]["precision"], "highest");
    assert!(done.json()[0]["fusion"].is_null());
    assert!(done.stderr.contains("compiled with"), "{}", done.stderr);
}

#[test]
fn code_for_another_processor_is_refused() {
    let place = Place::new();
    let model = Model::builder(digits()).compile().expect("it compiles");
    let mut program = model
        .program(Target::Cpu)
        .expect("a program")
        .as_ref()
        .clone();
    let good = program.clone();
    let refused = |program: &alula::Program, word: &str| {
        let path = place.path("other.alula");
        alula_runtime::artifact::save(&path, &[program]).expect("saved");
        let done = place.run(&["run", "other.alula", "--random", "1"]);
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains(word), "{}", done.stderr);
    };
    program.features.push("imaginary".to_owned());
    refused(&program, "imaginary");
    program.clone_from(&good);
    program.features[0] = "riscv128".to_owned();
    refused(&program, "architecture riscv128");
    // The same processor and another version of the code.
    program.clone_from(&good);
    program.abi = "cpu code 0, panels 0".to_owned();
    refused(&program, "compile again");
}
