//! Which `i64` values are data, and need 64 bits, and which are indices, for which 32 do.
//!
//! An index is what is computed from grid axes, lanes, loop variables, dims and small constants.
//! Data are what is loaded from a 64-bit buffer, what is computed with it, and everything that
//! was computed for a value that is stored to one.

use alula_kernel::{Block, BufferId, Inst, Kernel, Rhs, ValueId};
use alula_tensor::{DType, DTypeClass};

/// For each value of dtype `i64`, whether it needs 64 bits.
pub(super) fn wide_values(kernel: &Kernel) -> Vec<bool> {
    let mut kinds = Kinds {
        kernel,
        wide: vec![false; kernel.dtypes.len()],
        exact: vec![false; kernel.dtypes.len()],
        changed: true,
    };
    while kinds.changed {
        kinds.changed = false;
        kinds.block(&kernel.body);
    }
    kinds.wide
}

struct Kinds<'k> {
    kernel: &'k Kernel,
    wide: Vec<bool>,
    /// Values whose operands must not lose bits either, because they are stored.
    exact: Vec<bool>,
    changed: bool,
}

impl Kinds<'_> {
    fn is_i64(&self, value: ValueId) -> bool {
        self.kernel.dtype(value) == DType::I64
    }

    fn widen(&mut self, value: ValueId) {
        if self.is_i64(value) && !std::mem::replace(&mut self.wide[value.0 as usize], true) {
            self.changed = true;
        }
    }

    /// The value is stored as 64 bits: whatever computes it keeps 64 bits.
    fn keep(&mut self, value: ValueId) {
        if self.is_i64(value) && !std::mem::replace(&mut self.exact[value.0 as usize], true) {
            self.changed = true;
        }
    }

    fn block(&mut self, block: &Block) {
        for inst in &block.0 {
            match inst {
                Inst::Let { id, rhs } => self.rhs(*id, rhs),
                Inst::Store { buffer, value, .. } => {
                    if self.kernel.buffer_dtype(*buffer) == DType::I64 {
                        self.keep(*value);
                    }
                }
                Inst::Loop(inner) => {
                    self.block(&inner.body);
                    for carried in &inner.carried {
                        let all = [carried.acc, carried.init, carried.next, carried.result];
                        if all.iter().any(|value| self.exact[value.0 as usize]) {
                            all.iter().for_each(|&value| self.keep(value));
                            self.widen(carried.acc);
                        }
                        if all.iter().any(|value| self.wide[value.0 as usize]) {
                            self.widen(carried.acc);
                            self.widen(carried.result);
                        }
                    }
                }
                Inst::If { then, .. } => self.block(then),
                Inst::Barrier => {}
            }
        }
    }

    fn rhs(&mut self, id: ValueId, rhs: &Rhs) {
        let exact = self.exact[id.0 as usize];
        match rhs {
            Rhs::Const(literal) => {
                if literal
                    .0
                    .as_int()
                    .is_some_and(|value| i32::try_from(value).is_err())
                {
                    self.widen(id);
                }
            }
            Rhs::Dim(_) => {}
            Rhs::Apply { operands, .. } => {
                if exact {
                    operands.iter().for_each(|&operand| self.keep(operand));
                    self.widen(id);
                }
                if operands.iter().any(|operand| self.wide[operand.0 as usize]) {
                    self.widen(id);
                }
            }
            Rhs::Cast(from) => {
                let dtype = self.kernel.dtype(*from);
                let fits =
                    dtype.class() != DTypeClass::Float && dtype.bits() < 32 || dtype == DType::I32;
                // Floats saturate at 32 bits where the result is an index.
                if exact || !fits && dtype.class() != DTypeClass::Float {
                    self.widen(id);
                }
            }
            Rhs::Bitcast(_) => self.widen(id),
            Rhs::Load { buffer, .. } => {
                let (BufferId::Param(_) | BufferId::Local(_) | BufferId::Shared(_)) = buffer;
                self.widen(id);
            }
        }
    }
}
