//! Tells Rust code from comments and literals, line by line, without parsing it.

/// A Rust file taken apart. Both texts have the lines of the file; what belongs to the other, and
/// the contents of literals, are blanks.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) code: String,
    pub(super) comments: String,
}

/// Where each character of a file belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

/// Takes `text` apart.
pub(super) fn scan(text: &str) -> Scanned {
    let mut scanned = Scanned::default();
    let mut rest = text;
    let mut previous = ' ';
    while !rest.is_empty() {
        let (part, bytes) = next_part(rest, previous);
        let (taken, after) = rest.split_at(bytes);
        for character in taken.chars() {
            let blank = if character == '\n' { '\n' } else { ' ' };
            scanned
                .code
                .push(if part == Part::Code { character } else { blank });
            scanned.comments.push(if part == Part::Comment {
                character
            } else {
                blank
            });
            previous = character;
        }
        rest = after;
    }
    scanned
}

/// What `rest` begins with, and how many bytes of it; code comes a character at a time.
fn next_part(rest: &str, previous: char) -> (Part, usize) {
    let in_word = previous.is_alphanumeric() || previous == '_';
    let first = rest.chars().next().expect("the caller stops at the end");
    if rest.starts_with("//") {
        return (Part::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Part::Comment, block_comment_bytes(rest));
    }
    if first == '"' {
        return (Part::Literal, quoted_bytes(rest, '"'));
    }
    if !in_word && let Some(bytes) = raw_string_bytes(rest) {
        return (Part::Literal, bytes);
    }
    if first == '\'' && is_character_literal(rest) {
        return (Part::Literal, quoted_bytes(rest, '\''));
    }
    (Part::Code, first.len_utf8())
}

/// Block comments nest.
fn block_comment_bytes(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a literal in `quote`s, escapes honoured.
fn quoted_bytes(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if character == '\\' {
            is_escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// The length of a raw string, `r"..."` or `br#"..."#`, if `rest` begins with one.
fn raw_string_bytes(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix))?;
    let after = &rest[prefix.len()..];
    let hashes = after.bytes().take_while(|&byte| byte == b'#').count();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = prefix.len() + hashes + 1;
    Some(
        body.find(&end)
            .map_or(rest.len(), |at| start + at + end.len()),
    )
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_character_literal(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

/// Whether `word` appears in `line` as a word of its own.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !is_part(before) && !is_part(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_comments_and_literals() {
        let text = "let a = \"// no\"; // yes\n/* one\n/* two */ */ b('\\'', 'x', \"\\\"\");\n";
        let Scanned { code, comments } = scan(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(code.starts_with("let a =        "), "{code:?}");
        assert!(!code.contains("no") && !code.contains("yes") && !code.contains("two"));
        assert!(code.contains("b("), "{code:?}");
        assert!(comments.contains("// yes") && comments.contains("/* two */ */"));
        assert!(!comments.contains("no"));
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        let code = scan("r#\"a \" b\"# + c; br\"x\"; for r in d {}").code;
        assert_eq!(code.split_whitespace().collect::<String>(), "+c;;forrind{}");
    }

    #[test]
    fn lifetimes_are_code() {
        let text = "fn f<'a>(x: &'a str) -> &'static str { 'b: loop {} }";
        assert_eq!(scan(text).code, text);
    }

    #[test]
    fn words_have_borders() {
        assert!(has_word("a HashMap<", "HashMap"));
        assert!(!has_word("FxHashMap", "HashMap"));
        assert!(!has_word("unsafe_code", "unsafe"));
    }
}
