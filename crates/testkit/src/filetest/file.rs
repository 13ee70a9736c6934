//! The text form of a test file: parsed, and written back.

use thiserror::Error;

const TEST: &str = "; test:";
const CASE: &str = "; ---";
const EXPECT: &str = "; expect:";
const EXPECT_ERROR: &str = "; expect error:";

/// A file as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFile {
    /// What the first line names.
    pub stage: String,
    /// Comment lines between the first line and the first named case.
    preamble: Vec<String>,
    /// At least one.
    pub cases: Vec<Case>,
}

/// An input and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Empty in a file of one case that is not named.
    pub name: String,
    /// Without blank lines at its ends; ends in a line break unless empty.
    pub input: String,
    /// The output or the error, in the same form; `None` before the first blessing.
    pub expected: Option<Result<String, String>>,
}

/// Why a text is not a test file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    /// The first line does not name a stage.
    #[error("line 1: expected `; test: STAGE`")]
    Stage,
    /// Lines before the first named case are neither comments nor blank.
    #[error("line {line}: text before the first case; begin it with `; --- name`")]
    BeforeFirstCase {
        /// Counted from 1.
        line: usize,
    },
    /// A case has no name although there are several.
    #[error("line {line}: a case needs a name, `; --- name`")]
    Unnamed {
        /// Counted from 1.
        line: usize,
    },
    /// Two cases share a name.
    #[error("line {line}: a case named {name:?} exists already")]
    DuplicateName {
        /// Counted from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// A case expects two things.
    #[error("line {line}: the case has an expectation already")]
    SecondExpectation {
        /// Counted from 1.
        line: usize,
    },
}

impl TestFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`FileError`], the first in the file.
    pub fn parse(text: &str) -> Result<TestFile, FileError> {
        let mut lines = text.lines().enumerate();
        let (_, first) = lines.next().ok_or(FileError::Stage)?;
        let stage = first
            .strip_prefix(TEST)
            .ok_or(FileError::Stage)?
            .trim()
            .to_owned();
        if stage.is_empty() {
            return Err(FileError::Stage);
        }
        let is_named = text.lines().any(|line| line.starts_with(CASE));
        let mut file = TestFile {
            stage,
            preamble: Vec::new(),
            cases: Vec::new(),
        };
        let mut open = if is_named {
            None
        } else {
            Some(OpenCase::new(String::new()))
        };
        for (index, line) in lines {
            let number = index + 1;
            if let Some(name) = line.strip_prefix(CASE) {
                file.cases.extend(open.take().map(OpenCase::close));
                open = Some(OpenCase::new(file.new_name(name.trim(), number)?));
            } else if let Some(case) = &mut open {
                case.push(line, number)?;
            } else if line.starts_with(';') || line.trim().is_empty() {
                file.preamble.push(line.to_owned());
            } else {
                return Err(FileError::BeforeFirstCase { line: number });
            }
        }
        file.cases.extend(open.map(OpenCase::close));
        Ok(file)
    }

    fn new_name(&self, name: &str, line: usize) -> Result<String, FileError> {
        if name.is_empty() {
            return Err(FileError::Unnamed { line });
        }
        if self.cases.iter().any(|case| case.name == name) {
            return Err(FileError::DuplicateName {
                line,
                name: name.to_owned(),
            });
        }
        Ok(name.to_owned())
    }
}

/// The canonical text: parses back to the same file, and blessing twice changes nothing.
impl std::fmt::Display for TestFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{TEST} {}", self.stage)?;
        for line in &self.preamble {
            writeln!(f, "{line}")?;
        }
        for (index, case) in self.cases.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            if !case.name.is_empty() {
                writeln!(f, "{CASE} {}", case.name)?;
            }
            write!(f, "{}", case.input)?;
            match &case.expected {
                Some(Ok(output)) => write!(f, "{EXPECT}\n{output}")?,
                Some(Err(error)) => write!(f, "{EXPECT_ERROR}\n{error}")?,
                None => {}
            }
        }
        Ok(())
    }
}

