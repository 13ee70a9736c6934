//! Positions and words of a text.

use super::TextError;

/// A place in a text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Lexer<'t> {
        Lexer { text, at: 0 }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// An error at byte `at`.
    pub(super) fn error_at(&self, at: usize, message: impl Into<String>) -> TextError {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        TextError {
            line,
            column,
            message: message.into(),
        }
    }

    /// An error where the next word starts.
    pub(super) fn error(&mut self, message: impl Into<String>) -> TextError {
        let at = self.position();
        self.error_at(at, message)
    }

    /// Where the next word starts.
    pub(super) fn position(&mut self) -> usize {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with(';') {
                return self.at;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.position() == self.text.len()
    }

    fn found(&mut self) -> String {
        self.position();
        match self.rest().split_whitespace().next() {
            Some(word) => format!("'{}'", word.chars().take(24).collect::<String>()),
            None => "the end".to_owned(),
        }
    }

    /// Takes a punctuation mark if it is next.
    pub(super) fn take(&mut self, mark: char) -> bool {
        self.position();
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len_utf8();
        }
        found
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<(), TextError> {
        if self.take(mark) {
            return Ok(());
        }
        let found = self.found();
        Err(self.error(format!("expected '{mark}', found {found}")))
    }

    /// The next word without taking it; empty if there is none.
    pub(super) fn peek(&mut self) -> &'t str {
        self.position();
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        &rest[..end]
    }

    /// Takes a word: letters, digits, underscores.
    pub(super) fn word(&mut self) -> Result<&'t str, TextError> {
        let word = self.peek();
        if word.is_empty() {
            let found = self.found();
            return Err(self.error(format!("expected a name, found {found}")));
        }
        self.at += word.len();
        Ok(word)
    }

    /// Takes a word if it is this one.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), TextError> {
        if self.take_word(word) {
            return Ok(());
        }
        let found = self.found();
        Err(self.error(format!("expected '{word}', found {found}")))
    }

    /// Takes a number that fits.
    pub(super) fn number<N: std::str::FromStr>(&mut self) -> Result<N, TextError> {
        let at = self.position();
        let word = self.word()?;
        word.parse()
            .map_err(|_| self.error_at(at, format!("'{word}' is no number that fits")))
    }

    /// Takes a float that fits.
    pub(super) fn float(&mut self) -> Result<f32, TextError> {
        let at = self.position();
        let rest = self.rest();
        let length = rest.find([',', ')', ' ', '\n']).unwrap_or(rest.len());
        let word = &rest[..length];
        self.at += length;
        word.parse()
            .map_err(|_| self.error_at(at, format!("'{word}' is no float")))
    }

    /// Takes everything before `end` (or the end of the line, if `end` is a line break).
    pub(super) fn until(&mut self, end: char) -> (usize, &'t str) {
        let at = self.position();
        let rest = self.rest();
        let length = rest.find([end, '\n', ';']).unwrap_or(rest.len());
        self.at += length;
        (at, rest[..length].trim_end())
    }

    /// Goes to another place; returns where it was.
    pub(super) fn go(&mut self, at: usize) -> usize {
        std::mem::replace(&mut self.at, at)
    }

    /// Where `mark` occurs from here to `end`, behind it and in no comment.
    pub(super) fn places(&mut self, mark: &str, end: char) -> Vec<usize> {
        let start = self.position();
        let rest = self.rest();
        let text = &rest[..rest.find(end).unwrap_or(rest.len())];
        let in_comment = |at: usize| {
            text[..at]
                .rfind([';', '\n'])
                .is_some_and(|last| text[last..].starts_with(';'))
        };
        text.match_indices(mark)
            .filter(|(at, _)| !in_comment(*at))
            .map(|(at, _)| start + at + mark.len())
            .collect()
    }

    /// Takes everything before one of the marks that is in no parentheses, or the end of the line.
    pub(super) fn outside(&mut self, marks: &[char]) -> (usize, &'t str) {
        let at = self.position();
        let rest = self.rest();
        let mut depth = 0_usize;
        let ends = |c: char| match c {
            '\n' | ';' => true,
            c if depth == 0 && marks.contains(&c) => true,
            '(' => {
                depth += 1;
                false
            }
            ')' => {
                depth = depth.saturating_sub(1);
                false
            }
            _ => false,
        };
        let length = rest.find(ends).unwrap_or(rest.len());
        self.at += length;
        (at, rest[..length].trim_end())
    }

    /// Takes a name: a word, or a string in quotes.
    pub(super) fn name(&mut self) -> Result<String, TextError> {
        let at = self.position();
        if !self.take('"') {
            return self.word().map(str::to_owned);
        }
        let mut name = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(name);
                }
                '\\' => match escape(&mut chars) {
                    Some(c) => name.push(c),
                    None => return Err(self.error_at(at, "unknown escape in a name")),
                },
                c => name.push(c),
            }
        }
        Err(self.error_at(at, "name without closing quote"))
    }
}

/// The character of an escape as Rust's `Debug` writes them.
fn escape(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    match chars.next()?.1 {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        '0' => Some('\0'),
        'u' => {
            let code: String = chars
                .by_ref()
                .skip(1)
                .map(|(_, c)| c)
                .take_while(|&c| c != '}')
                .collect();
            char::from_u32(u32::from_str_radix(&code, 16).ok()?)
        }
        c @ ('"' | '\\' | '\'') => Some(c),
        _ => None,
    }
}
