//! Powers divided by their sum, with or without the greatest value taken off first. Softmax takes it off
//! always, which changes nothing but overflow.

use alula_ir::{Attr, Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let Some(Attr::Ints(axes)) = found.attr("a") else {
        return Err(Miss::NONE);
    };
    let [axis] = axes.as_slice() else {
        return Err("there are several axes".into());
    };
    patch.apply(
        "softmax",
        &[found.value("x")],
        Attrs::new().with("axis", *axis),
    )
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_softmax",
    "exp(x) / sum(exp(x)) becomes softmax(x)",
)
.matching(&[
    "div(%e=exp(sub(?x:float, reduce_max(?x){axes = ?a})), reduce_sum(%e){axes = ?a})",
    "div(%e=exp(?x:float), reduce_sum(%e){axes = ?a})",
])
.build(build);
