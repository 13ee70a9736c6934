//! Reads the text of a graph back. The grammar is the one that `print` writes.

mod annotation;

use std::collections::BTreeMap;

use alula_tensor::{DType, DTypeClass, Dim, Map, Scalar, Tensor, TensorType, ValueType};

use crate::token::{Lexer, Token};
use crate::{Attr, AttrKind, Attrs, Graph, OpDef, Registry, Requirement, ValueId};

/// Why text is no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Byte offset into the text.
    pub offset: usize,
    /// What is wrong.
    pub reason: String,
}

/// Parses a graph. `blob` finds the bytes of large constants by the hash printed for them.
///
/// # Errors
/// [`ParseError`] at the first thing that is not understood, names an unknown operator or blob, or
/// does not type.
pub fn parse(
    text: &str,
    registry: &Registry,
    blob: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Graph, ParseError> {
    let mut parser = Parser {
        lexer: Lexer::new(text),
        registry,
        blob,
        depth: 0,
    };
    let parsed = parser.graph_and_end();
    parsed.map_err(|reason| {
        let offset = parser.lexer.start.min(text.len());
        let before = &text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        ParseError {
            line,
            column,
            offset,
            reason,
        }
    })
}

/// Parses a type as it is printed.
///
/// # Errors
/// What is not understood.
pub fn parse_type(text: &str) -> Result<ValueType, String> {
    let registry = Registry::default();
    let mut parser = Parser {
        lexer: Lexer::new(text),
        registry: &registry,
        blob: &|_| None,
        depth: 0,
    };
    let ty = parser.value_type()?;
    match parser.peek()? {
        Token::End => Ok(ty),
        other => Err(format!("expected the end of a type, found {other:?}")),
    }
}

type Parsed<T> = Result<T, String>;

struct Parser<'t> {
    lexer: Lexer<'t>,
    registry: &'t Registry,
    blob: &'t dyn Fn(&str) -> Option<Vec<u8>>,
    depth: usize,
}

/// Deepest nesting of sub-graphs in text.
const DEPTH_MAX: usize = 64;

