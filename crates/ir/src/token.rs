//! Words of the graph text.

/// A word with where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// `%name`.
    Value(String),
    /// `@name`.
    Global(String),
    /// A name or keyword.
    Word(String),
    /// A number, as written.
    Number(String),
    /// A quoted string, unescaped.
    Text(String),
    /// One of `( ) { } [ ] , : = * + - < >`.
    Mark(char),
    /// The end.
    End,
}

/// Cuts text into tokens lazily, keeping the position for messages.
#[derive(Clone)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Where the current token begins.
    pub(crate) start: usize,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Lexer<'t> {
        Lexer {
            text,
            at: 0,
            start: 0,
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            // A comment runs from `;` to the end of the line.
            if !self.rest().starts_with(';') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The text from the current token up to a mark outside of any parenthesis, for dims.
    pub(crate) fn raw_until(&mut self, stops: &[char]) -> &'t str {
        self.skip_blank();
        self.start = self.at;
        let rest = self.rest();
        let mut depth = 0_usize;
        for (offset, c) in rest.char_indices() {
            match c {
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                c if depth == 0 && stops.contains(&c) => {
                    self.at += offset;
                    return rest[..offset].trim();
                }
                _ => {}
            }
        }
        self.at = self.text.len();
        rest.trim()
    }

    pub(crate) fn next(&mut self) -> Result<Token, String> {
        self.skip_blank();
        self.start = self.at;
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$');
        let Some(first) = self.rest().chars().next() else {
            return Ok(Token::End);
        };
        let second = self.rest().chars().nth(1).unwrap_or(' ');
        match first {
            '%' | '@' => {
                self.at += 1;
                let name = if self.rest().starts_with('"') {
                    self.quoted()?
                } else {
                    self.take_while(is_word).to_owned()
                };
                if name.is_empty() {
                    return Err(format!("a name must follow '{first}'"));
                }
                Ok(if first == '%' {
                    Token::Value(name)
                } else {
                    Token::Global(name)
                })
            }
            '"' => Ok(Token::Text(self.quoted()?)),
            c if c.is_ascii_digit() || (c == '-' && (second.is_ascii_digit() || second == 'i')) => {
                self.at += 1;
                let mut previous = c;
                let rest = self.rest();
                let end = rest
                    .find(|c: char| {
                        let sign = matches!(c, '-' | '+') && matches!(previous, 'e' | 'E');
                        previous = c;
                        !(is_word(c) || sign)
                    })
                    .unwrap_or(rest.len());
                self.at += end;
                Ok(Token::Number(self.text[self.start..self.at].to_owned()))
            }
            c if is_word(c) => Ok(Token::Word(self.take_while(is_word).to_owned())),
            c if "(){}[],:=*+-<>/".contains(c) => {
                self.at += 1;
                Ok(Token::Mark(c))
            }
            c => Err(format!("unexpected character '{c}'")),
        }
    }

    /// A quoted string with Rust's escapes.
    fn quoted(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some('0') => out.push('\0'),
                    Some('u') => {
                        let hex: String = chars
                            .by_ref()
                            .skip(1)
                            .map(|(_, c)| c)
                            .take_while(|c| *c != '}')
                            .collect();
                        let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                        out.push(code.ok_or_else(|| format!("bad escape \\u{{{hex}}}"))?);
                    }
                    Some(c) => out.push(c),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err("a string is not closed".to_owned())
    }
}
