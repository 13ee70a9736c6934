//! `MatMulNBits` of `com.microsoft`: a product with the transpose of a matrix of a few bits, whose
//! rows are blocks with a scale and a zero point each.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::quantization::DEQUANTIZE_LINEAR;
use alula_tensor::{DType, Dim, Scalar, Tensor};

use super::compose::Value;
use super::contraction::matmul;
use super::microsoft::{biased, unpacked};
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "MatMulNBits",
    &["K", "N", "accuracy_level", "bits", "block_size"],
    product,
)];

/// `K`, `N` and `block_size` of a product with a weight stored in blocks.
pub(super) fn sizes_of_blocks(ctx: &RowCtx<'_, '_>) -> Result<[usize; 3], RowError> {
    let need = |name: &str| {
        ctx.int(name)
            .and_then(|value| usize::try_from(value).ok())
            .filter(|value| *value > 0)
            .ok_or_else(|| RowError::Invalid(format!("attribute {name} must be positive")))
    };
    Ok([need("K")?, need("N")?, need("block_size")?])
}

fn product(ctx: &mut RowCtx<'_, '_>) -> Built {
    let sizes = sizes_of_blocks(ctx)?;
    let a = ctx.input(0)?;
    let weight = weight(ctx, sizes)?;
    let dtype = ctx.ty(a)?.dtype;
    let weight = ctx.cast(weight, dtype)?;
    let product = if ctx.rank(a)? == 1 {
        let columns = ctx.permute(weight, &[1, 0])?;
        matmul(ctx, a, columns)?
    } else {
        let attrs = Attrs::new().with("transpose_b", true);
        ctx.push(&MATMUL, &[a, weight], attrs)?
    };
    biased(ctx, product, ctx.optional(5))
}

/// `[n, k]` numbers of the dtype of the scales.
fn weight(ctx: &mut RowCtx<'_, '_>, [k, n, block]: [usize; 3]) -> Value {
    let bits = ctx.int_or("bits", 4);
    let dtype = match bits {
        2 => DType::U2,
        4 => DType::U4,
        8 => DType::U8,
        _ => return Err(RowError::Unsupported(format!("attribute bits is {bits}"))),
    };
    let blocks = k.div_ceil(block);
    let short = |what: &str| RowError::Invalid(format!("{what} do not fit N = {n}, K = {k}"));
    let (packed, scales) = (ctx.input(1)?, ctx.input(2)?);
    let packed = known(ctx, packed, "weights")?;
    // The padding of the last block is dropped.
    let codes = unpacked(packed.bytes(), dtype, n, k).ok_or_else(|| short("weights"))?;
    let codes = ctx.constant(codes);
    let shape = vec![Dim::new(n as i64), Dim::new(blocks as i64)];
    let scales = ctx.view(scales, shape.clone())?;
    let zero = match ctx.optional(3) {
        None => {
            let middle = vec![Scalar::Int(1 << (bits - 1)); n * blocks];
            let zero = Tensor::from_scalars(dtype, &[n, blocks], &middle);
            ctx.constant(zero.map_err(|_| short("zero points"))?)
        }
        Some(zero) if ctx.ty(zero)?.dtype == DType::U8 => {
            let packed = known(ctx, zero, "zero points")?;
            let zeros = unpacked(packed.bytes(), dtype, n, blocks);
            ctx.constant(zeros.ok_or_else(|| short("zero points"))?)
        }
        Some(zero) => ctx.view(zero, shape)?,
    };
    let order = match ctx.optional(4) {
        Some(order) => Some(known(ctx, order, "block numbers")?),
        None => None,
    };
    if order.is_none() && ctx.ty(zero)?.dtype == dtype {
        let attrs = Attrs::new().with("axis", 1_i64).with("block", block as i64);
        let name = ctx.name().to_owned();
        let operands = [Some(codes), Some(scales), Some(zero)];
        let weight = ctx
            .graph()
            .push(&DEQUANTIZE_LINEAR, &operands, attrs, &name)?;
        return Ok(weight[0]);
    }
    // The block of each element of a row: its own, or that of a quantizer that went by activation.
    let own = || Some((0..k).map(|at| (at / block) as i64).collect());
    let order: Option<Vec<i64>> = order.map_or_else(own, |order| order.to_i64s());
    let order = order.ok_or_else(|| short("block numbers"))?;
    if order.len() != k || order.iter().any(|at| *at < 0 || *at >= blocks as i64) {
        return Err(short("block numbers"));
    }
    let order = ctx.constant(Tensor::from_i64s(&order));
    let dtype = ctx.ty(scales)?.dtype;
    let (codes, zero) = (ctx.cast(codes, dtype)?, ctx.cast(zero, dtype)?);
    let (scales, zero) = (ctx.gather(scales, order, 1)?, ctx.gather(zero, order, 1)?);
    let centred = ctx.sub(codes, zero)?;
    ctx.mul(centred, scales)
}

fn known(ctx: &mut RowCtx<'_, '_>, value: ValueId, what: &str) -> Result<Tensor, RowError> {
    let tensor = ctx.as_constant(value);
    let reason = || RowError::Unsupported(format!("{what} that are computed while the model runs"));
    tensor.ok_or_else(reason)
}
