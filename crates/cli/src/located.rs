//! Errors that point into a text.

use std::fmt;
use std::path::Path;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use crate::failure::Failure;

/// An error with the places in a text that it is about.
#[derive(Debug)]
struct Located {
    message: String,
    source: NamedSource<String>,
    labels: Vec<Label>,
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Label {
    /// Bytes before it.
    pub(crate) offset: usize,
    pub(crate) length: usize,
    /// What is wrong there.
    pub(crate) reason: String,
}

impl Label {
    /// The word that begins at a byte.
    pub(crate) fn word(text: &str, offset: usize, reason: impl Into<String>) -> Label {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let rest = &text[offset..];
        let length = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        Label {
            offset,
            length: length.max(1).min(rest.len()),
            reason: reason.into(),
        }
    }

    /// The word at a line and column, both from 1.
    pub(crate) fn at(text: &str, line: usize, column: usize, reason: impl Into<String>) -> Label {
        let before = text.split_inclusive('\n').take(line.saturating_sub(1));
        let start: usize = before.map(str::len).sum();
        let rest = text[start..].char_indices().nth(column.saturating_sub(1));
        Label::word(text, rest.map_or(text.len(), |(at, _)| start + at), reason)
    }

    /// All of a line (from 1) but the space around it.
    pub(crate) fn line(text: &str, line: usize, reason: impl Into<String>) -> Label {
        let before = text.split_inclusive('\n').take(line.saturating_sub(1));
        let start: usize = before.map(str::len).sum();
        let rest = text[start..].lines().next().unwrap_or_default();
        let indent = rest.len() - rest.trim_start().len();
        Label {
            offset: start + indent,
            length: rest.trim().len(),
            reason: reason.into(),
        }
    }
}

/// A failure that shows these places in the text of a file.
pub(crate) fn failure(
    file: &Path,
    text: &str,
    message: impl Into<String>,
    labels: Vec<Label>,
) -> Failure {
    let located = Located {
        message: message.into(),
        source: NamedSource::new(file.display().to_string(), text.to_owned()),
        labels,
    };
    Failure::Diagnostic(located.into())
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Located {}

impl Diagnostic for Located {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = |label: &Label| {
            LabeledSpan::new(Some(label.reason.clone()), label.offset, label.length)
        };
        Some(Box::new(self.labels.iter().map(span)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_lines_and_columns() {
        let text = "ä b\n  cde + f\n";
        let of = |label: Label| text[label.offset..][..label.length].to_owned();
        assert_eq!(of(Label::at(text, 1, 3, "")), "b");
        assert_eq!(of(Label::at(text, 2, 3, "")), "cde");
        assert_eq!(of(Label::line(text, 2, "")), "cde + f");
        assert_eq!(of(Label::word(text, 1, "")), "ä");
        // Past the end there is nothing to show.
        assert_eq!(of(Label::at(text, 9, 9, "")), "");
        assert_eq!(of(Label::word(text, 99, "")), "");
    }
}
