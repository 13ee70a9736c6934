//! Reads a module: directives, entries, declarations and statements.

use crate::body::{Body, Symbol};
use crate::decode;
use crate::error::ParseError;
use crate::lex::{Token, lex};
use crate::link;
use crate::module::Module;
use crate::operand::{Cursor, Operand};
use crate::types::{Space, Type};

/// Most bytes of module constants.
const CONSTANT_MAX: usize = 64 << 10;
/// Most bytes of local memory of a thread.
const LOCAL_MAX: usize = 512 << 10;

/// A variable declared outside every entry.
struct Shared {
    name: String,
    /// `None` for a dynamic array.
    bytes: Option<usize>,
    align: usize,
}

/// A variable as declared: name, alignment, element type and count (`None` for `[]`).
struct Variable<'a> {
    name: &'a str,
    align: usize,
    ty: Type,
    count: Option<usize>,
}

impl Module {
    /// Parses and decodes a module.
    ///
    /// # Errors
    ///
    /// [`ParseError`] names the line of the first thing that is malformed, not type-correct, or
    /// not supported; no instruction or modifier is ever skipped.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let tokens = lex(text)?;
        let mut parser = Parser {
            cursor: Cursor::new(&tokens),
            module: Self {
                kernels: Vec::new(),
                constants: Vec::new(),
                lines: text.lines().map(|line| line.trim().to_owned()).collect(),
            },
            shared: Vec::new(),
            constants: Vec::new(),
        };
        parser.module()?;
        Ok(parser.module)
    }
}

struct Parser<'t, 'a> {
    cursor: Cursor<'t, 'a>,
    module: Module,
    shared: Vec<Shared>,
    /// Constant arrays: name and offset in the constant bank.
    constants: Vec<(String, usize)>,
}

