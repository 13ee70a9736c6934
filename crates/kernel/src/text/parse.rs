//! Kernels from text.

use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp, Symbol};
use smallvec::SmallVec;

use super::TextError;
use super::lexer::Lexer;
use crate::{
    Access, Block, BufferId, Carried, FoldOp, GridAxis, Inst, Kernel, Literal, Local, Loop,
    LoopKind, Param, Rhs, ValueId,
};

/// Greatest nesting of blocks.
const DEPTH_MAX: usize = 64;

/// Greatest number of a value: bounds what a short text can ask for.
const VALUE_MAX: u32 = 1 << 24;

/// Parses a text that is one kernel.
///
/// # Errors
/// The first thing that is not as the grammar has it, with its place. The kernel is not verified.
pub fn parse_kernel(text: &str) -> Result<Kernel, TextError> {
    let mut kernels = parse_kernels(text)?;
    match kernels.len() {
        1 => Ok(kernels.remove(0)),
        n => Err(TextError {
            line: 1,
            column: 1,
            message: format!("{n} kernels, not one"),
        }),
    }
}

/// Parses any number of kernels.
///
/// # Errors
/// As [`parse_kernel`].
pub fn parse_kernels(text: &str) -> Result<Vec<Kernel>, TextError> {
    let mut kernels = Vec::new();
    let mut lexer = Lexer::new(text);
    while !lexer.is_at_end() {
        let kernel;
        (lexer, kernel) = parse_kernel_at(lexer)?;
        kernels.push(kernel);
    }
    Ok(kernels)
}

/// Parses a kernel that begins at this place.
pub(super) fn parse_kernel_at(lexer: Lexer<'_>) -> Result<(Lexer<'_>, Kernel), TextError> {
    let mut parser = Parser {
        lexer,
        kernel: Kernel::new(""),
        dtypes: Vec::new(),
    };
    parser.kernel()?;
    parser.finish()
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    kernel: Kernel,
    dtypes: Vec<Option<DType>>,
}

impl<'t> Parser<'t> {
    fn finish(mut self) -> Result<(Lexer<'t>, Kernel), TextError> {
        for (value, dtype) in self.dtypes.iter().enumerate() {
            match dtype {
                Some(dtype) => self.kernel.dtypes.push(*dtype),
                None => return Err(self.lexer.error(format!("%{value} is never defined"))),
            }
        }
        Ok((self.lexer, self.kernel))
    }

    fn kernel(&mut self) -> Result<(), TextError> {
        self.lexer.expect_word("kernel")?;
        self.kernel.name = self.lexer.name()?;
        self.lexer.expect('(')?;
        while !self.lexer.take(')') {
            let param = self.param()?;
            self.kernel.params.push(param);
            if !self.lexer.take(',') {
                self.lexer.expect(')')?;
                break;
            }
        }
        if self.lexer.take_word("symbols") {
            self.lexer.expect('(')?;
            let (_, names) = self.lexer.until(')');
            self.kernel.symbols = names
                .split(',')
                .map(|name| Symbol::new(name.trim()))
                .collect();
            self.lexer.expect(')')?;
        }
        self.lexer.expect('{')?;
        self.header()?;
        self.kernel.body = self.block(0)?;
        Ok(())
    }

    fn param(&mut self) -> Result<Param, TextError> {
        let name = self.lexer.word()?.to_owned();
        self.lexer.expect(':')?;
        let dtype = self.dtype()?;
        self.lexer.expect('[')?;
        let elements = self.dim(']')?;
        self.lexer.expect(']')?;
        let at = self.lexer.position();
        let word = self.lexer.word()?;
        let access = [Access::Read, Access::Write, Access::ReadWrite]
            .into_iter()
            .find(|access| access.name() == word)
            .ok_or_else(|| self.lexer.error_at(at, format!("'{word}' is no access")))?;
        let bound = match self.lexer.take_word("within") {
            true => Some(self.lexer.float()?),
            false => None,
        };
        Ok(Param {
            name,
            dtype,
            elements,
            access,
            bound,
        })
    }

