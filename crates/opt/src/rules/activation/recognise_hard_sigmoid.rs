//! `clip(x + 3, 0, 6) / 6`, as MobileNets spell it.

use alula_ir::{Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let attrs = Attrs::new().with("alpha", 1.0 / 6.0).with("beta", 0.5);
    patch.apply("hard_sigmoid", &[found.value("x")], attrs)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_hard_sigmoid",
    "clip(x + 3, 0, 6) / 6 becomes hard_sigmoid(x)",
)
.matching(&[
    "div(clip(add(?x:float, 3), 0, 6), 6)",
    "mul(clip(add(?x:float, 3), 0, 6), ~0.16666666666666666)",
])
.build(build);
