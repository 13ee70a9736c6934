//! The nine operators of a layer normalization: difference from the mean, its square's mean, root,
//! quotient.

use alula_ir::{Attr, Attrs, ValueId};

use crate::axes::{are_trailing, axes_of};
use crate::patch::Patch;
use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let x = found.value("x");
    let rank = patch.ty(x)?.rank();
    let Some(Attr::Ints(axes)) = found.attr("a") else {
        return Err(Miss::NONE);
    };
    let axes = axes_of(axes, rank);
    require(are_trailing(&axes, rank), "the axes are not the last ones")?;
    let epsilon = splat_of(patch.graph(), found.value("e")).map_or(0.0, |value| value.to_f64());
    require(epsilon >= 0.0, "epsilon is negative")?;
    let attrs = Attrs::new()
        .with("axis", axes[0] as i64)
        .with("epsilon", epsilon);
    patch.apply("layer_norm", &[x], attrs)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("recognise_layer_norm", "(x - mean) / sqrt(mean of squares + e) becomes layer_norm(x)")
    .matching(&[
        "div(%d=sub(?x:float, reduce_mean(?x){axes = ?a}), sqrt(add(reduce_mean(pow(%d, 2)){axes = ?a}, ?e:splat)))",
        "div(%d=sub(?x:float, reduce_mean(?x){axes = ?a}), sqrt(add(reduce_mean(mul(%d, %d)){axes = ?a}, ?e:splat)))",
        "mul(%d=sub(?x:float, reduce_mean(?x){axes = ?a}), div(1, sqrt(add(reduce_mean(pow(%d, 2)){axes = ?a}, ?e:splat))))",
        "mul(%d=sub(?x:float, reduce_mean(?x){axes = ?a}), div(1, sqrt(add(reduce_mean(mul(%d, %d)){axes = ?a}, ?e:splat))))",
        "mul(%d=sub(?x:float, reduce_mean(?x){axes = ?a}), pow(add(reduce_mean(pow(%d, 2)){axes = ?a}, ?e:splat), -0.5))",
        "mul(%d=sub(?x:float, reduce_mean(?x){axes = ?a}), pow(add(reduce_mean(mul(%d, %d)){axes = ?a}, ?e:splat), -0.5))",
    ])
    .build(build);
