//! What `-v` tells, level by level, and what a trace holds.

use crate::support::{Place, digits};

/// What a level says that the one before does not, in `run`, which goes through every room.
const LEVELS: [(&str, &[&str]); 3] = [
    (
        "-v",
        &[
            "import",
            "compile",
            "lower:",
            "emit",
            "load",
            "close time.busy=",
        ],
    ),
    (
        "-vv",
        &[
            "pass{name=\"fold_constants\"}",
            "applied rule=\"fold_batch_norm_into_conv\" node=\"stem_norm\"",
            "expand",
            "cluster",
            "layout",
            "plan{",
            // A kernel with the nodes that it stands for, in the thread that made it.
            "emit{of=8}:kernel{name=",
            "kernel{name=\"conv_relu\" nodes=\"stem_norm + stem_relu\"}",
            "by micro-kernels",
            "kernel emitted",
            "run{",
        ],
    ),
    (
        "-vvv",
        &[
            "node{name=\"stem_norm\" op=\"BatchNormalization\"}",
            "legalize",
            "step{index=",
            "name=\"stem_norm + stem_relu\"}",
        ],
    ),
];

#[test]
fn each_level_tells_what_it_says() {
    let place = Place::new();
    let model = digits().display().to_string();
    let mut told = Vec::new();
    for (level, _) in LEVELS {
        let done = place.ok(&["run", &model, "--random", "1", level]);
        // Other crates are heard when something is wrong.
        for foreign in ["cranelift", "regalloc", "wgpu"] {
            assert!(!done.stderr.contains(foreign), "{level}: {}", done.stderr);
        }
        told.push(done.stderr);
    }
    for (at, (level, words)) in LEVELS.into_iter().enumerate() {
        for word in words {
            let found = told.iter().map(|text| text.contains(word));
            let wanted = (0..LEVELS.len()).map(|other| other >= at);
            assert!(
                found.clone().eq(wanted),
                "{level} is to tell of {word}, told: {:?}\n{}",
                found.collect::<Vec<_>>(),
                told[at]
            );
        }
    }
    assert!(
        place
            .ok(&["run", &model, "--random", "1"])
            .stderr
            .is_empty()
    );
}

#[test]
fn shaders_and_ptx_are_told_of_too() {
    let place = Place::new();
    let model = digits().display().to_string();
    let words = [
        "compile",
        &model,
        "-o",
        "a.alula",
        "-vv",
        "--target",
        "wgpu,cuda",
    ];
    let told = place.ok(&words).stderr;
    let emitted: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("kernel emitted"))
        .collect();
    for target in ["wgpu", "cuda"] {
        let compile = format!("compile{{target=\"{target}\"}}:kernels{{");
        let found = emitted.iter().any(|line| line.contains(&compile));
        assert!(found, "{target}: {told}");
    }
}

#[test]
fn a_trace_is_of_alula_alone() {
    let place = Place::new();
    let model = digits().display().to_string();
    place.ok(&["run", &model, "--random", "1", "--trace", "all.json"]);
    let text = String::from_utf8(place.read("all.json")).expect("text");
    let events: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let named = events.iter().filter_map(|event| event["cat"].as_str());
    let foreign = named.filter(|target| !target.starts_with("alula")).count();
    assert!(
        foreign * 100 < events.len(),
        "{foreign} of {}",
        events.len()
    );
    for word in ["stem_norm", "legalize", "cluster", "step"] {
        assert!(text.contains(word), "{word}");
    }
}
