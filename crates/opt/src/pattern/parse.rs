//! Reads patterns and replacements. Errors are for the authors of rules: one test parses all.

use alula_ir::{Attr, AttrDefault, AttrKind, AttrSpec, OpDef, Registry};
use alula_tensor::{DType, DTypeClass};

use super::{AttrMade, AttrPat, HoleKind, Literal, NodePat, Pat, Pattern, Replacement};

type Parsed<T> = Result<T, String>;

/// Reads a pattern; its root is an operator.
pub(crate) fn parse_pattern(text: &str, registry: &Registry) -> Parsed<Pattern> {
    let mut parser = Parser {
        rest: text,
        registry,
        values: Vec::new(),
        attrs: Vec::new(),
    };
    let parsed = parser.pattern().and_then(|root| match root {
        Pat::Node(root) => parser.end().map(|()| *root),
        Pat::Absent | Pat::Hole { .. } | Pat::Literal(_) => {
            Err("the root of a pattern is an operator".to_owned())
        }
    });
    let root = parsed.map_err(|reason| at(text, parser.rest, &reason))?;
    Ok(Pattern {
        root,
        values: parser.values,
        attrs: parser.attrs,
    })
}

/// Reads a replacement for a match of `pattern`; every hole must be one of the pattern.
pub(crate) fn parse_replacement(
    text: &str,
    pattern: &Pattern,
    registry: &Registry,
) -> Parsed<Replacement> {
    let mut parser = Parser {
        rest: text,
        registry,
        values: pattern.values.clone(),
        attrs: pattern.attrs.clone(),
    };
    let parsed = parser.replacement();
    let parsed = parsed.and_then(|made| parser.end().map(|()| made));
    parsed.map_err(|reason| at(text, parser.rest, &reason))
}

fn at(text: &str, rest: &str, reason: &str) -> String {
    let offset = text.len() - rest.len();
    format!("{text:?}, column {}: {reason}", offset + 1)
}

struct Parser<'t> {
    rest: &'t str,
    registry: &'t Registry,
    values: Vec<String>,
    attrs: Vec<String>,
}

fn slot_of(names: &mut Vec<String>, name: &str) -> usize {
    match names.iter().position(|known| known == name) {
        Some(slot) => slot,
        None => {
            names.push(name.to_owned());
            names.len() - 1
        }
    }
}