    /// Locals, grid and lanes.
    fn header(&mut self) -> Result<(), TextError> {
        loop {
            if self.lexer.take_word("local") {
                let name = self.lexer.word()?.to_owned();
                self.lexer.expect(':')?;
                let dtype = self.dtype()?;
                self.lexer.expect('[')?;
                let elements = self.lexer.number()?;
                self.lexer.expect(']')?;
                self.kernel.locals.push(Local {
                    name,
                    dtype,
                    elements,
                });
            } else if self.lexer.take_word("grid") {
                let var = self.value()?;
                self.define(var, DType::I64)?;
                self.lexer.expect('<')?;
                let extent = self.dim('\n')?;
                self.kernel.grid.push(GridAxis { var, extent });
            } else if self.lexer.take_word("lanes") {
                self.kernel.lanes = self.lexer.number()?;
                self.lexer.expect_word("as")?;
                let lane = self.value()?;
                self.define(lane, DType::I64)?;
                self.kernel.lane = Some(lane);
            } else {
                return Ok(());
            }
        }
    }

    fn dtype(&mut self) -> Result<DType, TextError> {
        let at = self.lexer.position();
        let word = self.lexer.word()?;
        DType::from_name(word)
            .ok_or_else(|| self.lexer.error_at(at, format!("'{word}' is no dtype")))
    }

    fn dim(&mut self, end: char) -> Result<Dim, TextError> {
        let (at, text) = self.lexer.until(end);
        text.parse()
            .map_err(|error: String| self.lexer.error_at(at, error))
    }

    fn value(&mut self) -> Result<ValueId, TextError> {
        self.lexer.expect('%')?;
        let at = self.lexer.position();
        let number: u32 = self.lexer.number()?;
        if number > VALUE_MAX {
            return Err(self
                .lexer
                .error_at(at, format!("%{number} is beyond %{VALUE_MAX}")));
        }
        let position = number as usize;
        if self.dtypes.len() <= position {
            self.dtypes.resize(position + 1, None);
        }
        Ok(ValueId(number))
    }

    fn define(&mut self, value: ValueId, dtype: DType) -> Result<(), TextError> {
        match self.dtypes[value.0 as usize].replace(dtype) {
            None => Ok(()),
            Some(_) => Err(self.lexer.error(format!("%{} is defined twice", value.0))),
        }
    }

    /// Instructions up to and with the closing brace.
    fn block(&mut self, depth: usize) -> Result<Block, TextError> {
        if depth > DEPTH_MAX {
            return Err(self.lexer.error("blocks are nested too deeply"));
        }
        let mut insts = Vec::new();
        while !self.lexer.take('}') {
            insts.push(self.inst(depth)?);
        }
        Ok(Block(insts))
    }

    fn inst(&mut self, depth: usize) -> Result<Inst, TextError> {
        if self.lexer.take_word("store") {
            let buffer = self.buffer()?;
            let index = self.index()?;
            self.lexer.expect('=')?;
            return Ok(Inst::Store {
                buffer,
                index,
                value: self.value()?,
            });
        }
        if self.lexer.take_word("if") {
            let cond = self.value()?;
            self.lexer.expect('{')?;
            return Ok(Inst::If {
                cond,
                then: self.block(depth + 1)?,
            });
        }
        if self.lexer.take_word("barrier") {
            return Ok(Inst::Barrier);
        }
        if self.lexer.take_word("for") {
            return self.inner_loop(depth).map(Inst::Loop);
        }
        let id = self.value()?;
        self.lexer.expect(':')?;
        let dtype = self.dtype()?;
        self.define(id, dtype)?;
        self.lexer.expect('=')?;
        Ok(Inst::Let {
            id,
            rhs: self.rhs(dtype)?,
        })
    }

    fn inner_loop(&mut self, depth: usize) -> Result<Loop, TextError> {
        let var = self.value()?;
        self.define(var, DType::I64)?;
        self.lexer.expect('<')?;
        let extent = self.value()?;
        let kind = if self.lexer.take_word("lanes") {
            LoopKind::Lanes(self.lexer.number()?)
        } else {
            LoopKind::Serial
        };
        let mut carried = Vec::new();
        if self.lexer.take_word("carry") {
            self.lexer.expect('(')?;
            loop {
                carried.push(self.carried()?);
                if !self.lexer.take(',') {
                    break;
                }
            }
            self.lexer.expect(')')?;
        }
        self.lexer.expect('{')?;
        Ok(Loop {
            var,
            extent,
            kind,
            carried,
            body: self.block(depth + 1)?,
        })
    }

