//! Tests that cannot run on this machine: recorded, counted, and refused in continuous integration.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Records that the test `name` cannot run here because of `reason`; the caller then returns.
///
/// The line `SKIP name: reason` goes to standard error and to a file of this process in
/// `target/skips`, from which `tools/test` counts.
///
/// # Panics
/// If the variable `CI` is `true` and `tests/skips.toml` does not list `name`: on a machine that is
/// set up to run everything, a skip is a failure. Also if the line cannot be recorded.
pub fn skip(name: &str, reason: &str) {
    let root = workspace_root();
    let line = format!("SKIP {name}: {}\n", reason.replace('\n', " "));
    io::stderr()
        .write_all(line.as_bytes())
        .expect("standard error is open");
    record(&root.join("target/skips"), &line).expect("target/skips can be written");
    if std::env::var_os("CI").is_some_and(|value| value == "true") {
        let listed = fs::read_to_string(root.join("tests/skips.toml")).unwrap_or_default();
        let listed = parse_skips(&listed).expect("tests/skips.toml is well formed");
        if !is_listed(&listed, name) {
            panic!("{name} cannot run: {reason}; tests/skips.toml does not list it");
        }
    }
}

/// Reads the text of `tests/skips.toml` into pairs of name and reason. The file is the part of TOML
/// made of comments and `"name" = "reason"` lines; a name that ends in `*` stands for all that
/// begin as it does.
///
/// # Errors
/// The first line that is something else, has an empty part or repeats a name, with its number.
pub fn parse_skips(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut skips: Vec<(String, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, reason) = parse_line(line)
            .ok_or_else(|| format!("line {}: expected \"name\" = \"reason\"", index + 1))?;
        if skips.iter().any(|(other, _)| other == name) {
            return Err(format!("line {}: {name:?} is listed twice", index + 1));
        }
        skips.push((name.to_owned(), reason.to_owned()));
    }
    Ok(skips)
}

fn parse_line(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix('"')?.split_once('"')?;
    let reason = rest.trim_start().strip_prefix('=')?.trim_start();
    let reason = reason.strip_prefix('"')?.strip_suffix('"')?;
    (!name.is_empty() && !reason.trim().is_empty()).then_some((name, reason))
}

fn is_listed(skips: &[(String, String)], name: &str) -> bool {
    skips
        .iter()
        .any(|(listed, _)| match listed.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == listed,
        })
}

fn record(folder: &Path, line: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}.txt", std::process::id()));
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(line.as_bytes())
}

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/testkit")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_reasons() {
        let text = "# why\n\n\"wgpu::*\" = \"no driver\"\n\"a b\"=\"c = \"\n";
        let skips = parse_skips(text).unwrap();
        assert_eq!(skips.len(), 2);
        assert_eq!(skips[1], ("a b".to_owned(), "c = ".to_owned()));
        assert!(is_listed(&skips, "wgpu::add"));
        assert!(is_listed(&skips, "a b"));
        assert!(!is_listed(&skips, "a b c"));
        assert!(!is_listed(&skips, "cuda::add"));
    }

    #[test]
    fn refuses_entries_without_a_reason() {
        for text in [
            "\"a\" = \"\"",
            "\"a\" = ' '",
            "\"\" = \"b\"",
            "a = \"b\"",
            "[skips]",
        ] {
            assert!(parse_skips(text).is_err(), "{text}");
        }
        let error = parse_skips("\"a\" = \"b\"\n\"a\" = \"c\"").unwrap_err();
        assert_eq!(error, "line 2: \"a\" is listed twice");
    }

    #[test]
    fn appends_a_line_for_each_skip() {
        let folder = tempfile::tempdir().unwrap();
        let skips = folder.path().join("target/skips");
        record(&skips, "SKIP a: b\n").unwrap();
        record(&skips, "SKIP c: d\n").unwrap();
        let files: Vec<_> = fs::read_dir(&skips)
            .unwrap()
            .map(|file| file.unwrap())
            .collect();
        assert_eq!(files.len(), 1);
        assert_eq!(
            fs::read_to_string(files[0].path()).unwrap(),
            "SKIP a: b\nSKIP c: d\n"
        );
    }

    #[test]
    fn the_list_of_this_repository_is_well_formed() {
        let path = workspace_root().join("tests/skips.toml");
        parse_skips(&fs::read_to_string(path).unwrap()).unwrap();
    }
}