impl Parser<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, mark: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, mark: &str) -> Parsed<()> {
        if self.take(mark) {
            Ok(())
        } else {
            Err(format!("expected {mark:?}"))
        }
    }

    fn end(&mut self) -> Parsed<()> {
        self.skip();
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err("expected the end".to_owned())
        }
    }

    fn word(&mut self) -> Parsed<String> {
        self.skip();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if word.is_empty() {
            Err("expected a name".to_owned())
        } else {
            Ok(word.to_owned())
        }
    }

    fn number(&mut self) -> Parsed<Option<f64>> {
        self.skip();
        let is_start = |c: char| c.is_ascii_digit() || c == '-';
        if !self.rest.starts_with(is_start) {
            return Ok(None);
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value = word.parse().map_err(|error| format!("{word}: {error}"))?;
        self.rest = rest;
        Ok(Some(value))
    }

    fn op(&mut self) -> Parsed<&'static OpDef> {
        let name = self.word()?;
        self.registry
            .get(&name)
            .ok_or_else(|| format!("there is no operator named {name}"))
    }

    fn pattern(&mut self) -> Parsed<Pat> {
        if self.take("?") {
            return self.hole();
        }
        let is_near = self.take("~");
        if let Some(value) = self.number()? {
            return Ok(Pat::Literal(Literal { value, is_near }));
        }
        if is_near {
            return Err("expected a number".to_owned());
        }
        if self.take("%") {
            let name = self.word()?;
            let slot = slot_of(&mut self.values, &name);
            if !self.take("=") {
                return Ok(Pat::Hole {
                    slot,
                    kind: HoleKind::Any,
                    optional: false,
                });
            }
            return self.node(Some(slot));
        }
        self.skip();
        if self.rest.starts_with('_') && self.take("_") {
            return Ok(Pat::Absent);
        }
        self.node(None)
    }

    fn hole(&mut self) -> Parsed<Pat> {
        let name = self.word()?;
        let slot = slot_of(&mut self.values, &name);
        let kind = match self.take(":") {
            false => HoleKind::Any,
            true => match self.word()?.as_str() {
                "const" => HoleKind::Constant,
                "splat" => HoleKind::Splat,
                "float" => HoleKind::Class(DTypeClass::Float),
                "bool" => HoleKind::Class(DTypeClass::Bool),
                "int" => HoleKind::Integer,
                other => return Err(format!("there is no kind of hole named {other}")),
            },
        };
        let optional = self.take("?");
        Ok(Pat::Hole {
            slot,
            kind,
            optional,
        })
    }

    fn node(&mut self, bind: Option<usize>) -> Parsed<Pat> {
        let mut ops = vec![self.op()?];
        while self.take("|") {
            ops.push(self.op()?);
        }
        let result = match self.take("#") {
            true => self.number()?.map_or(0, |number| number as usize),
            false => 0,
        };
        self.expect("(")?;
        let (mut operands, mut open_operands) = (Vec::new(), false);
        while !self.take(")") {
            if self.take("..") {
                open_operands = true;
            } else {
                operands.push(self.pattern()?);
            }
            self.take(",");
        }
        let (mut attrs, mut open_attrs) = (Vec::new(), false);
        if self.take("{") {
            while !self.take("}") {
                if self.take("..") {
                    open_attrs = true;
                } else {
                    let (spec, hole) = self.attr_name(ops[0])?;
                    let expected = match hole {
                        Some(name) => AttrPat::Hole(slot_of(&mut self.attrs, &name)),
                        None => AttrPat::Value(self.attr_value(spec.kind)?),
                    };
                    attrs.push((spec.name.to_owned(), expected));
                }
                self.take(",");
            }
        }
        for spec in ops.iter().flat_map(|op| op.attrs) {
            let is_mentioned = attrs.iter().any(|(name, _)| name == spec.name);
            if spec.default == AttrDefault::Required && !is_mentioned && !open_attrs {
                return Err(format!(
                    "attribute {} must be mentioned, or `..`",
                    spec.name
                ));
            }
        }
        let node = NodePat {
            bind,
            ops,
            result,
            operands,
            open_operands,
            attrs,
            open_attrs,
        };
        Ok(Pat::Node(Box::new(node)))
    }

    /// `name = `, and the hole behind it if there is one.
    fn attr_name(&mut self, op: &'static OpDef) -> Parsed<(&'static AttrSpec, Option<String>)> {
        let name = self.word()?;
        let spec = op
            .attr(&name)
            .ok_or_else(|| format!("{} has no {name}", op.name))?;
        self.expect("=")?;
        let hole = if self.take("?") {
            Some(self.word()?)
        } else {
            None
        };
        Ok((spec, hole))
    }

    fn attr_value(&mut self, kind: AttrKind) -> Parsed<Attr> {
        self.skip();
        Ok(match kind {
            AttrKind::Bool => match self.word()?.as_str() {
                "true" => Attr::Bool(true),
                "false" => Attr::Bool(false),
                other => return Err(format!("{other} is no truth value")),
            },
            AttrKind::Int => Attr::Int(self.some_number()? as i64),
            AttrKind::Float => Attr::Float(self.some_number()?),
            AttrKind::Ints => Attr::Ints(self.numbers()?.into_iter().map(|n| n as i64).collect()),
            AttrKind::Str => {
                self.expect("\"")?;
                let text = self.word()?;
                self.expect("\"")?;
                Attr::Str(text)
            }
            AttrKind::DType => {
                let name = self.word()?;
                Attr::DType(DType::from_name(&name).ok_or_else(|| format!("no dtype {name}"))?)
            }
            AttrKind::Floats
            | AttrKind::Strs
            | AttrKind::Dims
            | AttrKind::Tensor
            | AttrKind::Graph => {
                return Err("such attributes match by holes and conditions only".to_owned());
            }
        })
    }

    fn some_number(&mut self) -> Parsed<f64> {
        self.number()?.ok_or_else(|| "expected a number".to_owned())
    }

    fn numbers(&mut self) -> Parsed<Vec<f64>> {
        self.expect("[")?;
        let mut numbers = Vec::new();
        while !self.take("]") {
            numbers.push(self.some_number()?);
            self.take(",");
        }
        Ok(numbers)
    }

    fn replacement(&mut self) -> Parsed<Replacement> {
        if self.take("?") || self.take("%") {
            let name = self.word()?;
            if !self.values.contains(&name) {
                return Err(format!("the pattern binds no {name}"));
            }
            return Ok(Replacement::Value(name));
        }
        if let Some(value) = self.number()? {
            return Ok(Replacement::Literal(value));
        }
        let op = self.op()?;
        self.expect("(")?;
        let mut operands = Vec::new();
        while !self.take(")") {
            operands.push(self.replacement()?);
            self.take(",");
        }
        let mut attrs = Vec::new();
        if self.take("{") {
            while !self.take("}") {
                let (spec, hole) = self.attr_name(op)?;
                let made = match hole {
                    Some(name) if self.attrs.contains(&name) || self.values.contains(&name) => {
                        AttrMade::Hole(name)
                    }
                    Some(name) => return Err(format!("the pattern binds no {name}")),
                    None => AttrMade::Value(self.attr_value(spec.kind)?),
                };
                attrs.push((spec.name.to_owned(), made));
                self.take(",");
            }
        }
        Ok(Replacement::Node {
            op,
            operands,
            attrs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_pattern(text, alula_ops::registry()).expect_err("the pattern is wrong")
    }

    #[test]
    fn reads_all_forms() {
        let text = "add(%m=mul(?x:float, ~1.5), gelu|silu(%m){..})";
        let pattern = parse_pattern(text, alula_ops::registry()).expect("it is right");
        assert_eq!(pattern.values, ["m", "x"]);
        assert_eq!(pattern.root.operands.len(), 2);
        let replacement = parse_replacement("silu(?x){alpha = 2}", &pattern, alula_ops::registry());
        assert!(
            matches!(replacement, Ok(Replacement::Node { .. })),
            "{replacement:?}"
        );
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(error("?x").contains("is an operator"));
        assert!(error("nothing(?x)").contains("no operator named nothing"));
        assert!(error("add(?x:small, 1)").contains("no kind of hole"));
        assert!(error("gelu(?x){sin = true}").contains("gelu has no sin"));
        let pattern = parse_pattern("neg(?x)", alula_ops::registry()).expect("it is right");
        let unbound = parse_replacement("?y", &pattern, alula_ops::registry());
        assert!(unbound.is_err_and(|reason| reason.contains("binds no y")));
    }
}
