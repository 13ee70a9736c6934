//! Looking for several instructions that one of the processor's stands for.

use std::collections::BTreeMap;

use alula_kernel::{Inst, Loop, Rhs, ValueId};
use alula_tensor::{DType, ScalarOp};

/// The body of a loop, to be searched.
pub(super) struct Pattern<'l> {
    body: &'l [Inst],
    defined: BTreeMap<ValueId, &'l Rhs>,
    reads: BTreeMap<ValueId, u32>,
    dtype: &'l dyn Fn(ValueId) -> DType,
    constant: &'l dyn Fn(ValueId) -> Option<u32>,
}

impl<'l> Pattern<'l> {
    /// `dtype` is that of a value, `constant` its bits if it has some.
    pub(super) fn new(
        of: &'l Loop,
        dtype: &'l dyn Fn(ValueId) -> DType,
        constant: &'l dyn Fn(ValueId) -> Option<u32>,
    ) -> Pattern<'l> {
        let mut pattern = Pattern {
            body: &of.body.0,
            defined: BTreeMap::new(),
            reads: BTreeMap::new(),
            dtype,
            constant,
        };
        let mut read = |value: ValueId| *pattern.reads.entry(value).or_insert(0) += 1;
        of.carried.iter().for_each(|carried| read(carried.next));
        for inst in &of.body.0 {
            match inst {
                Inst::Let { id, rhs } => {
                    pattern.defined.insert(*id, rhs);
                    match rhs {
                        Rhs::Apply { operands, .. } => operands.iter().copied().for_each(&mut read),
                        Rhs::Cast(value) | Rhs::Bitcast(value) => read(*value),
                        Rhs::Load { index, .. } => read(*index),
                        Rhs::Const(_) | Rhs::Dim(_) => {}
                    }
                }
                Inst::Store { index, value, .. } => {
                    [*index, *value].into_iter().for_each(&mut read);
                }
                // A loop with a block inside has no wide form.
                Inst::Loop(_) | Inst::If { .. } | Inst::Barrier => {}
            }
        }
        pattern
    }

    pub(super) fn body(&self) -> &'l [Inst] {
        self.body
    }

    pub(super) fn dtype(&self, value: ValueId) -> DType {
        (self.dtype)(value)
    }

    /// Whether a value is a constant of these bits.
    pub(super) fn is(&self, value: ValueId, bits: u32) -> bool {
        (self.constant)(value) == Some(bits)
    }

    /// Whether nothing reads a value.
    pub(super) fn is_dead(&self, value: ValueId) -> bool {
        !self.reads.contains_key(&value)
    }

    /// How a value is defined, if `reads` operands are this value.
    pub(super) fn read(&self, value: ValueId, reads: u32) -> Option<&'l Rhs> {
        let rhs = self.defined.get(&value)?;
        (self.reads.get(&value) == Some(&reads)).then_some(*rhs)
    }

    /// The operands of a value that this operator gives and one operand reads.
    pub(super) fn applied(&self, value: ValueId, wanted: ScalarOp) -> Option<&'l [ValueId]> {
        operands(self.read(value, 1)?, wanted)
    }

    /// What has the bits of a value that one operand reads.
    pub(super) fn bits_of(&self, value: ValueId) -> Option<ValueId> {
        match self.read(value, 1)? {
            Rhs::Bitcast(source) => Some(*source),
            _ => None,
        }
    }
}

/// The operands of an operator.
pub(super) fn operands(rhs: &Rhs, wanted: ScalarOp) -> Option<&[ValueId]> {
    match rhs {
        Rhs::Apply { op, operands } if *op == wanted => Some(operands),
        _ => None,
    }
}
