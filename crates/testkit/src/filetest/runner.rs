//! Turns test files into trials of the test harness.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use super::file::{Case, TestFile, trimmed};
use crate::diff::unified_diff;

/// Runs every file below `folder` through `stage`, under the arguments of the command line, as the
/// `main` of a test target with `harness = false`.
pub fn run<F>(folder: &Path, stage: F) -> ExitCode
where
    F: Fn(&str, &str) -> Result<String, String> + Send + Sync + 'static,
{
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials(folder, stage)).exit_code()
}

/// A trial for each case of each file below `folder`, named `path::case`; with `BLESS=1`, a trial
/// for each file. `stage` takes what the file's first line names and the input of a case, and gives
/// the output or the text of the error. A file or folder that cannot be read is a trial that fails.
pub fn trials<F>(folder: &Path, stage: F) -> Vec<Trial>
where
    F: Fn(&str, &str) -> Result<String, String> + Send + Sync + 'static,
{
    let is_bless = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    let stage = Arc::new(stage);
    let files = match files_below(folder) {
        Ok(files) if !files.is_empty() => files,
        Ok(_) => {
            return vec![failing(
                folder.display().to_string(),
                "no test files".to_owned(),
            )];
        }
        Err(error) => return vec![failing(folder.display().to_string(), error.to_string())],
    };
    let mut trials = Vec::new();
    for path in files {
        let name = path
            .strip_prefix(folder)
            .unwrap_or(&path)
            .display()
            .to_string();
        let text = fs::read_to_string(&path).map_err(|error| error.to_string());
        let parsed = text.and_then(|text| {
            TestFile::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
        });
        match parsed {
            Err(error) => trials.push(failing(name, error)),
            Ok(file) if is_bless => {
                let stage = Arc::clone(&stage);
                trials.push(Trial::test(name, move || Ok(bless(&path, file, &*stage)?)));
            }
            Ok(file) => {
                for case in file.cases {
                    let (stage, path) = (Arc::clone(&stage), path.clone());
                    let stage_name = file.stage.clone();
                    let name = match case.name.as_str() {
                        "" => name.clone(),
                        case_name => format!("{name}::{case_name}"),
                    };
                    let test = move || Ok(check(&path, &stage_name, &case, &*stage)?);
                    trials.push(Trial::test(name, test));
                }
            }
        }
    }
    trials
}

fn failing(name: String, message: String) -> Trial {
    Trial::test(name, move || Err(Failed::from(message)))
}

/// Every regular file below `folder`, sorted, names with a leading dot left out.
fn files_below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Runs a case and compares.
fn check(
    path: &Path,
    stage_name: &str,
    case: &Case,
    stage: &dyn Fn(&str, &str) -> Result<String, String>,
) -> Result<(), String> {
    let actual = outcome(stage_name, case, stage);
    let Some(expected) = &case.expected else {
        return Err(format!(
            "{} has no expectation.\n{}",
            path.display(),
            how_to_bless(&actual)
        ));
    };
    if *expected == actual {
        return Ok(());
    }
    let what = match (expected, &actual) {
        (Ok(_), Ok(_)) => "output differs",
        (Err(_), Err(_)) => "error differs",
        (Ok(_), Err(_)) => "expected an output, got an error",
        (Err(_), Ok(_)) => "expected an error, got an output",
    };
    let text = |outcome: &Result<String, String>| match outcome {
        Ok(text) | Err(text) => text.clone(),
    };
    let diff = unified_diff(&text(expected), &text(&actual));
    Err(format!(
        "{}: {what} (- expected, + actual)\n{diff}\n\
         If the new result is right, run again with BLESS=1 and read the change.",
        path.display()
    ))
}

fn how_to_bless(actual: &Result<String, String>) -> String {
    let (kind, text) = match actual {
        Ok(text) => ("output", text),
        Err(text) => ("error", text),
    };
    format!("The {kind} is\n{text}\nIf it is right, run again with BLESS=1 to write it down.")
}

fn outcome(
    stage_name: &str,
    case: &Case,
    stage: &dyn Fn(&str, &str) -> Result<String, String>,
) -> Result<String, String> {
    match stage(stage_name, &case.input) {
        Ok(output) => Ok(trimmed(&output)),
        Err(error) => Err(trimmed(&error)),
    }
}

