//! Checks of files as text: length, width, words.

use crate::tidy::Finding;
use crate::tidy::policy::{
    COLUMNS_MAX, GENERATED_MARK, LINES_MAX, LINES_NOTED, LONG_FILES, WIDE_PLACES, WORDS, matches,
};
use crate::tidy::repo::{File, Repo};

/// Source files, whose length is a matter of taste and thus of tidiness.
const SOURCE: [&str; 2] = [".rs", ".py"];

/// Notes of work to do, which need a reason. In halves, because this file is checked too.
const NOTES: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Source files over the first limit that may stay, with their lines, longest first.
pub(crate) fn long_files(repo: &Repo) -> Vec<(&str, usize)> {
    let mut long: Vec<(&str, usize)> = sources(repo)
        .map(|file| (file.path.as_str(), file.text.lines().count()))
        .filter(|&(_, lines)| lines > LINES_NOTED)
        .collect();
    long.sort_by_key(|&(_, lines)| std::cmp::Reverse(lines));
    long
}

/// Source files over the second limit that are not on the list.
pub(crate) fn length(repo: &Repo) -> Vec<Finding> {
    let is_listed = |path: &str| LONG_FILES.iter().any(|(listed, _)| *listed == path);
    long_files(repo)
        .into_iter()
        .filter(|&(path, lines)| lines > LINES_MAX && !is_listed(path))
        .map(|(path, lines)| {
            let message = format!("{lines} lines; split it by idea (at most {LINES_MAX})");
            Finding::new(path, message)
        })
        .collect()
}

/// Lines of Rust that are too wide.
pub(crate) fn columns(repo: &Repo) -> Vec<Finding> {
    let is_wide_place = |path: &str| WIDE_PLACES.iter().any(|place| matches(place, path));
    let rust =
        sources(repo).filter(|file| file.path.ends_with(".rs") && !is_wide_place(&file.path));
    let wide = |line: &str| {
        let columns = line.chars().count();
        let message = || format!("{columns} columns (at most {COLUMNS_MAX})");
        (columns > COLUMNS_MAX).then(message)
    };
    rust.flat_map(|file| by_line(&file.path, &file.text, wide))
        .collect()
}

/// Notes of work to do without a reason in parentheses, in comments of Rust and anywhere else.
pub(crate) fn reasons(repo: &Repo) -> Vec<Finding> {
    let unexplained = |line: &str| {
        let mut notes = NOTES.iter().flat_map(|note| line.split(note).skip(1));
        notes.any(|after| !has_reason(after)).then(|| {
            "a note of work to do needs its reason in parentheses, directly behind".to_owned()
        })
    };
    let notes_in = |file: &File| {
        let text = file.rust.as_ref().map_or(&file.text, |rust| &rust.comments);
        by_line(&file.path, text, unexplained).collect::<Vec<_>>()
    };
    repo.files.iter().flat_map(notes_in).collect()
}

/// Forbidden words, in any file.
pub(crate) fn words(repo: &Repo) -> Vec<Finding> {
    let forbidden = |line: &str| {
        let (word, reason) = WORDS.iter().find(|(word, _)| line.contains(word))?;
        Some(format!("{word:?} is {reason}"))
    };
    repo.files
        .iter()
        .flat_map(|file| by_line(&file.path, &file.text, forbidden))
        .collect()
}

fn has_reason(after: &str) -> bool {
    let reason = after
        .strip_prefix('(')
        .and_then(|after| after.split_once(')'));
    reason.is_some_and(|(reason, _)| !reason.trim().is_empty())
}

/// Source files that people wrote.
fn sources(repo: &Repo) -> impl Iterator<Item = &File> {
    let is_written = |file: &File| !file.text.lines().take(5).any(is_generated_mark);
    let is_source = |file: &File| {
        SOURCE
            .iter()
            .any(|extension| file.path.ends_with(extension))
    };
    repo.files
        .iter()
        .filter(move |file| is_source(file) && is_written(file))
}

fn is_generated_mark(line: &str) -> bool {
    line.contains(GENERATED_MARK)
}

/// A finding for each line of which `problem` has something to say.
pub(super) fn by_line<'a>(
    path: &'a str,
    text: &'a str,
    problem: impl Fn(&str) -> Option<String> + 'a,
) -> impl Iterator<Item = Finding> + 'a {
    text.lines().enumerate().filter_map(move |(index, line)| {
        problem(line).map(|message| Finding::new(format!("{path}:{}", index + 1), message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_noted_and_then_refused() {
        let (noted, refused) = ("x\n".repeat(LINES_NOTED + 1), "x\n".repeat(LINES_MAX + 1));
        let generated = format!("// {GENERATED_MARK}\n{refused}");
        let files = [
            ("a.rs", &*noted),
            ("b.rs", &*refused),
            ("c.rs", &*generated),
            ("d.ir", &*refused),
        ];
        let repo = Repo::of(&files);
        assert_eq!(
            long_files(&repo),
            [("b.rs", LINES_MAX + 1), ("a.rs", LINES_NOTED + 1)]
        );
        let found = length(&repo);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "b.rs");
    }

    #[test]
    fn wide_lines_are_counted_in_characters() {
        let fits = "é".repeat(COLUMNS_MAX);
        let text = format!("{fits}\n{fits}x\n");
        let found = columns(&Repo::of(&[("a.rs", &text), ("a.ir", &text)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "a.rs:2");
    }

    #[test]
    fn notes_of_work_need_a_reason() {
        let [note, other] = NOTES;
        let good = format!("// {note}(until naga has f64): widen\nlet x = \"{note}\";\n");
        assert_eq!(reasons(&Repo::of(&[("a.rs", &good)])), []);
        let bad = format!("x\n// {note}: widen\n// {other}( ) later\n");
        let places: Vec<String> = reasons(&Repo::of(&[("a.rs", &bad)]))
            .into_iter()
            .map(|found| found.place)
            .collect();
        assert_eq!(places, ["a.rs:2", "a.rs:3"]);
        assert_eq!(
            reasons(&Repo::of(&[("a.py", &format!("# {note} x"))])).len(),
            1
        );
    }

    #[test]
    fn machine_paths_are_refused_anywhere() {
        for (word, reason) in WORDS {
            let found = words(&Repo::of(&[("docs/a.md", &format!("see {word}x"))]));
            assert_eq!(found.len(), 1, "{word}");
            assert!(found[0].message.contains(reason));
        }
        assert_eq!(words(&Repo::of(&[("a.md", "the root/ of all")])), []);
    }
}