impl<'a> Parser<'_, 'a> {
    fn module(&mut self) -> Result<(), ParseError> {
        while self.cursor.peek().is_some() {
            let line = self.cursor.line();
            match self.cursor.word("a directive")? {
                ".version" => match self.cursor.next() {
                    Some(Token::F64(_)) => {}
                    _ => return Err(ParseError::new(line, "`.version` wants major.minor")),
                },
                ".target" => {
                    self.cursor.word("a target")?;
                    while self.cursor.accept(',') {
                        self.cursor.word("a target")?;
                    }
                }
                ".address_size" => {
                    if self.cursor.count("an address size")? != 64 {
                        return Err(ParseError::new(line, "only 64-bit addresses are supported"));
                    }
                }
                ".file" | ".loc" => self.cursor.skip_line(),
                ".visible" | ".weak" | ".extern" => {}
                ".shared" => {
                    let variable = self.variable()?;
                    self.cursor.expect(';')?;
                    let bytes = variable.count.map(|count| count * variable.ty.bytes());
                    let (name, align) = (variable.name.to_owned(), variable.align);
                    self.shared.push(Shared { name, bytes, align });
                }
                ".const" => self.constant()?,
                ".entry" => self.entry()?,
                word => {
                    return Err(ParseError::new(
                        line,
                        format!("`{word}` is not supported here"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// `[.align N] .type name[N]…`, after the space.
    fn variable(&mut self) -> Result<Variable<'a>, ParseError> {
        let mut align = None;
        loop {
            let word = self.cursor.word("a type")?;
            if word == ".align" {
                let value = self.cursor.count("an alignment")?;
                if !value.is_power_of_two() {
                    return Err(self.cursor.error("alignment must be a power of two"));
                }
                align = Some(value);
                continue;
            }
            let ty = word.strip_prefix('.').and_then(Type::parse);
            let Some(ty) = ty.filter(|ty| *ty != Type::Pred) else {
                return Err(self
                    .cursor
                    .error(format!("`{word}` is not a variable type")));
            };
            let name = self.cursor.word("a variable name")?;
            let mut count = Some(1usize);
            while self.cursor.accept('[') {
                if self.cursor.accept(']') {
                    count = None;
                    continue;
                }
                let dim = self.cursor.count("an array length")?;
                count = count.and_then(|count| count.checked_mul(dim));
                if count.is_none_or(|count| count > 1 << 30) {
                    return Err(self.cursor.error(format!("array `{name}` is too large")));
                }
                self.cursor.expect(']')?;
            }
            return Ok(Variable {
                name,
                align: align.unwrap_or(ty.bytes()),
                ty,
                count,
            });
        }
    }

    fn constant(&mut self) -> Result<(), ParseError> {
        let variable = self.variable()?;
        let mut values = Vec::new();
        if self.cursor.accept('=') {
            match self.cursor.operand()? {
                Operand::Vector(parts) => values = parts,
                single => values.push(single),
            }
        }
        let Some(count) = variable.count.filter(|count| values.len() <= *count) else {
            return Err(self
                .cursor
                .error(format!("`{}` has no fitting size", variable.name)));
        };
        let bytes = variable.ty.bytes();
        let body = Body {
            line: self.cursor.line(),
            ..Body::default()
        };
        let mut size = self.module.constants.len();
        let at = Body::place(&mut size, count * bytes, variable.align);
        if size > CONSTANT_MAX {
            return Err(self
                .cursor
                .error(format!("constants exceed {CONSTANT_MAX} bytes")));
        }
        self.module.constants.resize(size, 0);
        for (index, value) in values.iter().enumerate() {
            let bits = body.immediate(value, variable.ty)?;
            let start = at + index * bytes;
            self.module.constants[start..start + bytes]
                .copy_from_slice(&bits.to_le_bytes()[..bytes]);
        }
        self.constants.push((variable.name.to_owned(), at));
        self.cursor.expect(';')
    }

    fn entry(&mut self) -> Result<(), ParseError> {
        let name = self.cursor.word("an entry name")?.to_owned();
        if self.module.kernel(&name).is_some() {
            return Err(self
                .cursor
                .error(format!("entry `{name}` is declared twice")));
        }
        let mut body = Body {
            scopes: vec![Default::default()],
            ..Body::default()
        };
        if self.cursor.accept('(') && !self.cursor.accept(')') {
            loop {
                self.param(&mut body)?;
                if !self.cursor.accept(',') {
                    break;
                }
            }
            self.cursor.expect(')')?;
        }
        let (mut block_required, mut block_max) = (None, None);
        while let Some(Token::Word(word)) = self.cursor.peek() {
            self.cursor.next();
            match word {
                ".reqntid" => block_required = Some(self.extent()?),
                ".maxntid" => {
                    let threads = self.extent()?;
                    let total = threads.iter().fold(1u32, |all, n| all.saturating_mul(*n));
                    block_max = Some(total);
                }
                ".minnctapersm" | ".maxnreg" | ".maxnctapersm" => {
                    self.cursor.count("a number")?;
                }
                word => return Err(self.cursor.error(format!("`{word}` is not supported here"))),
            }
        }
        for (name, offset) in &self.constants {
            let reg = body.constant(*offset as u64);
            body.declare(name, Symbol::Variable(Space::Const, reg))?;
        }
        for shared in &self.shared {
            body.declare_shared(&shared.name, shared.bytes, shared.align)?;
        }
        self.cursor.expect('{')?;
        body.scopes.push(Default::default());
        self.statements(&mut body)?;
        self.module
            .kernels
            .push(link::link(name, body, block_required, block_max)?);
        Ok(())
    }

    fn extent(&mut self) -> Result<[u32; 3], ParseError> {
        let mut extent = [1; 3];
        for axis in &mut extent {
            *axis = self.cursor.count("a block extent")? as u32;
            if !self.cursor.accept(',') {
                break;
            }
        }
        Ok(extent)
    }

    fn param(&mut self, body: &mut Body) -> Result<(), ParseError> {
        body.line = self.cursor.line();
        if self.cursor.word("`.param`")? != ".param" {
            return Err(body.error("an entry's list holds `.param` declarations"));
        }
        // Pointer attributes (`.ptr .global .align 16`) state facts that loads check anyway.
        let mut ahead = self.cursor.clone();
        let ty = ahead.word("a type")?;
        if ahead.peek() == Some(Token::Word(".ptr")) {
            ahead.next();
            let mut parsed = ty.strip_prefix('.').and_then(Type::parse);
            while let Some(Token::Word(word)) = ahead.peek() {
                ahead.next();
                match word {
                    ".global" | ".shared" | ".const" | ".local" => {}
                    ".align" => {
                        ahead.count("an alignment")?;
                    }
                    name => {
                        self.cursor = ahead;
                        let ty = parsed.take().ok_or_else(|| body.error("expected a type"))?;
                        return body.declare_param(name, ty.bytes(), ty.bytes());
                    }
                }
            }
            return Err(body.error("pointer parameter without a name"));
        }
        let variable = self.variable()?;
        let Some(count) = variable.count else {
            return Err(body.error(format!("parameter `{}` has no size", variable.name)));
        };
        body.declare_param(variable.name, count * variable.ty.bytes(), variable.align)
    }

    /// Statements up to the brace that closes the body.
    fn statements(&mut self, body: &mut Body) -> Result<(), ParseError> {
        loop {
            body.line = self.cursor.line();
            if self.cursor.accept('{') {
                body.scopes.push(Default::default());
                continue;
            }
            if self.cursor.accept('}') {
                body.scopes.pop();
                if body.scopes.len() == 1 {
                    return Ok(());
                }
                continue;
            }
            let guard = if self.cursor.accept('@') {
                let operand = self.cursor.operand()?;
                Some(body.pred_source(&operand)?)
            } else {
                None
            };
            let word = self.cursor.word("a statement")?;
            if guard.is_none() && self.cursor.accept(':') {
                let at = body.code.len() as u32;
                if body.labels.insert(word.to_owned(), at).is_some() {
                    return Err(body.error(format!("label `{word}` is declared twice")));
                }
                continue;
            }
            if word.starts_with('.') {
                if guard.is_some() {
                    return Err(body.error(format!("directive `{word}` cannot be guarded")));
                }
                self.directive(body, word)?;
                continue;
            }
            let mut operands = Vec::new();
            while !self.cursor.accept(';') {
                if !operands.is_empty() {
                    self.cursor.expect(',')?;
                }
                operands.push(self.cursor.operand()?);
                if self.cursor.peek().is_none() {
                    self.cursor.expect(';')?;
                }
            }
            decode::instruction(body, guard, word, &operands)?;
        }
    }

    fn directive(&mut self, body: &mut Body, word: &str) -> Result<(), ParseError> {
        match word {
            ".reg" => return self.registers(body),
            ".shared" | ".extern" => {
                if word == ".extern" && self.cursor.word("`.shared`")? != ".shared" {
                    return Err(body.error("only `.extern .shared` is supported"));
                }
                let variable = self.variable()?;
                let bytes = variable.count.map(|count| count * variable.ty.bytes());
                body.declare_shared(variable.name, bytes, variable.align)?;
            }
            ".local" => {
                let variable = self.variable()?;
                let Some(count) = variable.count else {
                    return Err(body.error(format!("`{}` has no size", variable.name)));
                };
                let bytes = count * variable.ty.bytes();
                let at = Body::place(&mut body.local_bytes, bytes, variable.align);
                if body.local_bytes > LOCAL_MAX {
                    return Err(body.error(format!("local memory exceeds {LOCAL_MAX} bytes")));
                }
                let reg = body.constant(at as u64);
                body.declare(variable.name, Symbol::Variable(Space::Local, reg))?;
            }
            ".pragma" => {
                if self.cursor.next() != Some(Token::Str) {
                    return Err(body.error("`.pragma` wants a string"));
                }
            }
            ".loc" => {
                self.cursor.skip_line();
                return Ok(());
            }
            _ => return Err(body.error(format!("directive `{word}` is not supported"))),
        }
        self.cursor.expect(';')
    }

    fn registers(&mut self, body: &mut Body) -> Result<(), ParseError> {
        let word = self.cursor.word("a register type")?;
        let Some(ty) = word.strip_prefix('.').and_then(Type::parse) else {
            return Err(body.error(format!("`{word}` is not a register type")));
        };
        if ty.bits() == 8 || matches!(ty, Type::Bf16 | Type::Bf16x2 | Type::Tf32) {
            return Err(body.error(format!("registers cannot have type {ty}")));
        }
        loop {
            let name = self.cursor.word("a register name")?;
            if self.cursor.accept('<') {
                let count = self.cursor.count("a register count")?;
                if count > 1 << 20 {
                    return Err(body.error(format!("too many registers `{name}`")));
                }
                self.cursor.expect('>')?;
                for index in 0..count {
                    body.declare_register(&format!("{name}{index}"), ty)?;
                }
            } else {
                body.declare_register(name, ty)?;
            }
            if !self.cursor.accept(',') {
                return self.cursor.expect(';');
            }
        }
    }
}
