//! Quantization: from real numbers to integers (or narrow floats) and back.
//!
//! A scale and a zero point hold for the whole tensor (one element), for each index of an axis
//! (rank 1), or for each block along an axis (rank of the tensor, with the axis divided).

mod annotation;
mod dequantize;
mod quantize;
mod requantize;
mod rescale;

use alula_ir::{AttrSpec, Attrs, InferCtx, InferError, OpDef};
use alula_kernel::{Compute, ExprId};
use alula_tensor::{DType, Dim, Scalar, ScalarOp, TensorType};

pub(crate) use annotation::rounded;
pub use annotation::{QuantParams, annotation_of};
pub use dequantize::DEQUANTIZE_LINEAR;
pub use quantize::QUANTIZE_LINEAR;
pub use requantize::REQUANTIZE;
pub use rescale::RESCALE;

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&QUANTIZE_LINEAR, &DEQUANTIZE_LINEAR, &REQUANTIZE, &RESCALE];

const AXIS: AttrSpec = AttrSpec::int("axis", 1, "axis of scales and zero points");
const BLOCK: AttrSpec = AttrSpec::int("block", 0, "elements along the axis that share a scale");

/// Over which elements a scale holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// All.
    Tensor,
    /// Those of one index of the axis.
    Axis(usize),
    /// Those of a block along the axis.
    Block { axis: usize, size: i64 },
}

/// How a scale of this type is shared. It was checked by [`check_scale`].
fn share(attrs: &Attrs, rank: usize, scale: &TensorType) -> Share {
    let axis = attrs.int("axis");
    let axis = (if axis < 0 { axis + rank as i64 } else { axis }) as usize;
    match attrs.int("block") {
        0 if scale.rank() == 0 || (scale.rank() == 1 && scale.shape[0].is(1)) => Share::Tensor,
        0 => Share::Axis(axis),
        size => Share::Block { axis, size },
    }
}

/// The dtype of bytes that a node stores, by its attribute.
fn byte_result(ctx: &InferCtx<'_>) -> Result<DType, InferError> {
    let dtype = ctx.attrs.dtype("dtype");
    match dtype {
        DType::I8 | DType::U8 => Ok(dtype),
        _ => Err(InferError::BadAttr {
            name: "dtype".to_owned(),
            reason: format!("is {dtype}, must be i8 or u8"),
        }),
    }
}

/// A rounded value within a byte's range.
fn saturated(value: f64, dtype: DType) -> Scalar {
    let (least, greatest) = match dtype {
        DType::I8 => (-128.0, 127.0),
        _ => (0.0, 255.0),
    };
    Scalar::Float(value.clamp(least, greatest))
}

/// Checks that scale (operand 1) and zero point or offset (operand 2, if there) fit the tensor
/// (operand 0).
fn check_scale(ctx: &InferCtx<'_>) -> Result<(), InferError> {
    let (x, scale) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if ctx.has(2) {
        let zero = ctx.tensor(2)?;
        let same = zero.rank() == scale.rank()
            && zero
                .shape
                .iter()
                .zip(&scale.shape)
                .all(|(z, s)| may_equal(z, s));
        let both_one = zero.num_elements().is(1) && scale.num_elements().is(1);
        if !same && !both_one {
            return Err(InferError::Mismatch(format!(
                "zero point {zero} has not the shape of scale {scale}"
            )));
        }
    }
    let (block, mismatch) = (ctx.attrs.int("block"), |why: String| {
        Err(InferError::Mismatch(format!("scale {scale} of {x}: {why}")))
    });
    if block < 0 {
        return mismatch(format!("blocks of {block} elements"));
    }
    if block > 0 {
        let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
        let fits = scale.rank() == x.rank()
            && scale
                .shape
                .iter()
                .zip(&x.shape)
                .enumerate()
                .all(|(k, (s, x))| match k == axis {
                    true => may_equal(s, &x.ceil_div(&Dim::new(block))),
                    false => may_equal(s, x),
                });
        return if fits {
            Ok(())
        } else {
            mismatch(format!("blocks of {block} on axis {axis}"))
        };
    }
    match scale.shape.as_slice() {
        [] => Ok(()),
        [extent] if extent.is(1) => Ok(()),
        [extent] => {
            let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
            match may_equal(extent, &x.shape[axis]) {
                true => Ok(()),
                false => mismatch(format!("one for each index of axis {axis}")),
            }
        }
        _ => mismatch("needs a block size".to_owned()),
    }
}

fn may_equal(a: &Dim, b: &Dim) -> bool {
    a == b || a.as_const().is_none() || b.as_const().is_none()
}

/// The scale or zero point for the element at the output position.
fn load_param(c: &mut Compute, operand: usize, share: Share) -> ExprId {
    let out = c.indices();
    let rank = c.operands[operand].shape.len();
    let index = match share {
        Share::Tensor => vec![c.pool.int(0); rank],
        Share::Axis(axis) => vec![out[axis]],
        Share::Block { axis, size } => {
            let mut index = out;
            let size = c.pool.int(size);
            index[axis] = c.pool.apply(ScalarOp::FloorDiv, &[index[axis], size]);
            index
        }
    };
    c.load(operand, index)
}

/// The position of the scale for an element, in references.
fn param_position(at: &[usize], share: Share, scale_shape: &[usize]) -> usize {
    match share {
        Share::Tensor => 0,
        Share::Axis(axis) => at[axis],
        Share::Block { axis, size } => {
            let mut index = at.to_vec();
            index[axis] /= size as usize;
            crate::points::ravel(&index, scale_shape)
        }
    }
}
