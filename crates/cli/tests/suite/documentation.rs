//! `docs/cli.md` is what `--help` says.

use std::fmt::Write;
use std::path::Path;

use crate::support::Place;

const VERBS: [&str; 12] = [
    "compile",
    "run",
    "bench",
    "tune",
    "check",
    "compare",
    "explain",
    "inspect",
    "opt",
    "debug bisect",
    "devices",
    "completions",
];

#[test]
fn the_page_of_the_command_line_is_its_help() {
    let place = Place::new();
    let help = |words: &[&str]| {
        let done = place.run_with(words, &[("COLUMNS", "100")]);
        assert_eq!(done.code, 0, "{words:?}: {}", done.stderr);
        let lines: Vec<&str> = done.stdout.lines().map(str::trim_end).collect();
        lines.join("\n")
    };
    let mut page = String::from("# The command line\n\n<!-- Written by the test ");
    page.push_str("`the_page_of_the_command_line_is_its_help`: BLESS=1 renews it. -->\n");
    let mut section = |title: &str, text: String| {
        let _ = write!(page, "\n## {title}\n\n```text\n{}\n```\n", text.trim());
    };
    section("alula", help(&["--help"]));
    for verb in VERBS {
        let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        section(&format!("alula {verb}"), help(&words));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/cli.md is not what --help says: run this test with BLESS=1, read the change"
    );
}

#[test]
fn completions_know_the_verbs() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.ok(&["completions", shell]).stdout;
        let json = place.ok(&["--json", "completions", shell]).json();
        assert_eq!(
            json[0]["script"].as_str().map(str::trim),
            Some(script.trim())
        );
        for verb in VERBS.iter().flat_map(|verb| verb.split(' ')) {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}
