//! Rust files that no crate contains: nothing compiles them, so nothing keeps them true.

use std::collections::BTreeSet;

use crate::tidy::Finding;
use crate::tidy::policy::OUTSIDE_WORKSPACE;
use crate::tidy::repo::{File, Repo};

/// Files that cannot be reached from a target of the workspace by `mod` declarations.
pub(crate) fn check(repo: &Repo) -> Vec<Finding> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<(String, bool)> = Vec::new();
    for package in &repo.packages {
        open.extend(package.targets.iter().map(|path| (path.clone(), true)));
    }
    while let Some((path, is_root)) = open.pop() {
        let Some(file) = repo.file(&path) else {
            continue;
        };
        if reached.insert(path) {
            let modules = modules_of(file, is_root);
            open.extend(modules.into_iter().map(|module| (module, false)));
        }
    }
    repo.rust_files()
        .filter(|(file, _)| !reached.contains(&file.path))
        .filter(|(file, _)| !OUTSIDE_WORKSPACE.iter().any(|at| file.path.starts_with(at)))
        .map(|(file, _)| Finding::new(&file.path, "no `mod` declaration leads to this file"))
        .collect()
}

/// The paths at which the modules that `file` declares, or the files that it includes, may be.
fn modules_of(file: &File, is_root: bool) -> Vec<String> {
    let Some(rust) = &file.rust else {
        return Vec::new();
    };
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let stem = name.trim_end_matches(".rs");
    let module_folder = match is_root || stem == "mod" {
        true => folder.to_owned(),
        false => format!("{folder}/{stem}"),
    };
    let mut paths = Vec::new();
    let mut explicit_path = None;
    // Literals are blank in the code, so that paths are taken from the text of the same line.
    for (code, text) in rust.code.lines().zip(file.text.lines()) {
        let code = code.trim();
        if code.starts_with("#[path") || code.contains("include!(") {
            explicit_path = text
                .split('"')
                .nth(1)
                .map(|path| normal(&format!("{folder}/{path}")));
        }
        if code.contains("include!(") {
            paths.extend(explicit_path.take());
        }
        if let Some(module) = declared_module(code) {
            paths.push(
                explicit_path
                    .take()
                    .unwrap_or(format!("{module_folder}/{module}.rs")),
            );
            paths.push(format!("{module_folder}/{module}/mod.rs"));
        }
    }
    paths
}

/// The name in `mod name;`, whatever stands before `mod`.
fn declared_module(line: &str) -> Option<&str> {
    let declaration = line.strip_suffix(';')?;
    let (before, name) = declaration.rsplit_once(' ')?;
    let is_name = name
        .chars()
        .all(|character| character.is_alphanumeric() || character == '_');
    let is_declaration = before == "mod" || before.ends_with(" mod");
    (is_declaration && is_name).then_some(name)
}

/// `path` without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::repo::Package;

    #[test]
    fn only_what_is_declared_is_alive() {
        let mut repo = Repo::of(&[
            (
                "a/src/lib.rs",
                "pub mod one;\n#[cfg(test)] mod two;\n// mod dead;\nmod inline { }\n",
            ),
            (
                "a/src/one.rs",
                "pub(crate) mod below;\n#[path = \"../../gen/x.rs\"]\nmod x;\n",
            ),
            (
                "a/src/one/below.rs",
                "const T: &str = include!(\"table.rs\");\n",
            ),
            ("a/src/one/table.rs", "\"t\"\n"),
            ("a/src/two/mod.rs", "mod three;\n"),
            ("a/src/two/three.rs", ""),
            ("a/src/dead.rs", ""),
            ("a/src/below.rs", ""),
            ("a/tests/run.rs", "mod shared;\n"),
            ("a/tests/shared/mod.rs", ""),
            ("gen/x.rs", ""),
        ]);
        repo.packages.push(Package {
            name: "a".into(),
            targets: vec!["a/src/lib.rs".into(), "a/tests/run.rs".into()],
            dependencies: Vec::new(),
        });
        let dead: Vec<String> = check(&repo)
            .into_iter()
            .map(|finding| finding.place)
            .collect();
        assert_eq!(dead, ["a/src/below.rs", "a/src/dead.rs"]);
    }
}
