//! A rectifier before or behind a clip is a lower bound of 0.

use alula_ir::{Attrs, Graph, ValueId};

use crate::patch::Patch;
use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, require};

/// A bound of a clip: infinitely far where it is absent.
fn bound(graph: &Graph, found: &Match<'_>, name: &str, absent: f64) -> Result<f64, Miss> {
    match found.optional(name) {
        None => Ok(absent),
        Some(value) => {
            let value = splat_of(graph, value)
                .ok_or("a bound is no constant")?
                .to_f64();
            require(!value.is_nan(), "a bound is NaN")?;
            Ok(value)
        }
    }
}

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let low = bound(patch.graph(), found, "l", f64::NEG_INFINITY)?;
    let high = bound(patch.graph(), found, "h", f64::INFINITY)?;
    require(low <= high && high >= 0.0, "the clip is below 0")?;
    let dtype = patch.ty(found.result)?.dtype;
    let low = patch.scalar(dtype, low.max(0.0));
    let operands = [Some(found.value("x")), Some(low), found.optional("h")];
    Ok(patch.push("clip", &operands, Attrs::new(), 1)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "merge_relu_into_clip",
    "relu(clip(x)) and clip(relu(x)) become one clip",
)
.matching(&[
    "relu(clip(?x:float, ?l?, ?h?))",
    "clip(relu(?x:float), ?l?, ?h?)",
])
.build(build);
