//! `GatherBlockQuantized` of `com.microsoft`: rows of a table that is stored in blocks with a scale
//! each.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{AND, GE, LT, MAX, MIN};
use alula_ops::quantization::DEQUANTIZE_LINEAR;
use alula_tensor::{DType, Dim, Scalar, Tensor, TensorType};

use super::compose::Value;
use super::microsoft::unpacked;
use super::shape::normal_axis;
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "GatherBlockQuantized",
    &["bits", "block_size", "gather_axis", "quantize_axis"],
    gather_blocks,
)];

fn gather_blocks(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (data, indices) = (ctx.input(0)?, ctx.input(1)?);
    let ty = ctx.ty(data)?;
    let gather_axis = normal_axis(ctx.int_or("gather_axis", 0), ty.rank())?;
    let axis = normal_axis(ctx.int_or("quantize_axis", 1), ty.rank())?;
    let table = table(ctx, data, &ty, [gather_axis, axis])?;
    let rows = ctx.ty(table)?.shape[gather_axis].clone();
    let indices = ctx.cast(indices, DType::I64)?;
    let rank = ctx.rank(indices)?;
    // An index outside of the axis reads zeros.
    let (first, end) = (ctx.dim(Dim::new(0) - rows.clone())?, ctx.dim(rows.clone())?);
    let last = ctx.dim(rows - Dim::new(1))?;
    let (above, below) = (
        ctx.op(&GE, &[indices, first])?,
        ctx.op(&LT, &[indices, end])?,
    );
    let exists = ctx.op(&AND, &[above, below])?;
    let near = ctx.op(&MAX, &[indices, first])?;
    let near = ctx.op(&MIN, &[near, last])?;
    let y = ctx.gather(table, near, gather_axis)?;
    let mut to = ctx.ty(exists)?.shape;
    to.resize(rank + ty.rank() - 1 - gather_axis, Dim::new(1));
    let exists = ctx.view(exists, to)?;
    let zero = ctx.number(y, 0.0)?;
    Ok(vec![ctx.select(exists, y, zero)?])
}

/// The real numbers of the whole table.
fn table(
    ctx: &mut RowCtx<'_, '_>,
    data: ValueId,
    ty: &TensorType,
    [gather_axis, axis]: [usize; 2],
) -> Value {
    let block = ctx.int_or("block_size", 128);
    let bits = ctx.int_or("bits", 4);
    let mut scales = ctx.input(2)?;
    if ty.dtype.is_float() {
        if ctx.optional(3).is_some() {
            let reason = format!("zero points of {}", ty.dtype);
            return Err(RowError::Invalid(reason));
        }
        scales = spread_scales(ctx, scales, ty, axis)?;
        if block == 0 {
            let dtype = ctx.ty(scales)?.dtype;
            let table = ctx.cast(data, dtype)?;
            return ctx.mul(table, scales);
        }
    }
    if block < 16 || !(block as u64).is_power_of_two() {
        return Err(RowError::Invalid(format!(
            "attribute block_size is {block}, no power of two from 16 on"
        )));
    }
    let zeros = ctx.optional(3);
    let (codes, zeros) = match ty.dtype {
        DType::U8 => {
            let dtype = match bits {
                2 => DType::U2,
                4 => DType::U4,
                8 => DType::U8,
                _ => return Err(RowError::Invalid(format!("attribute bits is {bits}"))),
            };
            if gather_axis != 0 || (bits < 8 && axis == 0) {
                return Err(RowError::Invalid(format!(
                    "axes {gather_axis} to gather and {axis} of blocks for {ty} of {bits} bits"
                )));
            }
            let codes = loosened(ctx, data, dtype, None)?;
            let scales_ty = ctx.ty(scales)?;
            let zeros = match zeros {
                Some(zeros) => loosened(ctx, zeros, dtype, scales_ty.shape.last())?,
                None => {
                    let middle = Tensor::from_scalars(dtype, &[], &[Scalar::Int(1 << (bits - 1))]);
                    let middle = middle.map_err(|error| RowError::Invalid(error.to_string()))?;
                    let middle = ctx.constant(middle);
                    ctx.expand(middle, scales_ty.shape)?
                }
            };
            (codes, Some(zeros))
        }
        DType::I4 | DType::U4 if bits != 4 => {
            let reason = format!("attribute bits is {bits} for {}", ty.dtype);
            return Err(RowError::Invalid(reason));
        }
        _ => (data, zeros),
    };
    let attrs = Attrs::new().with("axis", axis as i64).with("block", block);
    let mut operands = vec![codes, scales];
    operands.extend(zeros);
    ctx.push(&DEQUANTIZE_LINEAR, &operands, attrs)
}

/// Scales of extent 1 on axes other than that of the blocks are those of the whole axis.
fn spread_scales(ctx: &mut RowCtx<'_, '_>, scales: ValueId, ty: &TensorType, axis: usize) -> Value {
    let mut to = ctx.ty(scales)?.shape;
    if to.len() != ty.rank() {
        return Err(RowError::Invalid(format!(
            "scales of rank {} for {ty}",
            to.len()
        )));
    }
    for (k, extent) in to.iter_mut().enumerate() {
        if k != axis && extent.is(1) {
            *extent = ty.shape[k].clone();
        }
    }
    ctx.expand(scales, to)
}

/// Bytes that hold several codes of the last axis each, as one code an element: as many as there
/// are, or the first ones of each row.
fn loosened(ctx: &mut RowCtx<'_, '_>, value: ValueId, dtype: DType, last: Option<&Dim>) -> Value {
    if dtype == DType::U8 {
        return Ok(value);
    }
    let packed = ctx.as_constant(value).ok_or_else(|| {
        RowError::Unsupported("a packed table that is computed while the model runs".to_owned())
    })?;
    let (Some(bytes), bits) = (packed.shape().last().copied(), dtype.bits() as usize) else {
        return Err(RowError::Invalid("a packed table without axes".to_owned()));
    };
    let count = match last.and_then(Dim::as_const) {
        Some(count) => usize::try_from(count).unwrap_or(0),
        None => bytes * (8 / bits),
    };
    let rows: usize = packed.shape().iter().rev().skip(1).product();
    let misfit = || RowError::Invalid(format!("{count} codes in rows of {bytes} bytes"));
    let codes = unpacked(packed.bytes(), dtype, rows, count).ok_or_else(misfit)?;
    let mut to: Vec<Dim> = packed.shape().iter().map(|n| Dim::from(*n)).collect();
    if let Some(last) = to.last_mut() {
        *last = Dim::from(count);
    }
    let codes = ctx.constant(codes);
    ctx.view(codes, to)
}
