//! A cast in between that loses nothing is not needed.

use alula_ir::ValueId;
use alula_tensor::DType;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

/// Whether every value of `from` is one of `to`.
fn holds_all(to: DType, from: DType) -> bool {
    let fraction_bits = |dtype| match dtype {
        DType::F64 => 53,
        DType::F32 => 24,
        DType::F16 => 11,
        DType::BF16 => 8,
        _ => 0,
    };
    let is_wide = matches!(to, DType::F32 | DType::F64);
    match (from.int_range(), to.int_range()) {
        _ if from == to => true,
        (Some((low, high)), Some((least, greatest))) => least <= low && high <= greatest,
        // Whole numbers that fit the fraction; the exponents of wide floats hold them.
        (Some(_), None) => is_wide && from.bits() <= fraction_bits(to),
        (None, None) => {
            is_wide && fraction_bits(from) > 0 && fraction_bits(from) < fraction_bits(to)
        }
        (None, Some(_)) => false,
    }
}

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let x = found.value("x");
    let (first, middle) = (patch.ty(x)?.dtype, patch.ty(found.value("m"))?.dtype);
    fits(middle != DType::Bool && first != DType::String && middle != DType::String)?;
    require(holds_all(middle, first), "the first cast loses something")?;
    let attrs = patch.graph().node(found.root).attrs.clone();
    if patch.ty(found.result)?.dtype == first {
        return Ok(x);
    }
    patch.apply("cast", &[x], attrs)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "merge_casts",
    "cast(cast(x)) becomes one cast where the first loses nothing",
)
.matching(&["cast(%m=cast(?x){..}){..}"])
.sharing()
.build(build);
