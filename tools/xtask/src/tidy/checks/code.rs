//! Checks of Rust code, comments and literals left out.

use super::text::by_line;
use crate::tidy::Finding;
use crate::tidy::policy::{ORDERED_PLACES, UNSAFE_PLACES, matches};
use crate::tidy::repo::Repo;
use crate::tidy::scan::has_word;

/// Crate roots that do not begin with what the crate is.
pub(crate) fn docs(repo: &Repo) -> Vec<Finding> {
    let is_root = |path: &str| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    repo.files
        .iter()
        .filter(|file| is_root(&file.path) && !file.text.starts_with("//! "))
        .map(|file| Finding::new(&file.path, "begin it with `//!` and what the crate is"))
        .collect()
}

/// Unsafe code outside the places that may have it.
pub(crate) fn unsafe_code(repo: &Repo) -> Vec<Finding> {
    let problem = |line: &str| {
        has_word(line, "unsafe")
            .then(|| "unsafe code has no place here (UNSAFE_PLACES in tidy/policy.rs)".to_owned())
    };
    in_code(repo, |path| !is_in(UNSAFE_PLACES, path), problem)
}

/// Collections that iterate in a random order, where order reaches dumps and artifacts.
pub(crate) fn order(repo: &Repo) -> Vec<Finding> {
    let problem = |line: &str| {
        let word = ["HashMap", "HashSet"]
            .into_iter()
            .find(|word| has_word(line, word))?;
        Some(format!(
            "{word} has no order: use an IndexMap, a BTreeMap or a sorted vector"
        ))
    };
    in_code(repo, |path| is_in(ORDERED_PLACES, path), problem)
}

/// Tests that are switched off.
pub(crate) fn ignored(repo: &Repo) -> Vec<Finding> {
    let problem = |line: &str| {
        let line: String = line.split_whitespace().collect();
        let is_ignored = line.contains("#[ignore") || line.contains(",ignore)]");
        is_ignored.then(|| {
            "call alula_testkit::skip with the reason where the test cannot run".to_owned()
        })
    };
    in_code(repo, |_| true, problem)
}

fn is_in(places: &[&str], path: &str) -> bool {
    places.iter().any(|pattern| matches(pattern, path))
}

fn in_code(
    repo: &Repo,
    is_checked: impl Fn(&str) -> bool,
    problem: impl Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    repo.rust_files()
        .filter(|(file, _)| is_checked(&file.path))
        .flat_map(|(file, rust)| by_line(&file.path, &rust.code, &problem).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(check: fn(&Repo) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
        check(&Repo::of(files))
            .into_iter()
            .map(|finding| finding.place)
            .collect()
    }

    #[test]
    fn crates_say_what_they_are() {
        let files = [
            ("crates/a/src/lib.rs", "//! A crate.\n"),
            ("crates/b/src/lib.rs", "mod x;\n"),
            ("crates/b/src/x.rs", "fn f() {}\n"),
        ];
        assert_eq!(places(docs, &files), ["crates/b/src/lib.rs"]);
    }

    #[test]
    fn unsafe_code_is_found_outside_its_rooms() {
        let text = "// unsafe is fine here\nlet s = \"unsafe\";\nunsafe { f() }\n";
        let files = [
            ("backends/cpu/microkernel/src/avx.rs", text),
            ("backends/wgpu/src/device/mod.rs", text),
            ("backends/wgpu/src/emit.rs", text),
            ("crates/artifact/src/mmap.rs", text),
            ("crates/ir/src/graph.rs", text),
        ];
        let expected = ["backends/wgpu/src/emit.rs:3", "crates/ir/src/graph.rs:3"];
        assert_eq!(places(unsafe_code, &files), expected);
    }

    #[test]
    fn random_order_is_found_where_dumps_are_made() {
        let text = "use std::collections::HashMap;\nuse indexmap::IndexMap;\n// a HashSet\n";
        let files = [
            ("crates/opt/src/cse.rs", text),
            ("crates/onnx/src/import.rs", text),
        ];
        assert_eq!(places(order, &files), ["crates/opt/src/cse.rs:1"]);
    }

    #[test]
    fn switched_off_tests_are_found() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n#[cfg_attr(x, ignore)]\nfn b() {}\n";
        assert_eq!(
            places(ignored, &[("tests/a.rs", text)]),
            ["tests/a.rs:2", "tests/a.rs:4"]
        );
    }
}
