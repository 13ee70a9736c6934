//! Stores of f32 as bf16 that the processor rounds itself.
//!
//! Its instruction takes what is subnormal to 0, which a conversion alone does not. Where a kernel
//! says that it wants that (see `alula_lower::narrow`), the conversion, what is before it and the
//! store are two instructions, of a dozen otherwise. NaN stays NaN, with the upper bits of its own.

use std::collections::{BTreeMap, BTreeSet};

use alula_kernel::{Inst, Rhs, ValueId};
use alula_tensor::{DType, ScalarOp};

use super::pattern::Pattern;

/// What a loop over lanes rounds so.
#[derive(Default)]
pub(super) struct Narrowed {
    /// Values that are only stored, with the f32 that the instruction rounds.
    sources: BTreeMap<ValueId, ValueId>,
    /// Values on the way to these, which nothing else needs.
    skipped: BTreeSet<ValueId>,
}

impl Narrowed {
    pub(super) fn find(pattern: &Pattern<'_>) -> Narrowed {
        let mut narrowed = Narrowed::default();
        for inst in pattern.body() {
            if let Inst::Store { value, .. } = inst
                && let Some((x, between)) = rounded(pattern, *value)
            {
                narrowed.sources.insert(*value, x);
                narrowed.skipped.extend(between);
                narrowed.skipped.insert(*value);
            }
        }
        narrowed
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The f32 that is rounded as it is stored.
    pub(super) fn source(&self, stored: ValueId) -> Option<ValueId> {
        self.sources.get(&stored).copied()
    }

    /// Whether nothing is printed for a value.
    pub(super) fn skips(&self, value: ValueId) -> bool {
        self.skipped.contains(&value)
    }
}

/// The `x` of `cast (select (|x| < least normal), (x * 0), x)`, and what is between the two.
fn rounded(pattern: &Pattern<'_>, value: ValueId) -> Option<(ValueId, [ValueId; 4])> {
    let Rhs::Cast(from) = *pattern.read(value, 1)? else {
        return None;
    };
    if pattern.dtype(value) != DType::BF16 || pattern.dtype(from) != DType::F32 {
        return None;
    }
    let &[is_small, zero, x] = pattern.applied(from, ScalarOp::Select)? else {
        return None;
    };
    let &[size, least] = pattern.applied(is_small, ScalarOp::Lt)? else {
        return None;
    };
    let &[of_zero, by] = pattern.applied(zero, ScalarOp::Mul)? else {
        return None;
    };
    let is_of_x = pattern.applied(size, ScalarOp::Abs)? == [x] && of_zero == x;
    let is_least = pattern.is(least, f32::MIN_POSITIVE.to_bits()) && pattern.is(by, 0);
    (is_of_x && is_least).then_some((x, [from, is_small, size, zero]))
}