impl Parser<'_> {
    fn peek(&mut self) -> Parsed<Token> {
        self.lexer.clone().next()
    }

    fn take(&mut self, token: &Token) -> Parsed<bool> {
        let found = self.peek()? == *token;
        if found {
            self.lexer.next()?;
        }
        Ok(found)
    }

    fn mark(&mut self, mark: char) -> Parsed<bool> {
        self.take(&Token::Mark(mark))
    }

    fn expect(&mut self, mark: char) -> Parsed<()> {
        match self.lexer.next()? {
            Token::Mark(found) if found == mark => Ok(()),
            other => Err(format!("expected '{mark}', found {other:?}")),
        }
    }

    fn keyword(&mut self, keyword: &str) -> Parsed<()> {
        match self.lexer.next()? {
            Token::Word(found) if found == keyword => Ok(()),
            other => Err(format!("expected '{keyword}', found {other:?}")),
        }
    }

    fn word(&mut self) -> Parsed<String> {
        match self.lexer.next()? {
            Token::Word(word) | Token::Text(word) | Token::Number(word) => Ok(word),
            other => Err(format!("expected a name, found {other:?}")),
        }
    }

    fn value_name(&mut self) -> Parsed<String> {
        match self.lexer.next()? {
            Token::Value(name) => Ok(name),
            other => Err(format!("expected a value, found {other:?}")),
        }
    }

    fn graph_and_end(&mut self) -> Parsed<Graph> {
        self.keyword("graph")?;
        let graph = self.graph()?;
        match self.lexer.next()? {
            Token::End => Ok(graph),
            other => Err(format!("expected the end, found {other:?}")),
        }
    }

    fn graph(&mut self) -> Parsed<Graph> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("graphs are nested more than {DEPTH_MAX} deep"));
        }
        let mut graph = match self.lexer.next()? {
            Token::Global(name) => Graph::new(name),
            other => return Err(format!("expected a graph's name, found {other:?}")),
        };
        let mut names = BTreeMap::new();
        self.expect('(')?;
        while !self.mark(')')? {
            let name = self.value_name()?;
            self.expect(':')?;
            let ty = self.value_type()?;
            let id = graph.input(name.clone(), ty);
            define(&mut names, name, id)?;
            self.mark(',')?;
        }
        self.expect('{')?;
        loop {
            if self.peek()? == Token::Word("return".to_owned()) {
                break;
            }
            if self.peek()? == Token::Word("require".to_owned()) {
                self.requirement(&mut graph)?;
                continue;
            }
            self.statement(&mut graph, &mut names)?;
        }
        self.keyword("return")?;
        while !self.mark('}')? {
            let name = self.word()?;
            self.expect(':')?;
            let value = self.operand(&names)?.ok_or("an output cannot be absent")?;
            graph.output(name, value);
            self.mark(',')?;
        }
        self.depth -= 1;
        Ok(graph)
    }

    fn operand(&mut self, names: &BTreeMap<String, ValueId>) -> Parsed<Option<ValueId>> {
        match self.lexer.next()? {
            Token::Word(blank) if blank == "_" => Ok(None),
            Token::Value(name) => match names.get(&name) {
                Some(id) => Ok(Some(*id)),
                None => Err(format!("%{name} is not defined before its use")),
            },
            other => Err(format!("expected an operand, found {other:?}")),
        }
    }

    fn requirement(&mut self, graph: &mut Graph) -> Parsed<()> {
        self.keyword("require")?;
        let dims = self.dims()?;
        let who = self.text()?;
        let [left, right] = <[Dim; 2]>::try_from(dims).map_err(|_| "two dims are required")?;
        let reason = match self.peek()? == Token::Word("because".to_owned()) {
            true => {
                self.keyword("because")?;
                Some(self.text()?)
            }
            false => None,
        };
        let stated = graph.rely_on(Requirement {
            left,
            right,
            who,
            reason,
        });
        stated.map_err(|error| error.to_string())
    }

    fn statement(
        &mut self,
        graph: &mut Graph,
        names: &mut BTreeMap<String, ValueId>,
    ) -> Parsed<()> {
        let mut defined = vec![self.value_name()?];
        while self.mark(',')? {
            defined.push(self.value_name()?);
        }
        self.expect('=')?;
        let op_name = self.word()?;
        if op_name == "const" {
            let ty = self.tensor_type()?;
            let tensor = self.elements(&ty)?;
            annotation::check_constant(&ty, &tensor)?;
            let id = graph.constant(tensor);
            graph.refine_type(id, ty.into());
            set_name(graph, id, &defined[0]);
            return define(names, defined.swap_remove(0), id);
        }
        let op = self
            .registry
            .get(&op_name)
            .ok_or_else(|| format!("there is no operator named {op_name}"))?;
        let start = self.lexer.start;
        let mut operands = Vec::new();
        while matches!(self.peek()?, Token::Value(_)) || self.peek()? == Token::Word("_".into()) {
            operands.push(self.operand(names)?);
            if !self.mark(',')? {
                break;
            }
        }
        let attrs = self.attrs(op)?;
        let results = graph
            .push_with_results(op, &operands, attrs, &defined[0], defined.len())
            .map_err(|error| error.to_string())?;
        if results.len() != defined.len() {
            let (given, wanted) = (defined.len(), results.len());
            return Err(format!("{op_name} has {wanted} results, {given} are named"));
        }
        self.result_types(graph, &results, start)?;
        for (name, id) in defined.into_iter().zip(results) {
            set_name(graph, id, &name);
            define(names, name, id)?;
        }
        Ok(())
    }

    /// Types after the colon must agree with what inference says; a symbol that inference made up
    /// may be written as any dim.
    fn result_types(&mut self, graph: &mut Graph, results: &[ValueId], at: usize) -> Parsed<()> {
        if !self.mark(':')? {
            return Ok(());
        }
        for (position, result) in results.iter().enumerate() {
            if position > 0 {
                self.expect(',')?;
            }
            let written = self.value_type()?;
            let inferred = graph.ty(*result).clone();
            if written == inferred {
                continue;
            }
            let made_up = |dim: &Dim| dim.as_symbol().is_some_and(|s| s.name().starts_with('$'));
            let compatible = match (written.as_tensor(), inferred.as_tensor()) {
                (Some(w), Some(i)) => {
                    w.dtype == i.dtype
                        && w.rank() == i.rank()
                        && w.shape
                            .iter()
                            .zip(&i.shape)
                            .all(|(w, i)| w == i || made_up(i))
                }
                _ => false,
            };
            if !compatible {
                self.lexer.start = at;
                return Err(format!(
                    "result is written as {written}, inference gives {inferred}"
                ));
            }
            graph.refine_type(*result, written);
        }
        Ok(())
    }

    fn attrs(&mut self, op: &'static OpDef) -> Parsed<Attrs> {
        let mut attrs = Attrs::new();
        if !self.mark('{')? {
            return Ok(attrs);
        }
        while !self.mark('}')? {
            let name = self.word()?;
            let spec = op
                .attr(&name)
                .ok_or_else(|| format!("{name} is not an attribute of {}", op.name))?;
            self.expect('=')?;
            let value = self.attr(spec.kind)?;
            attrs.set(&name, value);
            self.mark(',')?;
        }
        Ok(attrs)
    }

    fn attr(&mut self, kind: AttrKind) -> Parsed<Attr> {
        Ok(match kind {
            AttrKind::Bool => Attr::Bool(self.boolean()?),
            AttrKind::Int => Attr::Int(self.number()?),
            AttrKind::Float => Attr::Float(self.number()?),
            AttrKind::Str => Attr::Str(self.text()?),
            AttrKind::DType => Attr::DType(self.dtype()?),
            AttrKind::Ints => Attr::Ints(self.list(Self::number)?),
            AttrKind::Floats => Attr::Floats(self.list(Self::number)?),
            AttrKind::Strs => Attr::Strs(self.list(Self::text)?),
            AttrKind::Dims => Attr::Dims(self.dims()?),
            AttrKind::Tensor => {
                let ty = self.tensor_type()?;
                Attr::Tensor(self.elements(&ty)?)
            }
            AttrKind::Graph => {
                self.keyword("graph")?;
                Attr::Graph(Box::new(self.graph()?))
            }
        })
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect('[')?;
        let mut items = Vec::new();
        while !self.mark(']')? {
            items.push(item(self)?);
            self.mark(',')?;
        }
        Ok(items)
    }

    fn dims(&mut self) -> Parsed<Vec<Dim>> {
        self.expect('[')?;
        let mut dims = Vec::new();
        while !self.mark(']')? {
            dims.push(self.lexer.raw_until(&[',', ']']).parse()?);
            self.mark(',')?;
        }
        Ok(dims)
    }

    fn boolean(&mut self) -> Parsed<bool> {
        match self.word()?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("expected true or false, found {other}")),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Parsed<T>
    where
        T::Err: std::fmt::Display,
    {
        let word = self.word()?;
        word.parse().map_err(|error| format!("{word}: {error}"))
    }

    fn text(&mut self) -> Parsed<String> {
        match self.lexer.next()? {
            Token::Text(text) => Ok(text),
            other => Err(format!("expected a string, found {other:?}")),
        }
    }

    fn dtype(&mut self) -> Parsed<DType> {
        let name = self.word()?;
        DType::from_name(&name).ok_or_else(|| format!("there is no dtype named {name}"))
    }

    fn tensor_type(&mut self) -> Parsed<TensorType> {
        let dtype = self.dtype()?;
        let mut ty = TensorType::new(dtype, self.dims()?);
        self.annotations(&mut ty)?;
        Ok(ty)
    }

    fn value_type(&mut self) -> Parsed<ValueType> {
        let Token::Word(word) = self.peek()? else {
            return Err("expected a type".to_owned());
        };
        if word == "map" {
            return self.map_type();
        }
        if word != "seq" && word != "opt" {
            let dtype = self.dtype()?;
            return Ok(match self.peek()? {
                Token::Mark('[') => {
                    let mut ty = TensorType::new(dtype, self.dims()?);
                    self.annotations(&mut ty)?;
                    ty.into()
                }
                _ => ValueType::Unranked(dtype),
            });
        }
        self.lexer.next()?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("types are nested deeper than {DEPTH_MAX}"));
        }
        self.expect('<')?;
        let inner = Box::new(self.value_type()?);
        self.expect('>')?;
        self.depth -= 1;
        Ok(if word == "seq" {
            ValueType::Sequence(inner)
        } else {
            ValueType::Optional(inner)
        })
    }

    fn map_type(&mut self) -> Parsed<ValueType> {
        self.lexer.next()?;
        self.expect('<')?;
        let key = self.dtype()?;
        if !Map::takes_keys(key) {
            return Err(format!("keys of a map are i64 or string, not {key}"));
        }
        self.expect(',')?;
        let value = self.dtype()?;
        self.expect('>')?;
        Ok(ValueType::Map { key, value })
    }

    fn scalar(&mut self, dtype: DType) -> Parsed<Scalar> {
        Ok(match dtype.class() {
            DTypeClass::Bool => Scalar::Int(i128::from(self.boolean()?)),
            DTypeClass::Float => Scalar::Float(self.number()?),
            DTypeClass::Signed | DTypeClass::Unsigned => {
                let value: i128 = self.number()?;
                if Scalar::Int(value).cast(dtype) != Scalar::Int(value) {
                    return Err(format!("{value} does not fit {dtype}"));
                }
                Scalar::Int(value)
            }
            DTypeClass::String => return Err("a string is not a number".to_owned()),
        })
    }

    fn elements(&mut self, ty: &TensorType) -> Parsed<Tensor> {
        let shape = ty
            .static_shape()
            .ok_or("a constant's extents are numbers")?;
        let fail = |error: alula_tensor::TensorError| error.to_string();
        match self.peek()? {
            Token::Word(word) if word == "splat" => {
                self.lexer.next()?;
                let value = self.scalar(ty.dtype)?;
                let mut tensor = Tensor::zeros(ty.dtype, &shape).map_err(fail)?;
                for chunk in tensor.bytes_mut().chunks_exact_mut(ty.dtype.size_bytes()) {
                    value.cast(ty.dtype).store(ty.dtype, chunk);
                }
                Ok(tensor)
            }
            Token::Word(word) if word == "blob" => {
                self.lexer.next()?;
                let hash = self.text()?;
                let bytes = (self.blob)(&hash).ok_or_else(|| format!("blob {hash} is missing"))?;
                let storage = alula_tensor::Storage::copy_from(&bytes);
                Tensor::from_storage(ty.dtype, &shape, storage).map_err(fail)
            }
            _ if ty.dtype == DType::String => {
                Tensor::from_strings(&shape, self.list(Self::text)?).map_err(fail)
            }
            _ => {
                let dtype = ty.dtype;
                let values = self.list(|parser| parser.scalar(dtype))?;
                Tensor::from_scalars(dtype, &shape, &values).map_err(fail)
            }
        }
    }
}

fn define(names: &mut BTreeMap<String, ValueId>, name: String, id: ValueId) -> Parsed<()> {
    match names.insert(name.clone(), id) {
        None => Ok(()),
        Some(_) => Err(format!("%{name} is defined twice")),
    }
}

/// Numbered names are made up by the printer; only real names are kept.
fn set_name(graph: &mut Graph, id: ValueId, name: &str) {
    if !name.starts_with(|c: char| c.is_ascii_digit()) {
        graph.set_name(id, name);
    }
}
