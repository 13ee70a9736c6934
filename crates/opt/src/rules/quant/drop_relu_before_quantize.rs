//! What is below the zero point saturates anyway: a rectifier does nothing before a quantization whose
//! zero point is the least value.

use alula_ir::{Graph, ValueId};

use crate::patch::Patch;
use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, require};

fn zero_point_is_least(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    let dtype = graph.ty(found.result).as_tensor().map(|ty| ty.dtype);
    let Some((least, _)) = dtype.and_then(|dtype| dtype.int_range()) else {
        return Err("the steps are no integers".into());
    };
    let zero_point = match found.optional("z") {
        Some(value) => splat_of(graph, value).and_then(|value| value.as_int()),
        None => Some(0),
    };
    require(
        zero_point == Some(least),
        "the zero point is not the least value",
    )?;
    let scales = graph
        .as_constant(found.value("s"))
        .ok_or(Miss::NONE)?
        .to_f64s();
    require(
        scales.into_iter().all(|scale| scale > 0.0),
        "a scale is not positive",
    )
}

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let operands = [
        Some(found.value("x")),
        Some(found.value("s")),
        found.optional("z"),
    ];
    Ok(patch.with_operands(found.root, &operands)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_relu_before_quantize",
    "quantize(relu(x)) becomes quantize(x) where negative values saturate",
)
.matching(&["quantize_linear(relu(?x:float), ?s:const, ?z?){axis = ?a, block = ?b, dtype = ?t}"])
.when(zero_point_is_least)
.build(build);
