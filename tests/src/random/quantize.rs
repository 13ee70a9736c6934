//! Quantized values: steps there and back, integer products.

use alula_ir::Attrs;
use alula_tensor::{DType, Dim, Tensor};

use super::elementwise::broadcasts;
use super::{Draw, Maker};

/// Quantization of a value, often followed by its inverse; products of integers.
pub(super) fn quantize(maker: &mut Maker) -> Option<()> {
    if maker.random.chance(3) {
        return product(maker);
    }
    let x = maker.pick(|ty| ty.dtype == DType::F32 || ty.dtype == DType::F16)?;
    let (dtype, shape) = (maker.dtype(x), maker.shape(x));
    let stored = *maker
        .random
        .pick(&[DType::U8, DType::I8, DType::I8, DType::I16, DType::I4]);
    let axis = maker.random.index(shape.len().max(1));
    let channels = shape
        .get(axis)
        .and_then(Dim::as_const)
        .filter(|_| maker.random.chance(2));
    let (count, extents): (usize, Vec<usize>) = match channels {
        Some(count) => (count as usize, vec![count as usize]),
        None => (1, vec![]),
    };
    // Powers of two and others: the first divide exactly.
    let scales: Vec<alula_tensor::Scalar> = (0..count)
        .map(|_| *maker.random.pick(&[0.125, 0.25, 0.0625, 0.1, 0.037]))
        .map(|scale| alula_tensor::Scalar::Float(scale).cast(dtype))
        .collect();
    let scale = maker.constant(Tensor::from_scalars(dtype, &extents, &scales).ok()?);
    let zero = match maker.random.chance(2) {
        true => None,
        false => {
            let zeros = super::draw(&mut maker.random, stored, &extents, Draw::Ints(0, 5));
            Some(maker.constant(zeros))
        }
    };
    let attrs = Attrs::new().with("axis", axis as i64);
    let there = attrs.clone().with("dtype", stored);
    let q = maker.push("quantize_linear", &[Some(x), Some(scale), zero], there, 1)?[0];
    if maker.random.chance(3) {
        let perm: Vec<i64> = (0..shape.len() as i64).rev().collect();
        if channels.is_none() {
            let q = maker.apply("transpose", &[q], Attrs::new().with("perm", perm))?;
            maker.push("dequantize_linear", &[Some(q), Some(scale), zero], attrs, 1)?;
            return Some(());
        }
    }
    if !maker.random.chance(4) {
        maker.push("dequantize_linear", &[Some(q), Some(scale), zero], attrs, 1)?;
    }
    Some(())
}

/// `matmul_integer` on bytes.
fn product(maker: &mut Maker) -> Option<()> {
    let is_byte = |dtype: DType| dtype == DType::U8 || dtype == DType::I8;
    let a = match maker.pick(|ty| is_byte(ty.dtype) && ty.rank() >= 2) {
        Some(a) => a,
        None => {
            let shape = vec![maker.extent(), maker.extent()];
            let dtype = *maker.random.pick(&[DType::U8, DType::I8]);
            maker.leaf(dtype, shape, Draw::of(dtype))
        }
    };
    let shape = maker.shape(a);
    let inner = shape.last()?.clone();
    let found = maker.pick(|ty| {
        is_byte(ty.dtype)
            && ty.rank() >= 2
            && ty.shape[ty.rank() - 2] == inner
            && broadcasts(&ty.shape[..ty.rank() - 2], &shape[..shape.len() - 2])
    });
    let b = match found {
        Some(b) if maker.random.chance(2) => b,
        _ => {
            let outer = maker.extent();
            maker.leaf(DType::I8, vec![inner, outer], Draw::Ints(-100, 100))
        }
    };
    let zero = |maker: &mut Maker, dtype: DType| {
        let zero = super::draw(&mut maker.random, dtype, &[], Draw::Ints(0, 9));
        maker.constant(zero)
    };
    let za = zero(maker, maker.dtype(a));
    let zb = zero(maker, maker.dtype(b));
    let za = maker.random.chance(2).then_some(za);
    let zb = maker.random.chance(2).then_some(zb);
    let y = maker.push(
        "matmul_integer",
        &[Some(a), Some(b), za, zb],
        Attrs::new(),
        1,
    )?[0];
    if maker.random.chance(2) {
        let wide = maker.apply("cast", &[y], Attrs::new().with("to", DType::F32))?;
        let scale = maker.scalar(DType::F32, 0.01);
        maker.apply("mul", &[wide, scale], Attrs::new())?;
    }
    Some(())
}
