//! Exit codes, JSON, inputs and outputs as files, traces.

use alula::{Tensor, Value, npy, pb};

use crate::support::{Place, digits};

/// The negation's operator under a name that nobody knows.
fn unknown_operator() -> Vec<u8> {
    let mut bytes = alula::doc_model();
    let at = bytes.windows(3).position(|word| word == b"Neg");
    bytes[at.expect("it is in there")..][..3].copy_from_slice(b"Nix");
    bytes
}

#[test]
fn exit_codes_tell_whose_matter_it_is() {
    let place = Place::new();
    place.negation();
    place.write("unknown.onnx", unknown_operator());
    place.write("noise.onnx", b"no protobuf at all");
    for (code, words) in [
        (0, &["check", "negate.onnx"][..]),
        (0, &["--help"]),
        (1, &["check", "absent.onnx"]),
        (1, &["check", "noise.onnx"]),
        (1, &["run", "negate.onnx"]),
        (1, &["run", "negate.onnx", "--random", "1", "--dim", "M"]),
        (1, &["frobnicate"]),
        (
            1,
            &["compile", "negate.onnx", "--disable-rule", "no-such-rule"],
        ),
        (1, &["compile", "negate.onnx", "--emit", "no-such-stage"]),
        (2, &["compile", "negate.onnx", "--emit", "ptx"]),
        (2, &["check", "unknown.onnx"]),
        (2, &["run", "unknown.onnx", "--random", "1"]),
        (0, &["compare", "negate.onnx"]),
        (3, &["compare", "negate.onnx", "--bound=-1"]),
        (0, &["check", "negate.onnx", "--dim", "N=3"]),
        (1, &["check", "negate.onnx", "--max-file-bytes", "10"]),
        (1, &["check", "negate.onnx", "--max-nodes", "0"]),
        (
            1,
            &[
                "compile",
                "negate.onnx",
                "--max-depth",
                "0",
                "--max-nodes",
                "0",
            ],
        ),
    ] {
        let done = place.run(words);
        assert_eq!(done.code, code, "{words:?}: {}", done.stderr);
    }
    let error = place.run(&["--json", "check", "absent.onnx"]).stderr;
    let error: serde_json::Value = serde_json::from_str(error.trim()).expect("JSON");
    assert_eq!(error["code"], 1);
}

#[test]
fn json_has_the_keys_that_tools_rely_on() {
    let place = Place::new();
    place.negation();
    let model = place.path("negate.onnx").display().to_string();
    let keys = [
        (
            &["compile", &model, "-o", "a.alula"][..],
            &["artifact", "bytes", "rss_mb", "programs"][..],
        ),
        (
            &["run", &model, "--random", "1"],
            &["name", "type", "min", "max", "first"],
        ),
        (&["check", &model], &["model", "supported", "unsupported"]),
        (
            &["bench", &model, "--duration", "0"],
            &[
                "model",
                "target",
                "precision",
                "fusion",
                "threads",
                "p50_ms",
                "p90_ms",
                "min_ms",
                "cpu_p50_ms",
                "cpu_min_ms",
                "compile_ms",
                "load_ms",
                "first_ms",
                "rss_mb",
                "arena_mb",
                "artifact_mb",
            ],
        ),
        (
            &["compare", &model],
            &["target", "output", "worst_rel_to_max", "ok"],
        ),
        (
            &["explain", &model],
            &[
                "fires",
                "fold_refused",
                "is_incomplete",
                "kernels",
                "precision",
                "precision_reason",
                "near_misses",
                "near_misses_left_out",
                "annotations",
            ],
        ),
        (
            &["inspect", &model],
            &["inputs", "outputs", "operators", "opsets"],
        ),
        (
            &["inspect", "a.alula"],
            &["inputs", "sections", "programs", "cpu_features"],
        ),
        (&["devices"], &["target", "available", "device"]),
    ];
    for (words, keys) in keys {
        let done = place.ok(&[&["--json"], words].concat());
        let lines = done.json();
        assert!(!lines.is_empty(), "{words:?}");
        for key in keys {
            assert!(
                lines[0].get(key).is_some(),
                "{words:?} has no {key}: {}",
                lines[0]
            );
        }
    }
}

#[test]
fn inputs_and_outputs_are_npy_and_pb() {
    let place = Place::new();
    place.negation();
    let x = Tensor::from_slice(&[3], &[1.0_f32, -2.0, 0.5]).expect("a tensor");
    npy::write(place.path("x.npy"), &x).expect("written");
    pb::write(place.path("x.pb"), "x", &Value::Tensor(x)).expect("written");
    for input in ["x=x.npy", "x=x.pb"] {
        for format in ["npy", "pb"] {
            let folder = format!("out-{}-{format}", &input[4..]);
            place.ok(&[
                "run",
                "negate.onnx",
                "--input",
                input,
                "--output-dir",
                &folder,
                "--output-format",
                format,
            ]);
            let y = match format {
                "npy" => npy::read(place.path(&folder).join("y.npy")).expect("read"),
                _ => {
                    let ty = alula::TensorType::of(alula::DType::F32, &[3]);
                    let path = place.path(&folder).join("output_0.pb");
                    let value = pb::read(path, &alula::ValueType::Tensor(ty)).expect("read");
                    value.into_tensor().expect("a tensor")
                }
            };
            assert_eq!(y.to_vec::<f32>().expect("f32"), [-1.0, 2.0, -0.5]);
        }
    }
}

