//! Fusion plans: printed, loaded, edited, refused.

use crate::support::{Place, digits};

const TARGETS: &str = "cpu,wgpu,cuda";

#[test]
fn a_printed_plan_makes_the_same_artifact() {
    let place = Place::new();
    let model = digits().display().to_string();
    for strategy in ["none", "elementwise", "epilogue", "reduction", "auto"] {
        let plan = place.ok(&["compile", &model, "--fusion", strategy, "--emit", "fusion"]);
        place.write("plan.txt", plan.stdout);
        let words = ["compile", &model, "-o", "a.alula", "--target", TARGETS];
        place.ok(&[&words[..], &["--fusion", strategy]].concat());
        let words = ["compile", &model, "-o", "b.alula", "--target", TARGETS];
        place.ok(&[&words[..], &["--fusion-plan", "plan.txt"]].concat());
        assert!(place.read("a.alula") == place.read("b.alula"), "{strategy}");
    }
}

#[test]
fn an_edited_plan_is_heeded_on_every_target() {
    let place = Place::new();
    let model = digits().display().to_string();
    let plan = place.ok(&["compile", &model, "--emit", "fusion"]).stdout;
    let line = plan
        .lines()
        .find(|line| line.contains(" + "))
        .expect("a group");
    let apart = line.replace(" + ", "\n");
    place.write("edited.txt", plan.replacen(line, &apart, 1));
    for target in TARGETS.split(',') {
        let words = ["compile", &model, "--target", target, "--emit", "fusion"];
        let made = place.ok(&[&words[..], &["--fusion-plan", "edited.txt"]].concat());
        assert!(
            !made.stdout.contains(line.trim()),
            "{target}: {}",
            made.stdout
        );
    }
    place.ok(&[
        "run",
        &model,
        "--random",
        "1",
        "--fusion-plan",
        "edited.txt",
    ]);
}

#[test]
fn impossible_plans_are_refused_with_the_reason() {
    let place = Place::new();
    let model = digits().display().to_string();
    for (text, words) in [
        (
            "graph digits\n  stem_norm + probabilities\n",
            &["cannot be one kernel"][..],
        ),
        (
            "graph digits\n  stem_norm + no_such_node\n",
            &["no_such_node"],
        ),
        ("stem_norm + stem_relu\n", &["line 1"]),
        ("graph digits\n  stem_norm stem_relu\n", &["line 2"]),
        ("graph digits\ngraph other\n", &["lists 2 graphs"]),
    ] {
        place.write("plan.txt", text);
        let done = place.run(&["compile", &model, "--fusion-plan", "plan.txt"]);
        assert_eq!(done.code, 1, "{text}: {}", done.stderr);
        for word in words {
            assert!(done.stderr.contains(word), "{text}: {}", done.stderr);
        }
    }
}

#[test]
fn strategies_are_compared_by_time_and_by_group() {
    let place = Place::new();
    let model = digits().display().to_string();
    let words = [
        "bench",
        &model,
        "--fusion",
        "none,auto",
        "--duration",
        "0",
        "--threads",
        "1",
    ];
    let done = place.ok(&words);
    assert!(done.stdout.contains("##"), "{}", done.stdout);
    assert!(
        done.stdout.contains("stem_norm + stem_relu"),
        "{}",
        done.stdout
    );
    let rows = place.ok(&[&["--json"], &words[..]].concat()).json();
    assert_eq!(rows.len(), 2);
    let unlike = rows[1]["groups_unlike_first"].as_array().expect("a list");
    assert!(!unlike.is_empty());
}

#[test]
fn strategies_of_two_names_are_measured_once() {
    let place = Place::new();
    let model = place.negation().display().to_string();
    let words = ["bench", &model, "--fusion", "all", "--duration", "0"];
    let done = place.ok(&words);
    let note = "auto is the same as reduction";
    assert!(done.stdout.contains(note), "{}", done.stdout);
    let rows = place.ok(&[&["--json"], &words[..]].concat()).json();
    let names: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["fusion"].as_str())
        .collect();
    assert_eq!(names, ["none", "elementwise", "epilogue", "reduction"]);
}
