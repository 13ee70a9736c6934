//! The vendor's assembler, which takes PTX that a GPU's driver would take.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The assembler: `$PTXAS`, on the path, or where `tools/models/setup.py ptxas` puts it.
pub fn find_ptxas() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("PTXAS") {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cache = std::env::var_os("ALULA_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(Path::new(&home).join(".cache/alula"))
        });
    std::env::split_paths(&path)
        .map(|folder| folder.join("ptxas"))
        .chain(cache.map(|cache| cache.join("ptxas/nvidia/cu13/bin/ptxas")))
        .find(|file| file.is_file())
}

/// Assembles a module for a target; the error is what the assembler says.
pub fn assemble(ptxas: &Path, target: &str, text: &str) -> Result<(), String> {
    let mut child = Command::new(ptxas)
        .args([
            "--opt-level",
            "0",
            "--gpu-name",
            target,
            "--output-file",
            "/dev/null",
            "-",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut input = child.stdin.take().expect("the pipe was asked for");
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    writer
        .join()
        .expect("writing does not panic")
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let words = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&words).chars().take(3000).collect())
}
