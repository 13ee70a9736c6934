//! The text of dims: `3`, `N`, `2*N + 1`, `floordiv(N + 1, 2)`, `mod(N, 4)`, `max(N, 1)`.

use std::fmt;

use crate::dim::{Atom, Dim, Symbol};

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Sym(symbol) => symbol.fmt(f),
            Atom::FloorDiv(a, b) => write!(f, "floordiv({a}, {b})"),
            Atom::Mod(a, b) => write!(f, "mod({a}, {b})"),
            Atom::Max(a, b) => write!(f, "max({a}, {b})"),
            Atom::Min(a, b) => write!(f, "min({a}, {b})"),
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(value) = self.as_const() {
            return write!(f, "{value}");
        }
        // Symbols first, the constant last: reads as `2*N + 1`.
        for (position, (monomial, coefficient)) in self.terms().into_iter().rev().enumerate() {
            match (position, coefficient < 0) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str(" - ")?,
                (_, false) => f.write_str(" + ")?,
            }
            let magnitude = coefficient.unsigned_abs();
            let mut factors = Vec::new();
            if magnitude != 1 || monomial.is_empty() {
                factors.push(magnitude.to_string());
            }
            for (atom, power) in &monomial {
                factors.extend((0..*power).map(|_| atom.to_string()));
            }
            f.write_str(&factors.join("*"))?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Dim {
    type Err = String;

    fn from_str(text: &str) -> Result<Dim, String> {
        let mut parser = Parser {
            text,
            at: 0,
            depth: 0,
        };
        let dim = parser.sum()?;
        parser.skip_space();
        if parser.at == text.len() {
            Ok(dim)
        } else {
            Err(parser.unexpected())
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn unexpected(&self) -> String {
        format!(
            "unexpected '{}' in dim '{}'",
            self.rest().chars().next().unwrap_or(' '),
            self.text
        )
    }

    fn take(&mut self, token: char) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len_utf8();
        }
        found
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn sum(&mut self) -> Result<Dim, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err(format!("dim '{}' is nested too deeply", self.text));
        }
        let mut total = if self.take('-') {
            -self.product()?
        } else {
            self.product()?
        };
        loop {
            if self.take('+') {
                total = total + self.product()?;
            } else if self.take('-') {
                total = total - self.product()?;
            } else {
                self.depth -= 1;
                return Ok(total);
            }
        }
    }

    fn product(&mut self) -> Result<Dim, String> {
        let mut total = self.factor()?;
        while self.take('*') {
            total = total * self.factor()?;
        }
        Ok(total)
    }

    fn factor(&mut self) -> Result<Dim, String> {
        self.skip_space();
        if self.take('(') {
            let inner = self.sum()?;
            self.expect(')')?;
            return Ok(inner);
        }
        let word: String = self
            .rest()
            .chars()
            .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '$'))
            .collect();
        if word.is_empty() {
            return Err(self.unexpected());
        }
        self.at += word.len();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word
                .parse()
                .map(Dim::new)
                .map_err(|e| format!("dim '{}': {e}", self.text));
        }
        if !matches!(word.as_str(), "floordiv" | "mod" | "max" | "min") || !self.take('(') {
            return Ok(Dim::named(&word));
        }
        let a = self.sum()?;
        self.expect(',')?;
        let b = self.sum()?;
        self.expect(')')?;
        Ok(match word.as_str() {
            "floordiv" => a.floor_div(&b),
            "mod" => a.modulo(&b),
            "max" => a.maximum(&b),
            _ => a.minimum(&b),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::Dim;

    fn check(text: &str, canonical: &str) {
        let dim: Dim = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(dim.to_string(), canonical);
        assert_eq!(
            canonical.parse::<Dim>().as_ref(),
            Ok(&dim),
            "{canonical} parses back"
        );
    }

    #[test]
    fn sums_are_canonical() {
        check("1 + N + N", "2*N + 1");
        check(
            "N*(M + 1) - N",
            "N*M"
                .split('*')
                .rev()
                .collect::<Vec<_>>()
                .join("*")
                .as_str(),
        );
        check("N - N", "0");
        check("-N + 3", "-N + 3");
    }

    #[test]
    fn exact_divisions_disappear() {
        check("floordiv(4*N, 2)", "2*N");
        check("floordiv(N*M, N)", "M");
        check("floordiv(4*N + 1, 4)", "N");
        check("floordiv(N + 1, 2)", "floordiv(N + 1, 2)");
        check("mod(6*N, 3)", "0");
    }

    #[test]
    fn comparable_dims_choose() {
        check("max(N, N + 1)", "N + 1");
        check("min(7, 3)", "3");
        check("max(N, 1)", "max(1, N)");
    }

    #[test]
    fn bad_text_is_refused() {
        for text in ["", "N +", "2**3", "floordiv(N)", "(N"] {
            assert!(text.parse::<Dim>().is_err(), "{text}");
        }
    }

    #[test]
    fn evaluates_under_a_binding() {
        let dim: Dim = "floordiv(N + 1, 2) * 3".parse().expect("parses");
        assert_eq!(dim.eval(&|_| Some(4)), Ok(6));
        assert!(dim.eval(&|_| None).is_err());
        assert!(
            "N*N"
                .parse::<Dim>()
                .expect("parses")
                .eval(&|_| Some(i64::MAX))
                .is_err()
        );
    }
}
