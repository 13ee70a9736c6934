//! Operands as written, before a type gives them meaning.

use crate::error::ParseError;
use crate::lex::Token;

/// An operand as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand<'a> {
    /// Register, label or symbol; `_` is the sink.
    Name(&'a str),
    /// `symbol + offset` as a value.
    NameOffset(&'a str, i64),
    /// `!predicate`.
    Not(&'a str),
    /// Magnitude and sign.
    Int(u64, bool),
    /// A float literal, with its bits where it was written as `0f`.
    Float(f64, Option<u32>),
    Vector(Vec<Operand<'a>>),
    /// `a|b`.
    Pair(&'a str, &'a str),
    /// `[base + offset]`; no base means an absolute address.
    Address(Option<&'a str>, i64),
}

/// A cursor over the tokens of a text.
#[derive(Clone)]
pub(crate) struct Cursor<'t, 'a> {
    tokens: &'t [(Token<'a>, u32)],
    at: usize,
}

impl<'t, 'a> Cursor<'t, 'a> {
    pub(crate) fn new(tokens: &'t [(Token<'a>, u32)]) -> Self {
        Self { tokens, at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|(token, _)| *token)
    }

    /// Line of the next token, or of the last one at the end.
    pub(crate) fn line(&self) -> u32 {
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(1, |(_, line)| *line)
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(self.line(), message)
    }

    pub(crate) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    pub(crate) fn skip_line(&mut self) {
        let line = self.line();
        while self.at < self.tokens.len() && self.line() == line {
            self.at += 1;
        }
    }

    pub(crate) fn accept(&mut self, punct: char) -> bool {
        let found = self.peek() == Some(Token::Punct(punct));
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, punct: char) -> Result<(), ParseError> {
        if self.accept(punct) {
            return Ok(());
        }
        let line = self
            .tokens
            .get(self.at.saturating_sub(1))
            .map_or(1, |(_, line)| *line);
        Err(ParseError::new(
            line,
            format!("expected `{punct}`, found {}", self.describe()),
        ))
    }

    fn describe(&self) -> String {
        match self.peek() {
            None => "the end of the text".into(),
            Some(Token::Word(word)) => format!("`{word}`"),
            Some(Token::Punct(punct)) => format!("`{punct}`"),
            Some(Token::Str) => "a string".into(),
            Some(Token::Int(_) | Token::F32(_) | Token::F64(_)) => "a number".into(),
        }
    }

    pub(crate) fn word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.error(format!("expected {what}, found {}", self.describe()))),
        }
    }

    /// A small unsigned number: an alignment, an array length, a register count.
    pub(crate) fn count(&mut self, what: &str) -> Result<usize, ParseError> {
        match self.peek() {
            Some(Token::Int(value)) if value <= 1 << 30 => {
                self.at += 1;
                Ok(value as usize)
            }
            _ => Err(self.error(format!("expected {what}, found {}", self.describe()))),
        }
    }

    /// One operand of an instruction.
    pub(crate) fn operand(&mut self) -> Result<Operand<'a>, ParseError> {
        if self.accept('{') {
            let mut parts = Vec::new();
            loop {
                if self.peek() == Some(Token::Punct('{')) {
                    return Err(self.error("vectors do not nest"));
                }
                parts.push(self.operand()?);
                if !self.accept(',') {
                    break;
                }
            }
            self.expect('}')?;
            return Ok(Operand::Vector(parts));
        }
        if self.accept('[') {
            let base = match self.peek() {
                Some(Token::Word(word)) => {
                    self.at += 1;
                    Some(word)
                }
                _ => None,
            };
            let offset = match base {
                None => self.signed_offset(false)?,
                Some(_) if self.accept('+') => {
                    let negative = self.accept('-');
                    self.signed_offset(negative)?
                }
                Some(_) if self.accept('-') => self.signed_offset(true)?,
                Some(_) => 0,
            };
            self.expect(']')?;
            return Ok(Operand::Address(base, offset));
        }
        if self.accept('!') {
            return Ok(Operand::Not(self.word("a predicate")?));
        }
        let negative = self.accept('-');
        if !negative && let Some(Token::Word(word)) = self.peek() {
            self.at += 1;
            if self.accept('|') {
                return Ok(Operand::Pair(word, self.word("a predicate")?));
            }
            if self.accept('+') {
                return Ok(Operand::NameOffset(word, self.signed_offset(false)?));
            }
            return Ok(Operand::Name(word));
        }
        let sign = if negative { -1.0 } else { 1.0 };
        let operand = match self.peek() {
            Some(Token::Int(value)) => Operand::Int(value, negative),
            Some(Token::F32(bits)) if !negative => {
                Operand::Float(f64::from(f32::from_bits(bits)), Some(bits))
            }
            Some(Token::F64(bits)) => Operand::Float(sign * f64::from_bits(bits), None),
            _ => return Err(self.error(format!("expected an operand, found {}", self.describe()))),
        };
        self.at += 1;
        Ok(operand)
    }

    fn signed_offset(&mut self, negative: bool) -> Result<i64, ParseError> {
        match self.next() {
            Some(Token::Int(value)) if value <= 1 << 62 => Ok(if negative {
                -(value as i64)
            } else {
                value as i64
            }),
            _ => Err(self.error("expected an address offset")),
        }
    }
}
