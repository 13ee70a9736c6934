//! Definitions and contractions from text.
//!
//! Variables keep their numbers, so that what was printed prints as it was. A word is a line
//! (`e3`), a variable (`i3`) or the accumulator (`acc`) where it can be, else a symbol.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use alula_tensor::{DType, Dim, ScalarOp, Symbol};

use super::lexer::Lexer;
use super::parse::{literal_of, parse_kernel_at};
use super::{Printed, TextError};
use crate::{
    Affine, Axis, Compute, Contract, ContractAxis, ContractOperand, ExprId, FoldOp, Kernel,
    Operand, Pool, Role, VarId,
};

/// Greatest number of a variable: bounds what a short text can ask for.
const VAR_MAX: u32 = 1 << 16;

/// What a text defines.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    /// `compute`.
    Compute(Box<Compute>),
    /// `contract`.
    Contract(Box<Contract>),
    /// `kernel`.
    Kernel(Box<Kernel>),
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Definition::Compute(compute) => Printed(compute.as_ref()).fmt(f),
            Definition::Contract(contract) => Printed(contract.as_ref()).fmt(f),
            Definition::Kernel(kernel) => kernel.fmt(f),
        }
    }
}

/// Parses any number of definitions, contractions and kernels.
///
/// # Errors
/// The first thing that is not as the grammar has it, with its place. Nothing is verified beyond
/// what building expressions needs.
pub fn parse_definitions(text: &str) -> Result<Vec<Definition>, TextError> {
    let mut found = Vec::new();
    let mut lexer = Lexer::new(text);
    while !lexer.is_at_end() {
        let definition;
        (lexer, definition) = match lexer.peek() {
            "kernel" => {
                let (lexer, kernel) = parse_kernel_at(lexer)?;
                (lexer, Definition::Kernel(Box::new(kernel)))
            }
            _ => {
                let mut parser = Parser {
                    lexer,
                    pool: Pool::new(),
                    vars: BTreeMap::new(),
                    lines: BTreeMap::new(),
                    acc: None,
                };
                let definition = parser.definition()?;
                (parser.lexer, definition)
            }
        };
        found.push(definition);
    }
    Ok(found)
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    pool: Pool,
    /// Variables that are declared.
    vars: BTreeMap<u32, VarId>,
    lines: BTreeMap<u32, ExprId>,
    /// The dtype of the accumulator, in a contraction.
    acc: Option<DType>,
}

/// Operands, the result's dtype and extents.
type Signature = (Vec<Operand>, Operand);

