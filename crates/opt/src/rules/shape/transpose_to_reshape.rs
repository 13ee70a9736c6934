//! A transposition that keeps the order of all axes but those of extent 1 moves no element.

use alula_ir::{Attrs, ValueId};

use crate::axes::permutation;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let x = found.value("x");
    let shape = patch.shape(x)?;
    let order = permutation(patch.graph(), found.root);
    let moving: Vec<usize> = order
        .iter()
        .copied()
        .filter(|&axis| !shape[axis].is(1))
        .collect();
    fits(moving.is_sorted() && !order.is_sorted())?;
    let to = patch.shape(found.result)?;
    patch.apply("reshape", &[x], Attrs::new().with("to", to))
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "transpose_to_reshape",
    "a transpose that only moves axes of extent 1 becomes a reshape",
)
.matching(&["transpose(?x){..}"])
.build(build);
