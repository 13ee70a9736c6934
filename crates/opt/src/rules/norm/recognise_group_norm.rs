//! An instance normalization over reshaped groups of channels, scaled by channel afterwards: how a group
//! normalization is exported.

use alula_ir::{Attrs, ValueId};
use alula_tensor::Dim;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let x = found.value("x");
    let (shape, grouped) = (patch.shape(x)?, patch.shape(found.value("r"))?);
    fits(shape.len() >= 3 && patch.shape(found.value("u"))? == shape)?;
    let groups = grouped
        .get(1)
        .and_then(Dim::as_const)
        .ok_or("the groups are not known")?;
    let keeps_batch = grouped[0] == shape[0];
    let channels = shape[1].as_const().ok_or("the channels are not known")?;
    require(
        keeps_batch && groups > 0 && channels % groups == 0,
        "groups are no channels",
    )?;
    let scale = patch.along_axis(found.value("k"), &shape, 1)?;
    let bias = patch.along_axis(found.value("b"), &shape, 1)?;
    let all = |value| Attrs::new().with("to", vec![Dim::new(value)]);
    let scale = patch.apply("expand", &[scale], all(channels))?;
    let bias = patch.apply("expand", &[bias], all(channels))?;
    let node = patch.graph().node(found.node(patch.graph(), "i"));
    let epsilon = node.attrs.float("epsilon");
    let attrs = Attrs::new().with("groups", groups).with("epsilon", epsilon);
    patch.apply("group_norm", &[x, scale, bias], attrs)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("recognise_group_norm", "an instance_norm over reshaped groups becomes group_norm")
    .matching(&["add(mul(%u=reshape(%i=instance_norm(%r=reshape(?x:float){..}, 1, 0){..}){..}, ?k:const), ?b:const)"])
    .build(build);
