//! `cargo xtask tidy`: what holds of the whole repository and no compiler checks.
//!
//! Every check is a row of [`CHECKS`]; what it allows is data in [`policy`]. The checks run on a
//! [`Repo`] that was read once, so that each can be shown to fail on a made-up one.

mod checks;
mod policy;
mod repo;
mod scan;

use repo::Repo;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    /// A file, a file and line, or a crate.
    place: String,
    /// What is wrong and what to do.
    message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding {
            place: place.into(),
            message: message.into(),
        }
    }
}

/// A check: its name, what it promises, and the function that lists the exceptions.
type Check = (&'static str, &'static str, fn(&Repo) -> Vec<Finding>);

const CHECKS: &[Check] = &[
    (
        "edges",
        "crates depend only on what the table allows",
        checks::edges::check,
    ),
    (
        "rules",
        "every rule has a test of its name and is listed",
        checks::rules::check,
    ),
    (
        "length",
        "no file is too long to be read",
        checks::text::length,
    ),
    (
        "columns",
        "lines of Rust fit 100 columns",
        checks::text::columns,
    ),
    (
        "reasons",
        "every note of work to do says why",
        checks::text::reasons,
    ),
    (
        "words",
        "nothing names the machine it was written on",
        checks::text::words,
    ),
    (
        "dead",
        "every Rust file is part of a crate",
        checks::dead::check,
    ),
    ("docs", "every crate says what it is", checks::code::docs),
    (
        "unsafe",
        "unsafe code stays in its rooms",
        checks::code::unsafe_code,
    ),
    (
        "order",
        "what reaches dumps has an order",
        checks::code::order,
    ),
    ("ignored", "no test is switched off", checks::code::ignored),
];

/// Runs every check on this repository, prints what was found, and the long files as a hint.
pub(crate) fn run() -> anyhow::Result<()> {
    let repo = Repo::load()?;
    for (path, lines) in checks::text::long_files(&repo) {
        println!(
            "note: {path} has {lines} lines; think again above {}",
            policy::LINES_NOTED
        );
    }
    let mut count = 0;
    for (name, promise, check) in CHECKS {
        let findings = check(&repo);
        for Finding { place, message } in &findings {
            println!("{name}: {place}: {message}");
        }
        if !findings.is_empty() {
            println!("  {name} means: {promise}");
        }
        count += findings.len();
    }
    anyhow::ensure!(count == 0, "{count} findings");
    println!(
        "tidy: {} checks on {} files hold",
        CHECKS.len(),
        repo.files.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let repo = Repo::load().unwrap();
        let mut findings = String::new();
        for (name, _, check) in CHECKS {
            for Finding { place, message } in check(&repo) {
                findings.push_str(&format!("{name}: {place}: {message}\n"));
            }
        }
        assert!(findings.is_empty(), "cargo xtask tidy finds:\n{findings}");
    }
}
