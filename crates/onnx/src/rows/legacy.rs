//! What operators meant before opset 7: operands of two ranks that are aligned by attributes.

use alula_ir::ValueId;
use alula_tensor::Dim;

use super::{RowCtx, RowError};

/// Attributes of binary operators before version 7.
pub(super) const BROADCAST: &[&str] = &["axis", "broadcast"];
/// Those of arithmetic ones, which before version 6 could be told to overwrite operands.
pub(super) const CONSUMING: &[&str] = &["axis", "broadcast", "consumed_inputs"];

/// The two operands of a binary operator, so that they broadcast from the last axis.
///
/// Before version 7 the second one is broadcast only if `broadcast` says so, and its axes are
/// those of the first one from `axis` on. `consumed_inputs` allowed to overwrite operands and
/// never meant anything for the result.
pub(super) fn aligned(ctx: &mut RowCtx<'_, '_>) -> Result<[ValueId; 2], RowError> {
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