#[test]
fn runs_are_bounded() {
    let place = Place::new();
    let model = digits().display().to_string();
    let late = place.run(&["run", &model, "--random", "1", "--deadline", "0"]);
    assert_eq!(late.code, 1, "{}", late.stderr);
    let tight = place.run(&["run", &model, "--random", "1", "--max-bytes", "100"]);
    assert_eq!(tight.code, 1, "{}", tight.stderr);
    assert!(tight.stderr.contains("100"), "{}", tight.stderr);
    // Who evaluates operators one by one heeds none, and says so.
    for bound in [
        ["--deadline", "1"],
        ["--max-bytes", "1"],
        ["--max-trips", "1"],
        ["--max-work", "1"],
    ] {
        let words = ["run", &model, "--random", "1", "--target", "reference"];
        let done = place.run(&[&words[..], &bound].concat());
        assert_eq!(done.code, 2, "{}", done.stderr);
        assert!(done.stderr.contains("reference"), "{}", done.stderr);
    }
    let short = place.run(&["run", &model, "--random", "1", "--max-work", "100"]);
    assert_eq!(short.code, 1, "{}", short.stderr);
    let evaluations = "a kernel's scalar evaluations would be";
    assert!(short.stderr.contains(evaluations), "{}", short.stderr);
    place.ok(&["run", &model, "--random", "1", "--max-trips", "1"]);
}

#[test]
fn what_was_used_is_told_and_measured_once() {
    let place = Place::new();
    place.negation();
    let words = ["bench", "negate.onnx", "--duration", "0", "--json"];
    // A family that has one precision only, on every machine.
    let plain = [("ALULA_CPU_ISA", "portable")];
    let precisions = [&words[..], &["--precision", "highest,high,medium"]].concat();
    let done = place.run_with(&precisions, &plain);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let rows = done.json();
    assert_eq!(rows.len(), 1, "{}", done.stdout);
    assert_eq!(rows[0]["precision"], "highest");
    assert!(
        done.stderr.contains("medium runs as highest"),
        "{}",
        done.stderr
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(rows[0]["threads"], cores);
    let one = place.ok(&[&words[..], &["--threads", "1"]].concat()).json();
    assert_eq!(one[0]["threads"], 1);
    let told = place.run_with(&["explain", "negate.onnx", "--precision", "high"], &plain);
    let line = "precision highest is used, high was asked for: products of bf16 take AMX";
    assert!(told.stdout.contains(line), "{}", told.stdout);
}

#[test]
fn compiling_and_running_leave_chrome_traces() {
    let place = Place::new();
    let model = digits().display().to_string();
    place.ok(&[
        "run",
        &model,
        "--random",
        "1",
        "--trace",
        "all.json",
        "--profile-trace",
        "run.json",
    ]);
    for (file, words) in [
        ("all.json", &["import", "compile", "emit", "run"][..]),
        ("run.json", &["probabilities"]),
    ] {
        let text = String::from_utf8(place.read(file)).expect("text");
        let trace: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert!(trace.is_array() || trace.is_object(), "{file}");
        for word in words {
            assert!(text.contains(word), "{file} has no {word}");
        }
    }
}

#[test]
fn names_that_mean_nothing_are_refused() {
    let place = Place::new();
    let model = place.negation().display().to_string();
    place.ok(&["compile", &model, "-o", "n.alula"]);
    let cases: [(&[&str], &str); 6] = [
        (&["--dim", "M=2"], "there is no dim \"M\""),
        (&["--shape", "z=2"], "there is no input \"z\""),
        (
            &["--only-rule", "drop_everything"],
            "no rule or pass named drop_everything",
        ),
        (
            &["--only-rule", "merge_equal"],
            "merge_equal is a pass and no rule",
        ),
        (
            &["--disable-rule", "drop_everything"],
            "no rule or pass named drop_everything",
        ),
        (&["--dim", "N=2", "--only-rule", "fold"], ""),
    ];
    for (words, reason) in cases {
        let done = place.run(&[&["run", &model, "--random", "1"], words].concat());
        assert_eq!(done.code, i32::from(!reason.is_empty()), "{}", done.stderr);
        assert!(done.stderr.contains(reason), "{}", done.stderr);
    }
    for (words, reason) in &cases[..2] {
        let done = place.run(&[&["run", "n.alula", "--random", "1"], *words].concat());
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains(reason), "{}", done.stderr);
    }
    place.ok(&["run", "n.alula", "--random", "1", "--dim", "N=2"]);
}

#[test]
fn a_wrong_graph_is_pointed_into() {
    let place = Place::new();
    place.write("wrong.ir", "graph g(x: f32[2]) {\n  y = frobnicate x\n}\n");
    let done = place.run(&["opt", "wrong.ir"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("wrong.ir"), "{}", done.stderr);
}

#[test]
fn wrong_kernels_and_fusion_plans_are_pointed_into() {
    let place = Place::new();
    let model = digits().display().to_string();
    let plan = |text: &str| {
        place.write("plan.txt", text);
        place.run(&["compile", &model, "--fusion-plan", "plan.txt"])
    };
    place.write(
        "wrong.txt",
        "kernel k(x: f32[4] read) {\n  %1: f32 = frobnicate %0\n}\n",
    );
    for (done, words) in [
        (
            place.run(&["opt", "wrong.txt"]),
            ["wrong.txt:2", "frobnicate"],
        ),
        (plan("graph digits\n  a b\n"), ["plan.txt:2", "a b"]),
        (
            plan("graph digits\n  stem_norm + no_such_node\n"),
            ["plan.txt:2", "names a node that is not there"],
        ),
        (
            plan("graph digits\n  stem_norm + probabilities\n"),
            ["plan.txt:2", "cannot be one kernel"],
        ),
    ] {
        assert_eq!(done.code, 1, "{}", done.stderr);
        for word in words {
            assert!(done.stderr.contains(word), "no {word}: {}", done.stderr);
        }
    }
}
