//! What each version of an operator takes, as ONNX and ONNX Runtime list it: the numbers and types
//! of operands, the attributes, the number of outputs. Every node of a row is held to it before the
//! row sees it, so that a row need not look for what no version allows.
//!
//! The list is made by `tools/models/schemas.py`, which says how its lines read.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alula_tensor::ValueType;

const LIST: &str = include_str!("schemas.txt");

/// How often an operand may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Once.
    Single,
    /// Once or not at all.
    Optional,
    /// So many times or more; it is the last operand.
    Variadic(usize),
}

/// An operand of an operator.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Its name.
    pub name: &'static str,
    /// How often it may be there.
    pub arity: Arity,
    /// The type variable that it shares with others of one type; empty if it shares none.
    pub variable: &'static str,
    /// The types that it may have: `f32`, `seq(i64)`, `opt(seq(bool))`, `map(string,f32)`.
    pub types: &'static str,
}

impl Operand {
    /// Whether it may have a type.
    pub fn takes(&self, word: &str) -> bool {
        self.types.split(' ').any(|ty| ty == word)
    }
}

/// One version of an operator.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The version of its domain since which it is so.
    pub since: i64,
    /// The greatest number of outputs; `None` if there is none.
    pub outputs: Option<usize>,
    /// Its operands.
    pub operands: Vec<Operand>,
    /// Its attributes, and whether each must be there.
    pub attributes: Vec<(&'static str, bool)>,
}

/// Versions of an operator, ascending.
type Versions = Vec<Schema>;

/// Operators by domain and name.
type Operators = BTreeMap<&'static str, BTreeMap<&'static str, Versions>>;

static SCHEMAS: LazyLock<Operators> = LazyLock::new(|| {
    let mut schemas = Operators::new();
    let mut sets = Vec::new();
    for line in LIST.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(" = ") {
            Some((_, types)) => sets.push(types),
            None => {
                let parsed = parse(line, &sets).expect("schemas.txt is as it was made");
                let ((domain, name), schema) = parsed;
                let versions = schemas.entry(domain).or_default().entry(name);
                versions.or_default().push(schema);
            }
        }
    }
    schemas
});

fn parse(
    line: &'static str,
    sets: &[&'static str],
) -> Option<((&'static str, &'static str), Schema)> {
    let mut parts = line.split('|');
    let mut head = parts.next()?.split_whitespace();
    let name = head.next()?;
    let name = name.split_once("::").unwrap_or(("", name));
    let since = head.next()?.parse().ok()?;
    let outputs = head.next()?.parse().ok();
    let operands = parts.next()?.split_whitespace();
    let operands = operands
        .map(|text| operand(text, sets))
        .collect::<Option<_>>()?;
    let attributes = parts.next()?.split_whitespace();
    let attributes = attributes.map(|text| match text.strip_suffix('!') {
        Some(name) => (name, true),
        None => (text, false),
    });
    let schema = Schema {
        since,
        outputs,
        operands,
        attributes: attributes.collect(),
    };
    Some((name, schema))
}

fn operand(text: &'static str, sets: &[&'static str]) -> Option<Operand> {
    let (name, ty) = text.split_once(':')?;
    let (variable, set) = ty.split_once('=')?;
    let (name, arity) = match (name.strip_suffix('?'), name.split_once('*')) {
        (Some(name), _) => (name, Arity::Optional),
        (None, Some((name, least))) => (name, Arity::Variadic(least.parse().ok()?)),
        (None, None) => (name, Arity::Single),
    };
    Some(Operand {
        name,
        arity,
        variable,
        types: sets.get(set.parse::<usize>().ok()?)?,
    })
}

/// The operator as it is in an opset of its domain; in the oldest one if none is imported.
pub fn find(domain: &str, op_type: &str, opset: Option<i64>) -> Option<&'static Schema> {
    let versions = SCHEMAS.get(domain)?.get(op_type)?;
    match opset {
        Some(opset) => versions.iter().rev().find(|schema| schema.since <= opset),
        None => versions.first(),
    }
}

