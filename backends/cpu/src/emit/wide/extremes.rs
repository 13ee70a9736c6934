//! Selections of f32 that are one instruction: the lesser or greater of two.
//!
//! `minps` gives its first operand where that is less, and its second one otherwise, whatever they
//! are: `select(lt(a, b), a, b)`, for NaN and zeros of both signs, too. `maxps` is the same for
//! what is greater.

use std::collections::{BTreeMap, BTreeSet};

use alula_kernel::{Inst, ValueId};
use alula_tensor::{DType, ScalarOp};
use iced_x86::Code;

use super::pattern::{Pattern, operands};

const MIN: Code = Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae;
const MAX: Code = Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae;

/// What a loop over lanes selects so.
#[derive(Default)]
pub(super) struct Extremes {
    /// Results, with the instruction and its operands.
    results: BTreeMap<ValueId, (Code, [ValueId; 2])>,
    /// Comparisons that nothing else needs.
    skipped: BTreeSet<ValueId>,
}

impl Extremes {
    pub(super) fn find(pattern: &Pattern<'_>) -> Extremes {
        let mut extremes = Extremes::default();
        for inst in pattern.body() {
            let Inst::Let { id, rhs } = inst else {
                continue;
            };
            let Some(&[cond, x, y]) = operands(rhs, ScalarOp::Select) else {
                continue;
            };
            let Some(&[a, b]) = pattern.applied(cond, ScalarOp::Lt) else {
                continue;
            };
            let code = match ([x, y] == [a, b], [x, y] == [b, a]) {
                (true, _) => MIN,
                (false, true) => MAX,
                (false, false) => continue,
            };
            if pattern.dtype(*id) == DType::F32 && x != y {
                extremes.results.insert(*id, (code, [x, y]));
                extremes.skipped.insert(cond);
            }
        }
        extremes
    }

    /// The instruction of a result, and its operands.
    pub(super) fn of(&self, result: ValueId) -> Option<(Code, &[ValueId; 2])> {
        let (code, operands) = self.results.get(&result)?;
        Some((*code, operands))
    }

    /// Whether nothing is printed for a value.
    pub(super) fn skips(&self, value: ValueId) -> bool {
        self.skipped.contains(&value)
    }
}
