//! What operators had and meant in old opsets: attributes that are gone, and, before opset 7,
//! operands of two ranks that are aligned by attributes.

use alula_ir::ValueId;
use alula_tensor::Dim;

use super::{RowCtx, RowError};

/// Attributes of binary operators before version 7.
pub(super) const BROADCAST: &[&str] = &["axis", "broadcast", "consumed_inputs"];

/// Attributes that an operator had before a version, most of which are inputs from then on.
const RETIRED: &[(&str, &[&str], i64)] = &[
    ("Clip", &["max", "min"], 11),
    ("Dropout", &["ratio"], 12),
    ("GRU", &["output_sequence"], 7),
    ("InstanceNormalization", &["consumed_inputs"], 6),
    ("LSTM", &["output_sequence"], 7),
    ("Pad", &["pads", "value"], 11),
    ("RNN", &["output_sequence"], 7),
    ("ReduceL1", &["axes"], 18),
    ("ReduceL2", &["axes"], 18),
    ("ReduceLogSum", &["axes"], 18),
    ("ReduceLogSumExp", &["axes"], 18),
    ("ReduceMax", &["axes"], 18),
    ("ReduceMean", &["axes"], 18),
    ("ReduceMin", &["axes"], 18),
    ("ReduceProd", &["axes"], 18),
    ("ReduceSum", &["axes"], 13),
    ("ReduceSumSquare", &["axes"], 18),
    ("Slice", &["axes", "ends", "starts"], 10),
    ("Split", &["split"], 13),
    ("Squeeze", &["axes"], 13),
    ("TopK", &["k"], 10),
    ("Unsqueeze", &["axes"], 13),
    ("Upsample", &["scales"], 9),
];

/// Whether an opset of the main domain has an attribute of an operator no more.
pub(crate) fn is_retired(op_type: &str, attribute: &str, opset: i64) -> bool {
    RETIRED.iter().any(|(name, attributes, version)| {
        *name == op_type && attributes.contains(&attribute) && opset >= *version
    })
}

/// Refuses attributes that only versions before `version` have.
pub(super) fn only_before(
    ctx: &RowCtx<'_, '_>,
    version: i64,
    names: &[&str],
) -> Result<(), RowError> {
    match names.iter().find(|name| ctx.has_attr(name)) {
        Some(name) if ctx.version >= version => Err(RowError::Invalid(format!(
            "version {} has no attribute {name}",
            ctx.version
        ))),
        _ => Ok(()),
    }
}

/// The two operands of a binary operator, so that they broadcast from the last axis.
///
/// Before version 7 the second one is broadcast only if `broadcast` says so, and its axes are
/// those of the first one from `axis` on. `consumed_inputs` allowed to overwrite operands and
/// never meant anything for the result.
pub(super) fn aligned(ctx: &mut RowCtx<'_, '_>) -> Result<[ValueId; 2], RowError> {
    only_before(ctx, 7, BROADCAST)?;
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    if ctx.version >= 7 {
        return Ok([a, b]);
    }
    let (a_ty, b_ty) = (ctx.ty(a)?, ctx.ty(b)?);
    let is_known_to_differ = |(a, b): (&Dim, &Dim)| a.as_const() != b.as_const() && a != b;
    if !ctx.flag("broadcast", false) {
        let differs = a_ty.rank() != b_ty.rank()
            || a_ty.shape.iter().zip(&b_ty.shape).any(is_known_to_differ);
        return match differs {
            true => Err(RowError::Invalid(format!(
                "{a_ty} and {b_ty} differ and are not broadcast"
            ))),
            false => Ok([a, b]),
        };
    }
    let Some(axis) = ctx.int("axis") else {
        return Ok([a, b]);
    };
    let rank = a_ty.rank() as i64;
    let axis = if axis < 0 { axis + rank } else { axis };
    let behind = rank - axis - b_ty.rank() as i64;
    if axis < 0 || behind < 0 {
        return Err(RowError::Invalid(format!(
            "{b_ty} does not fit {a_ty} from axis {axis} on"
        )));
    }
    let mut shape = b_ty.shape;
    shape.resize(shape.len() + behind as usize, Dim::new(1));
    Ok([a, ctx.view(b, shape)?])
}
