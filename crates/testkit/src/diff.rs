//! A line diff for test failures.

use std::fmt::Write;

/// Lines of context around each change.
const CONTEXT: usize = 3;

/// The largest table of common lines; beyond it the differing middle is shown as one block.
const CELLS_MAX: usize = 4_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit<'a> {
    Keep(&'a str),
    Remove(&'a str),
    Add(&'a str),
}

/// The difference from `expected` to `actual` in unified form, three lines of context around each
/// change, and an empty string where all lines are the same.
#[must_use]
pub fn unified_diff(expected: &str, actual: &str) -> String {
    let edits = edits(&lines(expected), &lines(actual));
    let changed: Vec<usize> = (0..edits.len())
        .filter(|&at| !matches!(edits[at], Edit::Keep(_)))
        .collect();
    let mut text = String::new();
    let mut shown_to = 0;
    for (index, &at) in changed.iter().enumerate() {
        if at < shown_to {
            continue;
        }
        // A hunk goes on while the next change is within reach of its context.
        let mut last = at;
        for &next in &changed[index..] {
            if next <= last + 2 * CONTEXT + 1 {
                last = next;
            }
        }
        let start = at.saturating_sub(CONTEXT);
        let end = (last + CONTEXT + 1).min(edits.len());
        write_hunk(&mut text, &edits, start, end);
        shown_to = end;
    }
    text
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn write_hunk(text: &mut String, edits: &[Edit<'_>], start: usize, end: usize) {
    let count = |edits: &[Edit<'_>], added: bool| {
        let other = |edit: &&Edit<'_>| match edit {
            Edit::Keep(_) => true,
            Edit::Remove(_) => !added,
            Edit::Add(_) => added,
        };
        edits.iter().filter(other).count()
    };
    let (before, hunk) = (&edits[..start], &edits[start..end]);
    let old = (count(before, false) + 1, count(hunk, false));
    let new = (count(before, true) + 1, count(hunk, true));
    let header = format!("@@ -{},{} +{},{} @@", old.0, old.1, new.0, new.1);
    writeln!(text, "{header}").expect("strings grow");
    for edit in hunk {
        let (sign, line) = match edit {
            Edit::Keep(line) => (' ', line),
            Edit::Remove(line) => ('-', line),
            Edit::Add(line) => ('+', line),
        };
        writeln!(text, "{sign}{line}").expect("strings grow");
    }
}

/// The shortest list of edits, by the longest common subsequence of what lies between the common
/// start and the common end.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let same_at_end = |(a, b): &(&&str, &&str)| a == b;
    let tail = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(same_at_end)
        .count();
    let old_middle = &old_rest[..old_rest.len() - tail];
    let new_middle = &new_rest[..new_rest.len() - tail];

    let mut edits: Vec<Edit<'a>> = old[..head].iter().map(|line| Edit::Keep(line)).collect();
    if old_middle.len().saturating_mul(new_middle.len()) > CELLS_MAX {
        edits.extend(old_middle.iter().map(|line| Edit::Remove(line)));
        edits.extend(new_middle.iter().map(|line| Edit::Add(line)));
    } else {
        edits.extend(middle_edits(old_middle, new_middle));
    }
    edits.extend(old[old.len() - tail..].iter().map(|line| Edit::Keep(line)));
    edits
}

fn middle_edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    // common[i * width + j]: the longest common subsequence of old[i..] and new[j..].
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut edits = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            edits.push(Edit::Keep(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len()
            && (j == new.len() || common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            edits.push(Edit::Remove(old[i]));
            i += 1;
        } else {
            edits.push(Edit::Add(new[j]));
            j += 1;
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_text_has_no_diff() {
        assert_eq!(unified_diff("a\nb\n", "a\nb\n"), "");
        assert_eq!(unified_diff("", ""), "");
    }

    #[test]
    fn shows_changes_with_context_only() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\nten\n";
        let expected = "@@ -2,8 +2,9 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n+ten\n";
        assert_eq!(unified_diff(old, new), expected);
    }

    #[test]
    fn far_changes_are_hunks_of_their_own() {
        let line = |at: i32| format!("{at}\n");
        let old: String = (0..30).map(line).collect();
        let new = old.replace("\n2\n", "\n").replace("28\n", "28\nx\n");
        let diff = unified_diff(&old, &new);
        assert_eq!(diff.matches("@@ -").count(), 2, "{diff}");
        assert!(diff.contains("@@ -1,6 +1,5 @@\n 0\n 1\n-2\n 3\n"), "{diff}");
        assert!(
            diff.contains("@@ -27,4 +26,5 @@\n 26\n 27\n 28\n+x\n 29\n"),
            "{diff}"
        );
    }

    #[test]
    fn long_texts_are_diffed_as_one_block() {
        let text =
            |first: usize| -> String { (0..3000).map(|at| format!("{}\n", first + at)).collect() };
        let diff = unified_diff(&text(0), &text(10_000));
        assert_eq!(diff.lines().count(), 6001);
    }
}
