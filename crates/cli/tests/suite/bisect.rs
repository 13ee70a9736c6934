//! `alula debug bisect`: which rewrite an output owes a change to.

use crate::support::{Place, digits};

#[test]
fn the_rule_that_changes_bits_is_found() {
    let place = Place::new();
    let model = digits().display().to_string();
    // Folding a batch normalization into weights rounds elsewhere; nothing else here does.
    for target in ["reference", "cpu"] {
        let words = [
            "debug", "bisect", &model, "--bound", "0", "--target", target,
        ];
        let done = place.run(&words);
        assert_eq!(done.code, 3, "{target}: {}", done.stderr);
        let first = done.stdout.lines().next();
        assert_eq!(
            first,
            Some("to blame: fold_batch_norm_into_conv"),
            "{target}: {}",
            done.stdout
        );
        let json = place.run(&[&["--json"], &words[..]].concat()).json();
        assert_eq!(json[0]["rule"], "fold_batch_norm_into_conv");
        assert!(json[0]["rewrite"].as_u64() >= Some(1), "{}", json[0]);
    }
}

#[test]
fn nothing_is_to_blame_for_what_stays_within_the_bound() {
    let place = Place::new();
    let model = digits().display().to_string();
    let done = place.ok(&["debug", "bisect", &model, "--bound", "1e-3"]);
    assert!(
        done.stdout.contains("no rule is to blame"),
        "{}",
        done.stdout
    );
}