impl Parser<'_> {
    fn definition(&mut self) -> Result<Definition, TextError> {
        if self.lexer.take_word("compute") {
            return Ok(Definition::Compute(Box::new(self.compute()?)));
        }
        self.lexer.expect_word("contract")?;
        Ok(Definition::Contract(Box::new(self.contract()?)))
    }

    fn compute(&mut self) -> Result<Compute, TextError> {
        let signature = self.signature()?;
        self.lexer.expect_word("over")?;
        self.lexer.expect('(')?;
        let vars = match self.lexer.take(')') {
            true => Vec::new(),
            false => {
                let vars = self.declarations(&[',', ')'])?;
                self.lexer.expect(')')?;
                vars
            }
        };
        self.lexer.expect('{')?;
        self.body(signature, &vars)
    }

    /// Lines up to and with the closing brace; output axes run over `vars`.
    fn body(
        &mut self,
        (operands, result): Signature,
        vars: &[VarId],
    ) -> Result<Compute, TextError> {
        if vars.len() != result.shape.len() {
            let (axes, rank) = (vars.len(), result.shape.len());
            let text = format!("{axes} variables for a result of {rank} axes");
            return Err(self.lexer.error(text));
        }
        let axes = vars.iter().zip(&result.shape).map(|(var, extent)| Axis {
            var: *var,
            extent: extent.clone(),
        });
        let axes = axes.collect();
        self.fold_vars()?;
        let mut equal = Vec::new();
        while self.lexer.take_word("equal") {
            let left = self.dim(&['='])?;
            self.lexer.expect('=')?;
            equal.push((left, self.dim(&[])?));
        }
        while !self.lexer.take_word("result") {
            self.line(&operands)?;
        }
        let body = self.operand(Some(result.dtype), &[])?;
        self.lexer.expect('}')?;
        Ok(Compute {
            operands,
            axes,
            dtype: result.dtype,
            pool: std::mem::take(&mut self.pool),
            body,
            equal,
        })
    }

    /// Declares the variables of folds, which stand behind what uses them.
    fn fold_vars(&mut self) -> Result<(), TextError> {
        for place in self.lexer.places(" over (", '}') {
            let here = self.lexer.go(place);
            self.declarations(&[',', ')'])?;
            self.lexer.go(here);
        }
        Ok(())
    }

    fn contract(&mut self) -> Result<Contract, TextError> {
        let signature = self.signature()?;
        self.lexer.expect_word("in")?;
        let acc = self.dtype()?;
        self.lexer.expect('{')?;
        let mut axes = Vec::new();
        for (word, role) in [
            ("batch", Role::Batch),
            ("m", Role::M),
            ("n", Role::N),
            ("k", Role::K),
        ] {
            if self.lexer.take_word(word) {
                let vars = self.declarations(&[','])?.into_iter();
                axes.extend(vars.map(|var| ContractAxis { var, role }));
            }
        }
        let mut sides = Vec::new();
        for name in ["a", "b"] {
            self.lexer.expect_word(name)?;
            self.lexer.expect('=')?;
            sides.push(self.side()?);
        }
        self.lexer.expect_word("acc")?;
        let out = self.affines()?;
        self.lexer.expect('=')?;
        for word in ["sum", "of", "a"] {
            self.lexer.expect_word(word)?;
        }
        self.lexer.expect('*')?;
        self.lexer.expect_word("b")?;
        self.lexer.expect_word("out")?;
        self.lexer.expect('[')?;
        let mut vars = Vec::new();
        while !self.lexer.take(']') {
            let number = self.numbered('i')?;
            let extent = signature.1.shape.get(vars.len()).cloned();
            vars.push(self.declare(number, extent.unwrap_or(Dim::new(1)))?);
            if !self.lexer.take(',') {
                self.lexer.expect(']')?;
                break;
            }
        }
        self.lexer.expect(':')?;
        self.acc = Some(acc);
        let epilogue = self.body(signature, &vars)?;
        let (Some(b), Some(a)) = (sides.pop(), sides.pop()) else {
            unreachable!("two sides were read");
        };
        Ok(Contract {
            axes,
            a,
            b,
            acc,
            out,
            epilogue,
        })
    }

    fn side(&mut self) -> Result<ContractOperand, TextError> {
        let operand = self.numbered('x')?;
        let index = self.affines()?;
        let zero_point = match self.lexer.take('-') {
            true => Some(self.numbered('x')?),
            false => None,
        };
        let mut padded = Vec::new();
        if self.lexer.take_word("padded") {
            self.lexer.expect_word("on")?;
            self.lexer.expect_word("axes")?;
            padded.push(self.lexer.number()?);
            while self.lexer.take(',') {
                padded.push(self.lexer.number()?);
            }
        }
        Ok(ContractOperand {
            operand,
            index,
            zero_point,
            padded,
        })
    }

    fn affines(&mut self) -> Result<Vec<Affine>, TextError> {
        self.lexer.expect('[')?;
        let mut found = Vec::new();
        while !self.lexer.take(']') {
            let (at, text) = self.lexer.outside(&[',', ']']);
            found.push(self.affine(at, text)?);
            if !self.lexer.take(',') {
                self.lexer.expect(']')?;
                break;
            }
        }
        Ok(found)
    }

    /// `(x0: f32[N, 4], x1: f32[4]) -> f32[N, 4]`
    fn signature(&mut self) -> Result<Signature, TextError> {
        self.lexer.expect('(')?;
        let mut operands = Vec::new();
        while !self.lexer.take(')') {
            let at = self.lexer.position();
            if self.numbered('x')? as usize != operands.len() {
                let text = format!("expected 'x{}'", operands.len());
                return Err(self.lexer.error_at(at, text));
            }
            self.lexer.expect(':')?;
            operands.push(self.tensor()?);
            if !self.lexer.take(',') {
                self.lexer.expect(')')?;
                break;
            }
        }
        self.lexer.expect('-')?;
        self.lexer.expect('>')?;
        Ok((operands, self.tensor()?))
    }

    fn tensor(&mut self) -> Result<Operand, TextError> {
        let dtype = self.dtype()?;
        self.lexer.expect('[')?;
        let mut shape = Vec::new();
        while !self.lexer.take(']') {
            shape.push(self.dim(&[',', ']'])?);
            if !self.lexer.take(',') {
                self.lexer.expect(']')?;
                break;
            }
        }
        Ok(Operand { dtype, shape })
    }

    fn dtype(&mut self) -> Result<DType, TextError> {
        let at = self.lexer.position();
        let word = self.lexer.word()?;
        DType::from_name(word)
            .ok_or_else(|| self.lexer.error_at(at, format!("'{word}' is no dtype")))
    }

    fn dim(&mut self, marks: &[char]) -> Result<Dim, TextError> {
        let (at, text) = self.lexer.outside(marks);
        text.parse()
            .map_err(|error: String| self.lexer.error_at(at, error))
    }

    /// `i0 < N, i1 < 4`, with commas where these are among the marks that end an extent.
    fn declarations(&mut self, marks: &[char]) -> Result<Vec<VarId>, TextError> {
        let mut vars = Vec::new();
        loop {
            let number = self.numbered('i')?;
            self.lexer.expect('<')?;
            let extent = self.dim(marks)?;
            vars.push(self.declare(number, extent)?);
            if !self.lexer.take(',') {
                return Ok(vars);
            }
        }
    }

    fn declare(&mut self, number: u32, extent: Dim) -> Result<VarId, TextError> {
        let var = VarId(number);
        if number > VAR_MAX {
            return Err(self.lexer.error(format!("i{number} is beyond i{VAR_MAX}")));
        }
        match self.vars.insert(number, var) {
            // Folds over the same variable stand beside each other.
            Some(_) if *self.pool.extent(var) != extent => {
                let text = format!("i{number} has two extents");
                return Err(self.lexer.error(text));
            }
            _ => self.pool.declare(var, extent),
        }
        Ok(var)
    }

    /// A letter with a number behind it.
    fn numbered(&mut self, letter: char) -> Result<u32, TextError> {
        let at = self.lexer.position();
        let word = self.lexer.word()?;
        number_of(word, letter).ok_or_else(|| {
            let text = format!("expected '{letter}' and a number, found '{word}'");
            self.lexer.error_at(at, text)
        })
    }

    /// `e0: f32 = add e1, 2.0`
    fn line(&mut self, operands: &[Operand]) -> Result<(), TextError> {
        let at = self.lexer.position();
        let number = self.numbered('e')?;
        self.lexer.expect(':')?;
        let dtype = self.dtype()?;
        self.lexer.expect('=')?;
        let id = self.expression(dtype, operands)?;
        let given = self.pool.dtype(id);
        if given != dtype {
            let text = format!("e{number} is {given}, not {dtype}");
            return Err(self.lexer.error_at(at, text));
        }
        match self.lines.insert(number, id) {
            None => Ok(()),
            Some(_) => Err(self
                .lexer
                .error_at(at, format!("e{number} is defined twice"))),
        }
    }

    fn expression(&mut self, dtype: DType, operands: &[Operand]) -> Result<ExprId, TextError> {
        let at = self.lexer.position();
        let word = self.lexer.word()?;
        match word {
            "load" => self.load(operands),
            "cast" => {
                let value = self.operand(None, &[])?;
                Ok(self.pool.cast(value, dtype))
            }
            "fold" => self.fold(dtype),
            _ => match ScalarOp::from_name(word) {
                Some(op) => self.apply(at, op, dtype),
                None => {
                    let text = format!("there is no operator '{word}'");
                    Err(self.lexer.error_at(at, text))
                }
            },
        }
    }

    fn load(&mut self, operands: &[Operand]) -> Result<ExprId, TextError> {
        let at = self.lexer.position();
        let number = self.numbered('x')?;
        let Some(operand) = operands.get(number as usize) else {
            let text = format!("there is no operand x{number}");
            return Err(self.lexer.error_at(at, text));
        };
        self.lexer.expect('[')?;
        let mut index = Vec::new();
        while !self.lexer.take(']') {
            index.push(self.operand(Some(DType::I64), &[',', ']'])?);
            if !self.lexer.take(',') {
                self.lexer.expect(']')?;
                break;
            }
        }
        Ok(self.pool.load(number, operand.dtype, index))
    }

    /// `fold add over (i1 < N) of e0`
    fn fold(&mut self, dtype: DType) -> Result<ExprId, TextError> {
        let at = self.lexer.position();
        let word = self.lexer.word()?;
        let op = FoldOp::ALL.into_iter().find(|op| op.name() == word);
        let op = op.ok_or_else(|| self.lexer.error_at(at, format!("'{word}' is no fold")))?;
        self.lexer.expect_word("over")?;
        self.lexer.expect('(')?;
        let vars = self.declarations(&[',', ')'])?;
        self.lexer.expect(')')?;
        self.lexer.expect_word("of")?;
        let body = self.operand(Some(dtype), &[])?;
        Ok(self.pool.fold(op, vars, body))
    }

    fn apply(&mut self, at: usize, op: ScalarOp, dtype: DType) -> Result<ExprId, TextError> {
        let mut texts = Vec::new();
        for position in 0..op.arity() {
            if position > 0 {
                self.lexer.expect(',')?;
            }
            texts.push(self.lexer.outside(&[',']));
        }
        // Operands of a predicate say by themselves what they are; one that does is enough.
        let typed = &texts[op.first_typed()..];
        let of_operands = match op.is_predicate() {
            false => Some(dtype),
            true => typed.iter().find_map(|(_, text)| self.dtype_of(text)),
        };
        let mut operands = Vec::new();
        for (position, (at, text)) in texts.iter().enumerate() {
            let is_typed = position >= op.first_typed();
            let wanted = if is_typed {
                of_operands
            } else {
                Some(DType::Bool)
            };
            let id = self.value(*at, text, wanted)?;
            let (given, wanted) = (self.pool.dtype(id), wanted.unwrap_or(DType::I64));
            if given != wanted {
                let text = format!("'{text}' is {given}, {op} takes {wanted} here");
                return Err(self.lexer.error_at(*at, text));
            }
            operands.push(id);
        }
        let class = of_operands.unwrap_or(DType::I64);
        if !op.accepts(class.class()) {
            let text = format!("{op} is not defined on {class}");
            return Err(self.lexer.error_at(at, text));
        }
        Ok(self.pool.apply(op, &operands))
    }

    /// A value, up to one of the marks or the end of the line.
    fn operand(&mut self, dtype: Option<DType>, marks: &[char]) -> Result<ExprId, TextError> {
        let (at, text) = self.lexer.outside(marks);
        self.value(at, text, dtype)
    }

    /// The dtype that a value has whoever uses it; literals have none.
    fn dtype_of(&self, text: &str) -> Option<DType> {
        if let Some(id) = number_of(text, 'e').and_then(|number| self.lines.get(&number)) {
            return Some(self.pool.dtype(*id));
        }
        match text.split_once('(') {
            Some((name, _)) if DType::from_name(name).is_some() => DType::from_name(name),
            _ if text == "acc" => self.acc,
            _ => {
                let is_literal = literal_of(DType::F64, text).is_some()
                    || literal_of(DType::Bool, text).is_some()
                    || text.starts_with("nan:");
                (!is_literal).then_some(DType::I64)
            }
        }
    }

    /// A line, the accumulator, a literal, or an affine expression.
    fn value(&mut self, at: usize, text: &str, dtype: Option<DType>) -> Result<ExprId, TextError> {
        if let Some(id) = number_of(text, 'e').and_then(|number| self.lines.get(&number)) {
            return Ok(*id);
        }
        if let (Some(acc), "acc") = (self.acc, text) {
            return Ok(self.pool.acc(acc));
        }
        // `f32(0.5)` where nothing else says the dtype.
        let (text, dtype) = match text.split_once('(') {
            Some((name, rest)) if DType::from_name(name).is_some() => (
                rest.strip_suffix(')').unwrap_or(rest),
                DType::from_name(name),
            ),
            _ => (text, dtype),
        };
        match dtype {
            None | Some(DType::I64) => {
                let index = self.affine(at, text)?;
                Ok(self.pool.affine(&index))
            }
            Some(dtype) => match literal_of(dtype, text) {
                Some(literal) => Ok(self.pool.constant(dtype, literal.0)),
                None => Err(self.lexer.error_at(at, format!("'{text}' is no {dtype}"))),
            },
        }
    }

    /// `2*i0 + N*i1 - 3`: linear in variables, anything else in symbols.
    fn affine(&self, at: usize, text: &str) -> Result<Affine, TextError> {
        let fail = |reason: String| self.lexer.error_at(at, reason);
        let whole: Dim = text.parse().map_err(fail)?;
        let var = |symbol: &Symbol| self.vars.get(&number_of(symbol.name(), 'i')?).copied();
        let offset = whole.substitute(&|symbol| var(symbol).map(|_| Dim::new(0)));
        let mut symbols = BTreeSet::new();
        whole.collect_symbols(&mut symbols);
        let mut index = Affine::constant(offset.clone());
        let mut again = offset.clone();
        for symbol in &symbols {
            let Some(id) = var(symbol) else { continue };
            let at_one =
                whole.substitute(&|other| var(other).map(|_| Dim::new(i64::from(other == symbol))));
            let coefficient = at_one - offset.clone();
            again = again + coefficient.clone() * Dim::symbol(symbol.clone());
            if !coefficient.is(0) {
                index.terms.insert(id, coefficient);
            }
        }
        match again == whole {
            true => Ok(index),
            false => Err(fail(format!("'{text}' is not linear in its variables"))),
        }
    }
}

/// The number behind a letter, if the word is that.
fn number_of(word: &str, letter: char) -> Option<u32> {
    let digits = word.strip_prefix(letter)?;
    let is_number = digits.chars().all(|c| c.is_ascii_digit()) && !digits.is_empty();
    is_number.then(|| digits.parse().ok()).flatten()
}
