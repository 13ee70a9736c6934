//! How a command ends when it does not end well.

use std::fmt::Write;
use std::path::PathBuf;

use alula::{Error, ErrorKind};

/// Why a command failed: text for people, a code for scripts.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong use or input: code 1.
    User(String),
    /// Valid, but not done: code 2.
    Unsupported(String),
    /// Results differ: code 3.
    Mismatch(String),
    /// Alula or the machine: code 4.
    Internal(String),
    /// An error with a place in a text: code 1.
    Diagnostic(miette::Report),
}

impl Failure {
    pub(crate) fn user(text: impl Into<String>) -> Failure {
        Failure::User(text.into())
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::User(_) | Failure::Diagnostic(_) => 1,
            Failure::Unsupported(_) => 2,
            Failure::Mismatch(_) => 3,
            Failure::Internal(_) => 4,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, error: &std::io::Error) -> Failure {
        Failure::User(format!("{}: {error}", path.into().display()))
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Failure::User(text)
            | Failure::Unsupported(text)
            | Failure::Mismatch(text)
            | Failure::Internal(text) => text.clone(),
            Failure::Diagnostic(report) => report.to_string(),
        }
    }

    pub(crate) fn print(&self, json: bool) {
        match self {
            _ if json => {
                let error = serde_json::json!({"error": self.text(), "code": self.code()});
                eprintln!("{error}");
            }
            Failure::Diagnostic(report) => eprintln!("{report:?}"),
            _ => eprintln!("alula: {}", self.text()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            // Many messages say their cause already.
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                let _ = write!(text, ": {cause_text}");
            }
            source = cause.source();
        }
        match error.kind() {
            ErrorKind::User => Failure::User(text),
            ErrorKind::Unsupported => Failure::Unsupported(text),
            ErrorKind::Internal => Failure::Internal(text),
        }
    }
}
