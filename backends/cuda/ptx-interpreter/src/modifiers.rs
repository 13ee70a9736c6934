//! The dotted modifiers of an opcode, taken one by one so that none is ever ignored.

use crate::error::ParseError;
use crate::types::Type;

/// Modifiers not yet understood.
pub(crate) struct Modifiers<'a> {
    pub(crate) mnemonic: &'a str,
    pub(crate) line: u32,
    opcode: &'a str,
    left: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    pub(crate) fn new(opcode: &'a str, line: u32) -> Self {
        let mut words = opcode.split('.');
        let mnemonic = words.next().unwrap_or_default();
        Self {
            mnemonic,
            line,
            opcode,
            left: words.collect(),
        }
    }

    pub(crate) fn error(&self, message: impl std::fmt::Display) -> ParseError {
        ParseError::new(self.line, format!("`{}`: {message}", self.opcode))
    }

    /// Takes `word` if it is there.
    pub(crate) fn flag(&mut self, word: &str) -> bool {
        let at = self.left.iter().position(|left| *left == word);
        at.map(|at| self.left.remove(at)).is_some()
    }

    /// Takes `word`, which must be there.
    pub(crate) fn expect(&mut self, word: &str) -> Result<(), ParseError> {
        if self.flag(word) {
            Ok(())
        } else {
            Err(self.error(format!("`.{word}` is missing")))
        }
    }

    /// Takes the first of `choices` that is there.
    pub(crate) fn choose<T: Copy>(&mut self, choices: &[(&str, T)]) -> Option<T> {
        choices
            .iter()
            .find(|(word, _)| self.flag(word))
            .map(|(_, value)| *value)
    }

    /// Takes the first of `choices`, one of which must be there.
    pub(crate) fn require<T: Copy>(&mut self, choices: &[(&str, T)]) -> Result<T, ParseError> {
        self.choose(choices).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!(".{word}")).collect();
            self.error(format!("needs one of {}", words.join(" ")))
        })
    }

    /// Takes the last modifier as a type.
    pub(crate) fn ty(&mut self) -> Result<Type, ParseError> {
        let word = self
            .left
            .pop()
            .ok_or_else(|| self.error("the type is missing"))?;
        Type::parse(word).ok_or_else(|| self.error(format!("unknown type `.{word}`")))
    }

    /// Takes the last modifier, whatever it is.
    pub(crate) fn last(&mut self) -> Option<&'a str> {
        self.left.pop()
    }

    /// Takes the first modifier that `parse` knows.
    pub(crate) fn find<T>(&mut self, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, value) = self
            .left
            .iter()
            .enumerate()
            .find_map(|(at, word)| parse(word).map(|v| (at, v)))?;
        self.left.remove(at);
        Some(value)
    }

    /// Takes every modifier that `known` accepts: hints and scopes without effect here.
    pub(crate) fn drop_all(&mut self, known: &[&str]) {
        self.left.retain(|word| !known.contains(word));
    }

    /// Refuses what is left.
    pub(crate) fn finish(&self) -> Result<(), ParseError> {
        match self.left.first() {
            None => Ok(()),
            Some(word) => Err(self.error(format!("modifier `.{word}` is not supported"))),
        }
    }
}
