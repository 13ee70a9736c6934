//! Weights that a model keeps as integers and scales itself are dequantized as by the operator: their
//! difference with a zero point is exact in `f32`, and rounding happens once, where the scale comes
//! in. So they stay as small as they are.

use alula_ir::{Attrs, ValueId};
use alula_tensor::{DType, Dim};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (steps, scale) = (found.value("q"), found.value("s"));
    let (stored, result) = (patch.ty(steps)?, patch.ty(found.result)?);
    fits(stored.dtype.is_integer())?;
    require(stored.dtype.bits() <= 16, "the integers are wide")?;
    require(result.dtype == DType::F32, "the real numbers are not f32")?;
    require(
        result.shape == stored.shape,
        "the scale repeats the integers",
    )?;
    let axis = axis_of_scale(patch, scale, result.rank())?;
    let to: Vec<Dim> = match axis {
        Some(axis) => vec![result.shape[axis].clone()],
        None => Vec::new(),
    };
    let scale = patch.apply("reshape", &[scale], Attrs::new().with("to", to.clone()))?;
    let zero_point = match found.optional("z") {
        Some(zero) => Some(zero_point(
            patch,
            zero,
            stored.dtype,
            axis,
            result.rank(),
            &to,
        )?),
        None => None,
    };
    let attrs = Attrs::new().with("axis", axis.unwrap_or(0) as i64);
    let operands = [Some(steps), Some(scale), zero_point];
    Ok(patch.push("dequantize_linear", &operands, attrs, 1)?[0])
}

/// The axis that a constant has an element for each index of; `None` if it has one for all.
fn axis_of_scale(patch: &Patch<'_>, value: ValueId, rank: usize) -> Result<Option<usize>, Miss> {
    let shape = patch.shape(value)?;
    let mut axes = (0..shape.len()).filter(|axis| !shape[*axis].is(1));
    let axis = axes.next().map(|axis| axis + rank - shape.len());
    require(axes.next().is_none(), "the scale goes along several axes")?;
    Ok(axis)
}

/// The zero point as the operator takes it: stored as the integers are, of the scale's shape.
fn zero_point(
    patch: &mut Patch<'_>,
    value: ValueId,
    dtype: DType,
    axis: Option<usize>,
    rank: usize,
    to: &[Dim],
) -> Result<ValueId, Miss> {
    let own = axis_of_scale(patch, value, rank)?;
    require(
        own.is_none() || own == axis,
        "zero points go along another axis",
    )?;
    let tensor = patch.graph().as_constant(value).ok_or(Miss::NONE)?;
    let (least, greatest) = dtype.int_range().ok_or(Miss::NONE)?;
    let is_stored =
        |zero: f64| zero.fract() == 0.0 && zero >= least as f64 && zero <= greatest as f64;
    require(
        tensor.to_f64s().into_iter().all(is_stored),
        "a zero point is none of the integers",
    )?;
    let zero = patch.apply("cast", &[value], Attrs::new().with("to", dtype))?;
    let repeats = own.is_none() && axis.is_some();
    let shape = if repeats {
        vec![Dim::new(1)]
    } else {
        to.to_vec()
    };
    let zero = patch.apply("reshape", &[zero], Attrs::new().with("to", shape))?;
    match repeats {
        true => patch.apply("expand", &[zero], Attrs::new().with("to", to.to_vec())),
        false => Ok(zero),
    }
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "recognise_dequantize",
    "(cast(q) - z) * s of stored integers becomes dequantize(q, s, z)",
)
.matching(&[
    "mul(cast(?q:const){..}, ?s:const)",
    "mul(sub(cast(?q:const){..}, ?z:const), ?s:const)",
])
.build(build);
