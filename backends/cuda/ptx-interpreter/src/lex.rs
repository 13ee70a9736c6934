//! Splits a PTX text into tokens with line numbers.

use crate::error::ParseError;

/// One lexical element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    /// Identifier, opcode with modifiers, directive or register: `ld.global.f32`, `.reg`, `%r1`.
    Word(&'a str),
    Int(u64),
    /// `0fXXXXXXXX`, as bits.
    F32(u32),
    /// `0dXXXXXXXXXXXXXXXX` or a decimal literal, as bits.
    F64(u64),
    Str,
    Punct(char),
}

/// Tokens and their one-based lines.
pub(crate) fn lex(text: &str) -> Result<Vec<(Token<'_>, u32)>, ParseError> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(text.len() / 4);
    let (mut at, mut line) = (0, 1u32);
    while at < bytes.len() {
        let start = at;
        let rest = &text.as_bytes()[at..];
        match bytes[at] {
            b'\n' => {
                line += 1;
                at += 1;
            }
            byte if byte.is_ascii_whitespace() => at += 1,
            b'/' if rest.starts_with(b"//") => {
                while at < bytes.len() && bytes[at] != b'\n' {
                    at += 1;
                }
            }
            b'/' if rest.starts_with(b"/*") => {
                let opened = line;
                at += 2;
                while at < bytes.len() && !bytes[at..].starts_with(b"*/") {
                    line += u32::from(bytes[at] == b'\n');
                    at += 1;
                }
                if at >= bytes.len() {
                    return Err(ParseError::new(opened, "comment is not closed"));
                }
                at += 2;
            }
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += 1;
                }
                if at >= bytes.len() {
                    return Err(ParseError::new(line, "string is not closed"));
                }
                at += 1;
                out.push((Token::Str, line));
            }
            b'0'..=b'9' => {
                let (token, len) = number(&text[at..], line)?;
                out.push((token, line));
                at += len;
            }
            byte if is_word(byte) => {
                while at < bytes.len()
                    && (is_word(bytes[at])
                        || (bytes[at..].starts_with(b"::"))
                        || (bytes[at] == b':' && bytes[at - 1] == b':'))
                {
                    at += 1;
                }
                out.push((Token::Word(&text[start..at]), line));
            }
            byte if byte.is_ascii_punctuation() => {
                out.push((Token::Punct(byte as char), line));
                at += 1;
            }
            byte => {
                return Err(ParseError::new(
                    line,
                    format!("unexpected byte {byte:#04x}"),
                ));
            }
        }
    }
    Ok(out)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

fn number(text: &str, line: u32) -> Result<(Token<'static>, usize), ParseError> {
    let bytes = text.as_bytes();
    let run = |from: usize, test: fn(&u8) -> bool| {
        from + bytes[from..].iter().take_while(|b| test(b)).count()
    };
    let bad = |len: usize| {
        let word: String = text.chars().take(len.max(8)).collect();
        ParseError::new(line, format!("malformed number near `{word}`"))
    };
    let second = bytes.get(1).copied().unwrap_or(b' ').to_ascii_lowercase();
    if bytes[0] == b'0' && matches!(second, b'f' | b'd' | b'x' | b'b') {
        let end = run(2, u8::is_ascii_hexdigit);
        let digits = &text[2..end];
        let token = match (second, digits.len()) {
            (b'f', 8) => u32::from_str_radix(digits, 16).map(Token::F32),
            (b'd', 16) => u64::from_str_radix(digits, 16).map(Token::F64),
            (b'x', 1..=16) => u64::from_str_radix(digits, 16).map(Token::Int),
            (b'b', 1..=64) => u64::from_str_radix(digits, 2).map(Token::Int),
            _ => return Err(bad(end)),
        };
        return unsuffixed(text, token.map_err(|_| bad(end))?, end, line);
    }
    let mut end = run(0, u8::is_ascii_digit);
    let is_float = (bytes.get(end) == Some(&b'.')
        && bytes.get(end + 1).is_some_and(u8::is_ascii_digit))
        || matches!(bytes.get(end), Some(b'e' | b'E'));
    if is_float {
        end = run(end + 1, u8::is_ascii_digit);
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            end = run((end + 1 + sign).min(bytes.len()), u8::is_ascii_digit);
        }
        let value: f64 = text[..end].parse().map_err(|_| bad(end))?;
        return unsuffixed(text, Token::F64(value.to_bits()), end, line);
    }
    let radix = if end > 1 && bytes[0] == b'0' { 8 } else { 10 };
    let value = u64::from_str_radix(&text[..end], radix).map_err(|_| bad(end))?;
    unsuffixed(text, Token::Int(value), end, line)
}

/// Accepts the `U` suffix of integers and refuses letters that run into the number.
fn unsuffixed(
    text: &str,
    token: Token<'static>,
    end: usize,
    line: u32,
) -> Result<(Token<'static>, usize), ParseError> {
    let suffix = usize::from(matches!(token, Token::Int(_)) && text[end..].starts_with('U'));
    match text.as_bytes().get(end + suffix) {
        Some(byte) if is_word(*byte) => {
            let word: String = text.chars().take(end + suffix + 1).collect();
            Err(ParseError::new(line, format!("malformed number `{word}`")))
        }
        _ => Ok((token, end + suffix)),
    }
}
