//! Running the command line in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The example model of the repository.
pub(crate) fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/digits.onnx")
}

/// What a command did.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    fn new(output: &Output) -> Done {
        Done {
            code: output.status.code().expect("it was not killed"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The objects on stdout, one a line.
    pub(crate) fn json(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).expect("every line is JSON");
        self.stdout.lines().map(line).collect()
    }
}

/// A folder and commands in it.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("the file is there")
    }

    /// `y = -x` with `x: f32[N]`.
    pub(crate) fn negation(&self) -> PathBuf {
        self.write("negate.onnx", alula::doc_model())
    }

    /// Runs the command line with words, paths among them.
    pub(crate) fn run(&self, words: &[&str]) -> Done {
        self.run_with(words, &[])
    }

    /// As `run`, with environment variables.
    pub(crate) fn run_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Done {
        let output = Command::new(env!("CARGO_BIN_EXE_alula"))
            .args(words)
            .current_dir(self.0.path())
            .env_remove("ALULA_LOG")
            .envs(variables.iter().copied())
            .output()
            .expect("it runs");
        Done::new(&output)
    }

    /// Runs something that must succeed.
    pub(crate) fn ok(&self, words: &[&str]) -> Done {
        let done = self.run(words);
        assert_eq!(done.code, 0, "{words:?}: {}", done.stderr);
        done
    }
}