/// A case while its lines come in.
struct OpenCase {
    name: String,
    input: String,
    expected: Option<Result<String, String>>,
}

impl OpenCase {
    fn new(name: String) -> OpenCase {
        OpenCase {
            name,
            input: String::new(),
            expected: None,
        }
    }

    fn push(&mut self, line: &str, number: usize) -> Result<(), FileError> {
        let expectation = match line.trim_end() {
            EXPECT => Some(Ok(String::new())),
            EXPECT_ERROR => Some(Err(String::new())),
            _ => None,
        };
        if expectation.is_some() {
            if self.expected.is_some() {
                return Err(FileError::SecondExpectation { line: number });
            }
            self.expected = expectation;
            return Ok(());
        }
        let text = match &mut self.expected {
            Some(Ok(text) | Err(text)) => text,
            None => &mut self.input,
        };
        text.push_str(line);
        text.push('\n');
        Ok(())
    }

    fn close(self) -> Case {
        let expected = self.expected.map(|expected| match expected {
            Ok(output) => Ok(trimmed(&output)),
            Err(error) => Err(trimmed(&error)),
        });
        Case {
            name: self.name,
            input: trimmed(&self.input),
            expected,
        }
    }
}

/// `text` without blank lines at its ends, ending in a line break unless empty. This is the form in
/// which outputs are compared and stored.
pub(super) fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let start = lines
        .iter()
        .position(|line| !line.is_empty())
        .unwrap_or(lines.len());
    let end = lines
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(start, |last| last + 1);
    lines[start..end]
        .iter()
        .flat_map(|line| [*line, "\n"])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_named_cases_and_writes_them_back() {
        let text = "; test: rule cancel_add\n; why these\n; --- fires\na\n\nb\n; expect:\nc\n\n\
                    ; --- misses\nd\n; expect error:\nno\n\n; --- new\ne\n";
        let file = TestFile::parse(text).unwrap();
        assert_eq!(file.stage, "rule cancel_add");
        let names: Vec<_> = file.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["fires", "misses", "new"]);
        assert_eq!(file.cases[0].input, "a\n\nb\n");
        assert_eq!(file.cases[0].expected, Some(Ok("c\n".to_owned())));
        assert_eq!(file.cases[1].expected, Some(Err("no\n".to_owned())));
        assert_eq!(file.cases[2].expected, None);
        assert_eq!(file.to_string(), text);
        assert_eq!(TestFile::parse(&file.to_string()).unwrap(), file);
    }

    #[test]
    fn a_single_case_needs_no_name_and_keeps_its_comments() {
        let text = "; test: print\n; a comment of the input\nx\n; expect:\ny\n";
        let file = TestFile::parse(text).unwrap();
        assert_eq!(file.cases.len(), 1);
        assert_eq!(file.cases[0].input, "; a comment of the input\nx\n");
        assert_eq!(file.to_string(), text);
    }

    #[test]
    fn says_where_a_file_is_malformed() {
        let error = |text: &str| TestFile::parse(text).unwrap_err();
        assert_eq!(error(""), FileError::Stage);
        assert_eq!(error("; test:\nx\n"), FileError::Stage);
        assert_eq!(error("x\n; test: y\n"), FileError::Stage);
        assert_eq!(
            error("; test: t\nx\n; --- a\n"),
            FileError::BeforeFirstCase { line: 2 }
        );
        assert_eq!(
            error("; test: t\n; ---\nx\n"),
            FileError::Unnamed { line: 2 }
        );
        let twice = "; test: t\n; --- a\n; --- a\n";
        assert_eq!(
            error(twice),
            FileError::DuplicateName {
                line: 3,
                name: "a".into()
            }
        );
        let second = "; test: t\nx\n; expect:\ny\n; expect error:\nz\n";
        assert_eq!(error(second), FileError::SecondExpectation { line: 5 });
    }
}
