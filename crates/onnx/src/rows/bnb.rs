//! `MatMulBnb4` of `com.microsoft`: a product with a matrix whose codes of 4 bits stand for the
//! numbers of a table, in blocks with a scale each.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_tensor::{DType, Dim, Scalar, Tensor};

use super::compose::{Value, one_of};
use super::contraction::matmul;
use super::nbits::sizes_of_blocks;
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "MatMulBnb4",
    &[
        "K",
        "N",
        "block_size",
        "quant_type",
        "training_mode",
        "transB",
    ],
    product,
)];

/// What codes without the sign bit stand for in FP4, and all codes in NF4.
const FP4: [f32; 8] = [
    0.0,
    0.005_208_333_3,
    0.666_666_7,
    1.0,
    0.333_333_34,
    0.5,
    0.166_666_67,
    0.25,
];
const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

fn product(ctx: &mut RowCtx<'_, '_>) -> Built {
    let [k, n, block] = sizes_of_blocks(ctx)?;
    if ctx.int_or("training_mode", 0) != 0 {
        let reason = "attribute training_mode is not 0";
        return Err(RowError::Unsupported(reason.to_owned()));
    }
    let kind = ctx
        .int("quant_type")
        .map_or_else(String::new, |kind| kind.to_string());
    let table: Vec<f32> = match one_of("quant_type", &kind, &["0", "1"])? {
        0 => FP4.iter().copied().chain(FP4.iter().map(|x| -x)).collect(),
        _ => NF4.to_vec(),
    };
    let weight = weight(ctx, &table, [n, k, block])?;
    let a = ctx.input(0)?;
    let rank = ctx.rank(a)?;
    let y = match (ctx.flag("transB", true), rank) {
        (false, _) => matmul(ctx, a, weight)?,
        (true, 1) => {
            let columns = ctx.permute(weight, &[1, 0])?;
            matmul(ctx, a, columns)?
        }
        (true, _) => {
            let attrs = Attrs::new().with("transpose_b", true);
            ctx.push(&MATMUL, &[a, weight], attrs)?
        }
    };
    Ok(vec![y])
}

/// `[n, k]` real numbers: blocks run through the rows, the first of two codes is the upper half of
/// its byte.
fn weight(ctx: &mut RowCtx<'_, '_>, table: &[f32], [n, k, block]: [usize; 3]) -> Value {
    let (packed, scales) = (ctx.input(1)?, ctx.input(2)?);
    let packed = ctx.as_constant(packed).ok_or_else(|| {
        RowError::Unsupported("weights that are computed while the model runs".to_owned())
    })?;
    let misfit = |what: &str| RowError::Invalid(format!("{what} do not fit N = {n}, K = {k}"));
    let count = n.checked_mul(k).ok_or_else(|| misfit("sizes"))?;
    if packed.bytes().len() != count.div_ceil(2) {
        return Err(misfit("weights"));
    }
    let blocks = count.div_ceil(block);
    let scales_ty = ctx.ty(scales)?;
    if !scales_ty.num_elements().is(blocks as i64) {
        return Err(misfit("scales"));
    }
    // The last block is filled up.
    let mut codes = Tensor::zeros(DType::U8, &[blocks, block]).map_err(|_| misfit("weights"))?;
    for (at, code) in codes.bytes_mut().iter_mut().take(count).enumerate() {
        let byte = packed.bytes()[at / 2];
        *code = if at % 2 == 0 { byte >> 4 } else { byte & 15 };
    }
    let codes = ctx.constant(codes);
    let codes = ctx.cast(codes, DType::I32)?;
    let table: Vec<Scalar> = table.iter().map(|x| Scalar::Float(f64::from(*x))).collect();
    let table = Tensor::from_scalars(scales_ty.dtype, &[16], &table)
        .map_err(|error| RowError::Invalid(error.to_string()))?;
    let table = ctx.constant(table);
    let values: ValueId = ctx.gather(table, codes, 0)?;
    let scales = ctx.view(scales, vec![Dim::from(blocks), Dim::new(1)])?;
    let values = ctx.mul(values, scales)?;
    let flat = ctx.view(values, vec![Dim::from(blocks * block)])?;
    let flat = ctx.part(flat, 0, Dim::new(0), Dim::from(count))?;
    ctx.view(flat, vec![Dim::from(n), Dim::from(k)])
}