    fn carried(&mut self) -> Result<Carried, TextError> {
        let acc = self.value()?;
        self.lexer.expect(':')?;
        let dtype = self.dtype()?;
        self.define(acc, dtype)?;
        self.lexer.expect('=')?;
        let init = self.value()?;
        self.lexer.expect_word("then")?;
        let next = self.value()?;
        self.lexer.expect_word("into")?;
        let result = self.value()?;
        self.define(result, dtype)?;
        let mut combine = None;
        if self.lexer.take_word("by") {
            let at = self.lexer.position();
            let word = self.lexer.word()?;
            let op = FoldOp::ALL.into_iter().find(|op| op.name() == word);
            let op = op.ok_or_else(|| self.lexer.error_at(at, format!("'{word}' is no fold")))?;
            combine = Some(op);
        }
        Ok(Carried {
            acc,
            init,
            next,
            result,
            combine,
        })
    }

    fn buffer(&mut self) -> Result<BufferId, TextError> {
        let shared = self.lexer.take_word("shared");
        let at = self.lexer.position();
        let word = self.lexer.word()?;
        let param = self
            .kernel
            .params
            .iter()
            .position(|param| param.name == word);
        if let Some(position) = param.filter(|_| !shared) {
            return Ok(BufferId::Param(position as u32));
        }
        match self
            .kernel
            .locals
            .iter()
            .position(|local| local.name == word)
        {
            Some(position) if shared => Ok(BufferId::Shared(position as u32)),
            Some(position) => Ok(BufferId::Local(position as u32)),
            None => Err(self
                .lexer
                .error_at(at, format!("there is no buffer '{word}'"))),
        }
    }

    fn index(&mut self) -> Result<ValueId, TextError> {
        self.lexer.expect('[')?;
        let index = self.value()?;
        self.lexer.expect(']')?;
        Ok(index)
    }

    fn rhs(&mut self, dtype: DType) -> Result<Rhs, TextError> {
        let at = self.lexer.position();
        let word = self.lexer.word()?;
        Ok(match word {
            "const" => Rhs::Const(self.literal(dtype)?),
            "dim" => Rhs::Dim(self.dim('\n')?),
            "cast" => Rhs::Cast(self.value()?),
            "bitcast" => Rhs::Bitcast(self.value()?),
            "load" => {
                let buffer = self.buffer()?;
                Rhs::Load {
                    buffer,
                    index: self.index()?,
                }
            }
            _ => {
                let Some(op) = ScalarOp::from_name(word) else {
                    return Err(self
                        .lexer
                        .error_at(at, format!("there is no operator '{word}'")));
                };
                let mut operands = SmallVec::new();
                for position in 0..op.arity() {
                    if position > 0 {
                        self.lexer.expect(',')?;
                    }
                    operands.push(self.value()?);
                }
                Rhs::Apply { op, operands }
            }
        })
    }

    fn literal(&mut self, dtype: DType) -> Result<Literal, TextError> {
        let (at, text) = self.lexer.until('\n');
        literal_of(dtype, text)
            .ok_or_else(|| self.lexer.error_at(at, format!("'{text}' is no {dtype}")))
    }
}

/// A literal of a dtype.
pub(super) fn literal_of(dtype: DType, text: &str) -> Option<Literal> {
    let scalar = match dtype.class() {
        DTypeClass::Bool => match text {
            "true" => Scalar::Int(1),
            "false" => Scalar::Int(0),
            _ => return None,
        },
        DTypeClass::Signed | DTypeClass::Unsigned => Scalar::Int(text.parse().ok()?),
        DTypeClass::Float => Scalar::Float(match text.strip_prefix("nan:0x") {
            Some(bits) => f64::from_bits(u64::from_str_radix(bits, 16).ok()?),
            None if text == "nan" => f64::NAN,
            None => text.parse().ok()?,
        }),
        DTypeClass::String => return None,
    };
    Some(Literal(scalar))
}
