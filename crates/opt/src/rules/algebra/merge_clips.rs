//! Two clips in a row are one, where their ranges overlap.

use alula_ir::{Attrs, Graph, ValueId};

use crate::patch::Patch;
use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, fits, require};

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
    let graph = patch.graph();
    let inner = (
        bound(graph, found, "l", f64::NEG_INFINITY)?,
        bound(graph, found, "h", f64::INFINITY)?,
    );
    let outer = (
        bound(graph, found, "m", f64::NEG_INFINITY)?,
        bound(graph, found, "i", f64::INFINITY)?,
    );
    let (low, high) = (inner.0.max(outer.0), inner.1.min(outer.1));
    require(
        inner.0 <= inner.1 && outer.0 <= outer.1 && low <= high,
        "the ranges do not overlap",
    )?;
    let dtype = patch.ty(found.result)?.dtype;
    fits(dtype.bits() <= 32)?;
    let low = (low > f64::NEG_INFINITY).then(|| patch.scalar(dtype, low));
    let high = (high < f64::INFINITY).then(|| patch.scalar(dtype, high));
    Ok(patch.push(
        "clip",
        &[Some(found.value("x")), low, high],
        Attrs::new(),
        1,
    )?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("merge_clips", "clip(clip(x)) becomes one clip")
    .matching(&["clip(clip(?x, ?l?, ?h?), ?m?, ?i?)"])
    .build(build);
