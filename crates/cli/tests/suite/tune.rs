//! Tables of schedules: made, gone on with, used, recorded, refused.

use serde_json::Value;

use crate::support::{Place, digits};

/// Tunes the example model for a moment.
fn tuned(place: &Place, more: &[&str]) -> Value {
    let model = digits().display().to_string();
    let words = [
        "--json",
        "tune",
        &model,
        "--threads",
        "1",
        "--table",
        "t.json",
    ];
    let done = place.ok(&[&words[..], more].concat());
    done.json().remove(0)
}

#[test]
fn a_table_is_filled_and_a_next_call_goes_on() {
    let place = Place::new();
    let first = tuned(&place, &["--budget", "1"]);
    let second = tuned(&place, &["--budget", "60"]);
    assert_eq!(second["is_complete"], true, "{second}");
    let count = |line: &Value| line["entries"].as_array().map_or(0, Vec::len);
    assert!(count(&second) >= count(&first) && count(&second) > 0);
    let trials = second["entries"].as_array().into_iter().flatten();
    let trials: usize = trials
        .map(|e| e["trials"].as_array().map_or(0, Vec::len))
        .sum();
    assert!(trials > 0);
    let table = place.read("t.json");
    let third = tuned(&place, &["--budget", "60"]);
    assert_eq!(
        (&third["trials"], &third["is_complete"]),
        (&0.into(), &true.into())
    );
    assert!(place.read("t.json") == table, "nothing was left to measure");
    let text = place.ok(&[
        "tune",
        &digits().display().to_string(),
        "--threads",
        "1",
        "--table",
        "t.json",
    ]);
    assert!(
        text.stdout.contains("nothing is left to measure"),
        "{}",
        text.stdout
    );
}

#[test]
fn an_artifact_says_what_it_was_tuned_for() {
    let place = Place::new();
    tuned(&place, &["--budget", "5"]);
    let model = digits().display().to_string();
    let words = [
        "compile",
        &model,
        "-o",
        "a.alula",
        "--table",
        "t.json",
        "--threads",
        "1",
    ];
    place.ok(&words);
    let hash = blake3::hash(&place.read("t.json")).to_hex().to_string();
    let shown = &place.ok(&["--json", "inspect", "a.alula"]).json()[0]["programs"][0]["tuned"];
    assert_eq!(
        (&shown["table"], &shown["threads"]),
        (&hash.as_str().into(), &1.into())
    );
    let text = place.ok(&["inspect", "a.alula"]).stdout;
    assert!(
        text.contains("micro-kernels, 1 threads, by table "),
        "{text}"
    );
    let words = [
        "--json",
        "explain",
        &model,
        "--table",
        "t.json",
        "--threads",
        "1",
    ];
    let explained = &place.ok(&words).json()[0]["tuned"];
    assert!(explained["decisions"].as_u64() > Some(0), "{explained}");
    let plain = ["compile", &model, "-o", "b.alula", "--threads", "1"];
    place.ok(&plain);
    let shown = &place.ok(&["--json", "inspect", "b.alula"]).json()[0]["programs"][0]["tuned"];
    assert!(shown.is_null());
    let run = |file: &str| place.ok(&["--json", "run", file, "--random", "1"]).json();
    assert_eq!(run("a.alula").len(), run("b.alula").len());
}

#[test]
fn models_run_and_are_measured_with_a_table() {
    let place = Place::new();
    tuned(&place, &["--budget", "5"]);
    let model = digits().display().to_string();
    let table = ["--table", "t.json", "--threads", "1"];
    place.ok(&[&["run", &model, "--random", "1"][..], &table].concat());
    let words = ["--json", "bench", &model, "--duration", "0"];
    let row = &place.ok(&[&words[..], &table].concat()).json()[0];
    assert!(row["p50_ms"].as_f64() > Some(0.0), "{row}");
    let done = place.ok(&[&["compare", &model][..], &table].concat());
    assert!(done.stderr.is_empty(), "{}", done.stderr);
    let words = [
        "run",
        &model,
        "--random",
        "1",
        "--threads",
        "2",
        "--table",
        "t.json",
    ];
    let warned = place.ok(&words).stderr;
    assert!(
        warned.contains("measured with 1 threads, this is for 2"),
        "{warned}"
    );
}

#[test]
fn a_table_of_other_models_is_told_apart() {
    let place = Place::new();
    let model = place.negation().display().to_string();
    let words = ["--threads", "1", "--table", "t.json"];
    place.ok(&[&["tune", &model, "--budget", "0"][..], &words].concat());
    let warned = place
        .ok(&[&["run", &model, "--random", "1"][..], &words].concat())
        .stderr;
    assert!(warned.contains("nothing on this model"), "{warned}");
}

#[test]
fn wrong_use_of_tables_is_refused() {
    let place = Place::new();
    let model = place.negation().display().to_string();
    place.ok(&["tune", &model, "--budget", "0", "--threads", "1"]);
    let text = String::from_utf8(place.read("negate.tuned.json")).expect("text");
    place.write("damaged.json", &text[..text.len() / 2]);
    place.write(
        "foreign.json",
        text.replace("\"model\": \"", "\"model\": \"Other "),
    );
    place.ok(&["compile", &model, "-o", "a.alula"]);
    for (code, says, words) in [
        (
            1,
            "no table of schedules",
            &["run", &model, "--table", "damaged.json"][..],
        ),
        (
            1,
            "another CPU",
            &["run", &model, "--table", "foreign.json"],
        ),
        (
            1,
            "another CPU",
            &["tune", &model, "--table", "foreign.json"],
        ),
        (
            1,
            "absent.json",
            &["compile", &model, "--table", "absent.json"],
        ),
        (
            1,
            "with 1 threads, not 2",
            &["tune", &model, "--threads", "2"],
        ),
        (1, "is an artifact", &["tune", "a.alula"]),
        (
            1,
            "--table",
            &["run", "a.alula", "--table", "negate.tuned.json"],
        ),
        (
            1,
            "--table holds schedules of target cpu",
            &[
                "run",
                &model,
                "--target",
                "reference",
                "--table",
                "negate.tuned.json",
            ],
        ),
        (
            2,
            "target wgpu are not measured",
            &["tune", &model, "--target", "wgpu"],
        ),
        (
            1,
            "no number of seconds",
            &["tune", &model, "--budget", "soon"],
        ),
    ] {
        let done = place.run(words);
        assert_eq!(done.code, code, "{words:?}: {}", done.stderr);
        assert!(done.stderr.contains(says), "{words:?}: {}", done.stderr);
    }
}