/// A type as the list has it.
pub fn word(ty: &ValueType) -> String {
    match ty {
        ValueType::Tensor(tensor) => tensor.dtype.to_string(),
        ValueType::Unranked(dtype) => dtype.to_string(),
        ValueType::Sequence(inner) => format!("seq({})", word(inner)),
        ValueType::Optional(inner) => format!("opt({})", word(inner)),
        ValueType::Map { key, value } => format!("map({key},{value})"),
    }
}

impl Schema {
    /// The operand that an input stands for.
    pub fn operand(&self, input: usize) -> Option<&Operand> {
        let last = self.operands.last()?;
        match last.arity {
            Arity::Variadic(_) => Some(self.operands.get(input).unwrap_or(last)),
            _ => self.operands.get(input),
        }
    }

    /// The least and the greatest number of inputs; `None` if any number may follow.
    pub fn inputs(&self) -> (usize, Option<usize>) {
        let many = self.operands.len();
        let before = |count: usize| {
            let is_single = |operand: &Operand| operand.arity == Arity::Single;
            let last = self.operands[..count].iter().rposition(is_single);
            last.map_or(0, |last| last + 1)
        };
        match self.operands.last().map(|operand| operand.arity) {
            Some(Arity::Variadic(0)) => (before(many - 1), None),
            Some(Arity::Variadic(least)) => (many - 1 + least, None),
            _ => (before(many), Some(many)),
        }
    }

    /// Whether it has an attribute.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|(name, _)| *name == attribute)
    }

    /// Holds a node to what this version takes.
    ///
    /// # Errors
    /// What the node has too few or too many of, or what its type may not be.
    pub fn check(
        &self,
        inputs: &[Option<&ValueType>],
        outputs: usize,
        attributes: &[&str],
    ) -> Result<(), String> {
        let since = self.since;
        if let Some(name) = attributes.iter().find(|name| !self.has(name)) {
            return Err(format!("version {since} has no attribute {name}"));
        }
        let is_absent = |(name, required): &&(&str, bool)| *required && !attributes.contains(name);
        if let Some((name, _)) = self.attributes.iter().find(is_absent) {
            return Err(format!("attribute {name} is absent"));
        }
        if let Some(most) = self.outputs.filter(|most| outputs > *most) {
            return Err(format!("version {since} has {most} outputs, not {outputs}"));
        }
        self.check_inputs(inputs)
    }

    fn check_inputs(&self, inputs: &[Option<&ValueType>]) -> Result<(), String> {
        let since = self.since;
        // Trailing inputs that are absent need not be written down, and may be.
        let given = inputs.iter().rposition(Option::is_some);
        let inputs = &inputs[..given.map_or(0, |last| last + 1)];
        let (least, most) = self.inputs();
        if let Some(most) = most.filter(|most| inputs.len() > *most) {
            let given = inputs.len();
            return Err(format!("version {since} takes {most} inputs, not {given}"));
        }
        let mut bound: BTreeMap<&str, (usize, String)> = BTreeMap::new();
        for position in 0..inputs.len().max(least) {
            let Some(operand) = self.operand(position) else {
                break;
            };
            let name = operand.name;
            let Some(ty) = inputs.get(position).copied().flatten() else {
                match operand.arity {
                    Arity::Single => return Err(format!("input {position} ({name}) is absent")),
                    Arity::Variadic(_) if position < least => {
                        return Err(format!("input {position} ({name}) is absent"));
                    }
                    _ => continue,
                }
            };
            let word = word(ty);
            if !operand.takes(&word) {
                let types = operand.types;
                return Err(format!(
                    "input {position} ({name}) is {word}, version {since} takes: {types}"
                ));
            }
            if operand.variable.is_empty() {
                continue;
            }
            let first = bound.entry(operand.variable);
            let (first, other) = first.or_insert_with(|| (position, word.clone()));
            if *other != word {
                return Err(format!(
                    "input {position} ({name}) is {word}, and input {first} of the same type \
                     {other}"
                ));
            }
        }
        Ok(())
    }
}
