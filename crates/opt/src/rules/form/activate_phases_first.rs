//! What works on single elements comes before the phases of a transposed convolution are put
//! between one another, where it is part of the convolution.

use alula_ir::ValueId;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let conv = found.value("x");
    let producer = patch
        .graph()
        .producer(conv)
        .map(|id| patch.graph().node(id).op.name);
    require(producer == Some("conv"), "no convolution is moved about")?;
    let mut made = patch.with_operands(found.root, &[Some(conv)])?[0];
    made = patch.moved(found.node(patch.graph(), "p"), made)?;
    // What is cut off is cut last.
    let moved = patch.graph().node(found.root).operands[0];
    let cut = moved.and_then(|moved| patch.graph().producer(moved));
    match cut.filter(|&cut| patch.graph().node(cut).op.name == "slice") {
        Some(cut) => patch.moved(cut, made),
        None => Ok(made),
    }
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "activate_phases_first",
    "f(phases of conv(x) put between one another) becomes phases of f(conv(x)) put so",
)
.matching(&[
    "relu|leaky_relu|sigmoid|tanh|silu|gelu|hard_sigmoid|hard_swish|softplus|mish|elu(%p=depth_to_space(?x){..}){..}",
    "relu|leaky_relu|sigmoid|tanh|silu|gelu|hard_sigmoid|hard_swish|softplus|mish|elu(slice(%p=depth_to_space(?x){..}){..}){..}",
])
.build(build);
