//! A value divided by its norm, with a bound against zero that ordinary values do not reach. Below the
//! bound the two differ.

use alula_ir::{Attr, Attrs, Graph, ValueId};

use crate::patch::Patch;
use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, require};

fn bound_is_tiny(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    let bound = splat_of(graph, found.value("b")).map_or(1.0, |bound| bound.to_f64());
    require((0.0..=1e-6).contains(&bound), "the bound is not tiny")
}

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let Some(Attr::Ints(axes)) = found.attr("a") else {
        return Err(Miss::NONE);
    };
    let [axis] = axes.as_slice() else {
        return Err("there are several axes".into());
    };
    patch.apply(
        "lp_normalization",
        &[found.value("x")],
        Attrs::new().with("axis", *axis),
    )
}

/// The rule.
pub(crate) const RULE: Rule = Rule::approximate(
    "recognise_l2_normalization",
    "x / max(norm of x, tiny) becomes lp_normalization(x)",
)
.matching(&[
    "div(?x:float, max(reduce_l2(?x){axes = ?a}, ?b:splat))",
    "div(?x:float, clip(reduce_l2(?x){axes = ?a}, ?b:splat))",
])
.when(bound_is_tiny)
.build(build);
