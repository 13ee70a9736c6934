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
            &["fires", "kernels", "precision", "near_misses"],
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
fn a_wrong_graph_is_pointed_into() {
    let place = Place::new();
    place.write("wrong.ir", "graph g(x: f32[2]) {\n  y = frobnicate x\n}\n");
    let done = place.run(&["opt", "wrong.ir"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("wrong.ir"), "{}", done.stderr);
}
