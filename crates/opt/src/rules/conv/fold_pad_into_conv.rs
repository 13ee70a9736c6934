//! Padding by zeros in front of a convolution is padding of the convolution.

use alula_ir::ValueId;
use alula_tensor::Dim;

use crate::patch::Patch;
use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    if let Some(value) = found.optional("v") {
        let value = splat_of(patch.graph(), value).ok_or("the padding is no constant")?;
        require(value.to_f64() == 0.0, "the padding is not 0")?;
    }
    let outer = patch
        .graph()
        .node(found.node(patch.graph(), "p"))
        .attrs
        .dims("pads")
        .to_vec();
    let rank = outer.len() / 2;
    let zero = |k: usize| outer[k].is(0) && outer[rank + k].is(0);
    require(zero(0) && zero(1), "batches or channels are padded")?;
    require(
        outer
            .iter()
            .all(|pad| pad.as_const().is_some_and(|pad| pad >= 0)),
        "it may cut",
    )?;
    let conv = patch.graph().node(found.root).clone();
    let mut attrs = conv.attrs;
    let spatial = rank - 2;
    let own = match attrs.has("pads") {
        true => attrs.dims("pads").to_vec(),
        false => vec![Dim::new(0); 2 * spatial],
    };
    let pads: Vec<Dim> = (0..2 * spatial)
        .map(|k| {
            let axis = if k < spatial {
                2 + k
            } else {
                rank + 2 + k - spatial
            };
            own[k].clone() + outer[axis].clone()
        })
        .collect();
    attrs.set("pads", pads);
    let operands = [
        Some(found.value("x")),
        Some(found.value("w")),
        found.optional("b"),
    ];
    Ok(patch.push_op(conv.op, &operands, attrs, 1)?[0])
}

/// The rule.
pub(crate) const RULE: Rule =
    Rule::exact("fold_pad_into_conv", "conv(pad(x)) becomes conv(x) {pads}")
        .matching(&["conv(%p=pad(?x, ?v?){pads = ?q}, ?w, ?b?){..}"])
        .sharing()
        .build(build);
