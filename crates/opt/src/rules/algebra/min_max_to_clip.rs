//! A maximum and a minimum with constants are a clip. The clip bounds below first, so a minimum that
//! comes first needs bounds in order.

use alula_ir::{Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let value = |name| splat_of(patch.graph(), found.value(name)).map(|value| value.to_f64());
    let (low, high) = (
        value("l").unwrap_or(f64::NAN),
        value("h").unwrap_or(f64::NAN),
    );
    require(low <= high, "the bounds are not in order")?;
    let dtype = patch.ty(found.result)?.dtype;
    fits(dtype.bits() <= 32)?;
    let (low, high) = (patch.scalar(dtype, low), patch.scalar(dtype, high));
    patch.apply("clip", &[found.value("x"), low, high], Attrs::new())
}

/// The rule.
pub(crate) const RULE: Rule =
    Rule::exact("min_max_to_clip", "min(max(x, l), h) becomes clip(x, l, h)")
        .matching(&[
            "min(max(?x, ?l:splat), ?h:splat)",
            "max(min(?x, ?h:splat), ?l:splat)",
        ])
        .build(build);
