//! Symbols by number: names are looked up once, values live in a flat table.

use std::collections::HashMap;
use std::ops::Range;

use alula_tensor::{Dim, Symbol};

use crate::StepError;

/// Every symbol of a program, numbered.
#[derive(Debug, Default)]
pub(crate) struct SymbolTable {
    numbers: HashMap<Symbol, usize>,
}

/// Values of symbols by number; `None` where not yet known.
pub(crate) type Env = Vec<Option<i64>>;

impl SymbolTable {
    /// The number of a symbol, a new one if it has none.
    pub(crate) fn intern(&mut self, symbol: &Symbol) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(symbol.clone()).or_insert(next)
    }

    pub(crate) fn number(&self, symbol: &Symbol) -> Option<usize> {
        self.numbers.get(symbol).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// A dim's value.
    pub(crate) fn eval(&self, dim: &Dim, env: &Env) -> Result<i64, StepError> {
        if let Some(value) = dim.as_const() {
            return Ok(value);
        }
        let bind = |symbol: &Symbol| env.get(self.number(symbol)?).copied().flatten();
        Ok(dim.eval(&bind)?)
    }

    /// A dim's value as a size.
    pub(crate) fn size(&self, dim: &Dim, env: &Env) -> Result<usize, StepError> {
        let value = self.eval(dim, env)?;
        usize::try_from(value)
            .map_err(|_| StepError::Value(format!("{dim} is {value}, which is no size")))
    }

    /// So many bytes from an offset on.
    pub(crate) fn part(
        &self,
        offset: &Dim,
        bytes: &Dim,
        env: &Env,
    ) -> Result<Range<usize>, StepError> {
        let bytes = self.size(bytes, env)?;
        // What has no bytes may begin anywhere.
        if bytes == 0 {
            return Ok(0..0);
        }
        let offset = self.size(offset, env)?;
        let end = offset.checked_add(bytes);
        let end = end.ok_or_else(|| StepError::value("a part beyond what can be addressed"))?;
        Ok(offset..end)
    }

    /// Extents of a shape.
    pub(crate) fn shape(&self, dims: &[Dim], env: &Env) -> Result<Vec<usize>, StepError> {
        dims.iter().map(|dim| self.size(dim, env)).collect()
    }
}
