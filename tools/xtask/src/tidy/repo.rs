//! The repository as the checks see it: files and manifests, read once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use super::scan::{Scanned, scan};

/// Everything that is checked.
#[derive(Debug, Default)]
pub(super) struct Repo {
    /// Tracked and new text files, sorted by path.
    pub(super) files: Vec<File>,
    /// The crates of the workspace.
    pub(super) packages: Vec<Package>,
}

/// A text file.
#[derive(Debug)]
pub(super) struct File {
    /// From the root of the repository, with `/` between folders.
    pub(super) path: String,
    pub(super) text: String,
    /// Rust files only: code and comments apart.
    pub(super) rust: Option<Scanned>,
}

/// A crate.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// The root files of its libraries, binaries, tests, examples and benches.
    pub(super) targets: Vec<String>,
    pub(super) dependencies: Vec<Dependency>,
}

/// A line of a manifest.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) is_dev: bool,
}

impl File {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> File {
        let (path, text) = (path.into(), text.into());
        let rust = path.ends_with(".rs").then(|| scan(&text));
        File { path, text, rust }
    }
}

impl Repo {
    /// Reads the repository that this tool was built from.
    pub(super) fn load() -> anyhow::Result<Repo> {
        let root = crate::codegen::workspace_root().canonicalize()?;
        let mut files = Vec::new();
        for path in list_files(&root)? {
            // Binary files have no lines to check; deleted ones are listed until committed.
            if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
                files.push(File::new(path, text));
            }
        }
        Ok(Repo {
            files,
            packages: read_packages(&root)?,
        })
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        let at = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()?;
        Some(&self.files[at])
    }

    /// Rust files, with their code and comments.
    pub(super) fn rust_files(&self) -> impl Iterator<Item = (&File, &Scanned)> {
        self.files
            .iter()
            .filter_map(|file| Some((file, file.rust.as_ref()?)))
    }

    /// A made-up repository, for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Repo {
        let mut files: Vec<File> = files
            .iter()
            .map(|(path, text)| File::new(*path, *text))
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Repo {
            files,
            packages: Vec::new(),
        }
    }
}

/// Paths that git tracks or would track.
fn list_files(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    anyhow::ensure!(
        output.status.success(),
        "git ls-files failed; tidy needs a git checkout"
    );
    let text = String::from_utf8(output.stdout).context("a path is not UTF-8")?;
    let mut paths: Vec<String> = text
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// The manifests, as cargo understands them.
fn read_packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    let problem = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "cargo metadata failed: {problem}");
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    items(&metadata, "packages")
        .map(|package| read_package(package, root))
        .collect()
}

fn read_package(package: &Value, root: &Path) -> anyhow::Result<Package> {
    let targets: anyhow::Result<Vec<String>> = items(package, "targets")
        .map(|target| {
            let path = PathBuf::from(string(target, "src_path")?);
            let path = path
                .strip_prefix(root)
                .context("a target outside the workspace")?;
            Ok(path.to_string_lossy().replace('\\', "/"))
        })
        .collect();
    let dependencies: anyhow::Result<Vec<Dependency>> = items(package, "dependencies")
        .map(|dependency| {
            let is_dev = dependency["kind"] == "dev";
            Ok(Dependency {
                name: string(dependency, "name")?.to_owned(),
                is_dev,
            })
        })
        .collect();
    Ok(Package {
        name: string(package, "name")?.to_owned(),
        targets: targets?,
        dependencies: dependencies?,
    })
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn string<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    value[key]
        .as_str()
        .with_context(|| format!("cargo metadata gives no {key}"))
}
