//! Contractions of 16-bit floats take `f32`, for which back ends have micro-kernels: sums are of
//! that dtype anyway, and one rounding is left, of the result.

use alula_ir::ValueId;
use alula_tensor::DType;

use crate::channels::cast;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let dtype = patch.ty(found.value("x"))?.dtype;
    require(
        matches!(dtype, DType::F16 | DType::BF16),
        "the operands are not floats of 16 bits",
    )?;
    let operands = patch.graph().node(found.root).operands.clone();
    let mut wide = Vec::with_capacity(operands.len());
    for operand in operands {
        wide.push(match operand {
            Some(operand) => Some(cast(patch, operand, DType::F32)?),
            None => None,
        });
    }
    let made = patch.with_operands(found.root, &wide)?[0];
    cast(patch, made, dtype)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "contract_in_f32",
    "f(x, w) of 16-bit floats becomes f of both as f32, rounded back",
)
.matching(&["matmul(?x, ?w){..}", "conv(?x, ?w, ?b?){..}"])
.build(build);
