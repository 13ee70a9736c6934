//! Dims as integer arithmetic on the symbols that a launch passes.

use alula_tensor::{Atom, DType, Dim, ScalarOp};
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::EmitError;
use super::division;
use super::ops::constant;
use super::printer::Printer;

impl Printer<'_, '_> {
    /// The value of a dim as an `i64`.
    pub(super) fn dim(&mut self, dim: &Dim) -> Result<Value, EmitError> {
        if let Some(value) = dim.as_const() {
            return Ok(constant(&mut self.b, types::I64, value));
        }
        let mut sum: Option<Value> = None;
        for (monomial, coefficient) in dim.terms() {
            let mut term: Option<Value> = None;
            for (atom, power) in &monomial {
                let value = self.atom(atom)?;
                for _ in 0..*power {
                    term = Some(match term {
                        None => value,
                        Some(product) => self.b.ins().imul(product, value),
                    });
                }
            }
            let term = match term {
                None => constant(&mut self.b, types::I64, coefficient),
                Some(term) if coefficient == 1 => term,
                Some(term) => self.b.ins().imul_imm_s(term, coefficient),
            };
            sum = Some(match sum {
                None => term,
                Some(sum) => self.b.ins().iadd(sum, term),
            });
        }
        Ok(sum.unwrap_or_else(|| constant(&mut self.b, types::I64, 0)))
    }

    fn atom(&mut self, atom: &Atom) -> Result<Value, EmitError> {
        let (op, x, y) = match atom {
            Atom::Sym(symbol) => return self.symbol(symbol),
            Atom::FloorDiv(x, y) => (ScalarOp::FloorDiv, x, y),
            Atom::Mod(x, y) => (ScalarOp::FloorMod, x, y),
            Atom::Max(x, y) => (ScalarOp::Max, x, y),
            Atom::Min(x, y) => (ScalarOp::Min, x, y),
        };
        let (x, y) = (self.dim(x)?, self.dim(y)?);
        Ok(match op {
            ScalarOp::Max => self.b.ins().smax(x, y),
            ScalarOp::Min => self.b.ins().smin(x, y),
            op => division::apply(&mut self.b, op, DType::I64, x, y),
        })
    }
}
