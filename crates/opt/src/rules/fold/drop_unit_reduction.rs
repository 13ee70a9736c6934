//! Sums, means, products, maxima and minima of one element are that element.

use alula_ir::ValueId;

use crate::axes::axes_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let x = found.value("x");
    let ty = patch.ty(x)?;
    let attrs = &patch.graph().node(found.root).attrs;
    let axes = axes_of(attrs.ints("axes"), ty.rank());
    fits(axes.iter().all(|axis| ty.shape[*axis].is(1)))?;
    let to = patch.shape(found.result)?;
    patch.reshape(x, to)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_unit_reduction",
    "a reduction over one element becomes a reshape",
)
.matching(&["reduce_sum|reduce_mean|reduce_prod|reduce_max|reduce_min(?x){..}"])
.build(build);