/// Rewrites every expectation of a file; leaves the file alone where nothing changes.
fn bless(
    path: &Path,
    mut file: TestFile,
    stage: &dyn Fn(&str, &str) -> Result<String, String>,
) -> Result<(), String> {
    let before = fs::read_to_string(path).map_err(|error| error.to_string())?;
    for index in 0..file.cases.len() {
        let outcome = outcome(&file.stage, &file.cases[index], stage);
        file.cases[index].expected = Some(outcome);
    }
    let after = file.to_string();
    // An output that looks like a separator would be read back as something else.
    if TestFile::parse(&after).as_ref() != Ok(&file) {
        return Err(format!(
            "{}: the output contains lines of the file format",
            path.display()
        ));
    }
    if after != before {
        fs::write(path, after).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles numbers, refuses the rest.
    fn double(stage: &str, input: &str) -> Result<String, String> {
        assert_eq!(stage, "double");
        let number: i64 = input
            .trim()
            .parse()
            .map_err(|_| format!("not a number: {input}"))?;
        Ok(format!("{}\n\n", number * 2))
    }

    fn check_text(text: &str) -> Vec<Result<(), String>> {
        let file = TestFile::parse(text).unwrap();
        let check = |case| check(Path::new("a.ir"), &file.stage, case, &double);
        file.cases.iter().map(check).collect()
    }

    #[test]
    fn outputs_and_errors_are_both_expected() {
        let text = "; test: double\n; --- good\n21\n; expect:\n42\n\
                    ; --- bad\nx\n; expect error:\nnot a number: x\n";
        assert_eq!(check_text(text), [Ok(()), Ok(())]);
    }

    #[test]
    fn failures_show_a_diff_and_how_to_bless() {
        let text = "; test: double\n; --- wrong\n21\n; expect:\n43\n\
                    ; --- kind\nx\n; expect:\nnot a number: x\n; --- none\n1\n";
        let messages: Vec<String> = check_text(text)
            .into_iter()
            .map(|result| result.unwrap_err())
            .collect();
        assert!(messages[0].contains("-43\n+42\n"), "{}", messages[0]);
        assert!(
            messages[1].contains("expected an output, got an error"),
            "{}",
            messages[1]
        );
        assert!(messages[2].contains("no expectation"), "{}", messages[2]);
        assert!(messages.iter().all(|message| message.contains("BLESS=1")));
    }

    #[test]
    fn blessing_makes_every_case_pass_and_is_stable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ir");
        let text = "; test: double\n; note\n; --- a\n1\n; expect:\n7\n; --- b\nx\n";
        fs::write(&path, text).unwrap();
        bless(&path, TestFile::parse(text).unwrap(), &double).unwrap();
        let blessed = fs::read_to_string(&path).unwrap();
        assert!(blessed.contains("; note\n") && blessed.contains("; expect error:\n"));
        assert_eq!(check_text(&blessed), [Ok(()), Ok(())]);
        bless(&path, TestFile::parse(&blessed).unwrap(), &double).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), blessed);
    }

    #[test]
    fn outputs_that_look_like_the_format_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ir");
        let text = "; test: t\nx\n";
        fs::write(&path, text).unwrap();
        let file = TestFile::parse(text).unwrap();
        let error = bless(&path, file, &|_, _| Ok("; expect:\n".to_owned())).unwrap_err();
        assert!(error.contains("lines of the file format"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn an_empty_folder_and_a_malformed_file_are_failing_trials() {
        let folder = tempfile::tempdir().unwrap();
        let names = || -> Vec<String> {
            let trials = trials(folder.path(), double);
            trials.iter().map(|trial| trial.name().to_owned()).collect()
        };
        assert_eq!(names(), [folder.path().display().to_string()]);
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(
            folder.path().join("sub/b.ir"),
            "; test: double\n; --- x\n1\n",
        )
        .unwrap();
        fs::write(folder.path().join("a.ir"), "no header\n").unwrap();
        assert_eq!(names(), ["a.ir", "sub/b.ir::x"]);
    }
}
