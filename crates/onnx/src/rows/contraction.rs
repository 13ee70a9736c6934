//! Matrix products and convolutions.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::{CONV, CONV_TRANSPOSE, MATMUL, MATMUL_INTEGER};
use alula_ops::elementwise::arithmetic::{ADD, MUL};
use alula_ops::shape::RESHAPE;
use alula_tensor::{Dim, TensorType};

use super::quantization::{integer_conv, integer_product};
use super::window::{AutoPad, Window};
use super::{Built, Row, RowCtx, RowError, row};

/// What a convolution and those made of one take.
pub(super) const CONV_ATTRS: &[&str] = &[
    "auto_pad",
    "dilations",
    "group",
    "kernel_shape",
    "pads",
    "strides",
];

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("MatMul", &[1, 9, 13], &[], |ctx| {
        let (a, b) = (ctx.input(0)?, ctx.input(1)?);
        Ok(vec![matmul(ctx, a, b)?])
    }),
    row(
        "Gemm",
        &[1, 6, 7, 9, 11, 13],
        &["alpha", "beta", "broadcast", "transA", "transB"],
        gemm,
    ),
    row("MatMulInteger", &[10], &[], |ctx| {
        let (a, b) = (ctx.input(0)?, ctx.input(1)?);
        let (a_zero, b_zero) = (ctx.optional(2), ctx.optional(3));
        Ok(vec![integer_product(ctx, a, b, a_zero, b_zero)?])
    }),
    row("Conv", &[1, 11, 22], CONV_ATTRS, |ctx| {
        let (x, w) = (ctx.input(0)?, ctx.input(1)?);
        let attrs = conv_attrs(ctx, x, w)?;
        ctx.push_all(&CONV, &[Some(x), Some(w), ctx.optional(2)], attrs)
    }),
    row("ConvInteger", &[10], CONV_ATTRS, |ctx| {
        let (x, w) = (ctx.input(0)?, ctx.input(1)?);
        let (x_zero, w_zero) = (ctx.optional(2), ctx.optional(3));
        Ok(vec![integer_conv(ctx, x, w, x_zero, w_zero)?])
    }),
    row(
        "ConvTranspose",
        &[1, 11, 22],
        &[
            "auto_pad",
            "dilations",
            "group",
            "kernel_shape",
            "output_padding",
            "output_shape",
            "pads",
            "strides",
        ],
        conv_transpose,
    ),
];

/// A product of tensors of any rank but 0: a vector on the left is a row, on the right a column.
pub(super) fn matmul(
    ctx: &mut RowCtx<'_, '_>,
    a: ValueId,
    b: ValueId,
) -> Result<ValueId, RowError> {
    let (a_ty, b_ty) = (ctx.ty(a)?, ctx.ty(b)?);
    if a_ty.rank() == 0 || b_ty.rank() == 0 {
        return Err(RowError::Invalid(format!(
            "a scalar has no product: {a_ty}, {b_ty}"
        )));
    }
    let one = Dim::new(1);
    let mut left = a;
    if a_ty.rank() == 1 {
        left = reshape(ctx, a, vec![one.clone(), a_ty.shape[0].clone()])?;
    }
    let mut right = b;
    if b_ty.rank() == 1 {
        right = reshape(ctx, b, vec![b_ty.shape[0].clone(), one])?;
    }
    let product = ctx.push(&MATMUL, &[left, right], Attrs::new())?;
    let mut shape = ctx.ty(product)?.shape;
    if b_ty.rank() == 1 {
        shape.pop();
    }
    if a_ty.rank() == 1 {
        shape.remove(shape.len() - 1 - usize::from(b_ty.rank() > 1));
    }
    reshape(ctx, product, shape)
}

/// The value under other extents, or itself if they are its own.
pub(super) fn reshape(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    to: Vec<Dim>,
) -> Result<ValueId, RowError> {
    if ctx.ty(value)?.shape == to {
        return Ok(value);
    }
    ctx.push(&RESHAPE, &[value], Attrs::new().with("to", to))
}

fn gemm(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    ctx.need_rank(0, 2)?;
    ctx.need_rank(1, 2)?;
    // Without `broadcast`, the third operand has the result's shape: broadcasting does nothing.
    let attrs = Attrs::new()
        .with("transpose_a", ctx.flag("transA", false))
        .with("transpose_b", ctx.flag("transB", false));
    let mut value = ctx.push(&MATMUL, &[a, b], attrs)?;
    let dtype = ctx.ty(value)?.dtype;
    value = scaled(ctx, value, dtype, "alpha")?;
    if let Some(c) = ctx.optional(2) {
        let c = scaled(ctx, c, dtype, "beta")?;
        value = ctx.push(&ADD, &[value, c], Attrs::new())?;
    }
    Ok(vec![value])
}

/// The value times a float attribute that is 1 by default.
fn scaled(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    dtype: alula_tensor::DType,
    name: &str,
) -> Result<ValueId, RowError> {
    let factor = ctx.float_or(name, 1.0);
    if factor == 1.0 {
        return Ok(value);
    }
    let scalar = [alula_tensor::Scalar::Float(factor)];
    let factor = alula_tensor::Tensor::from_scalars(dtype, &[], &scalar)
        .map_err(|error| RowError::Invalid(error.to_string()))?;
    let factor = ctx.constant(factor);
    ctx.push(&MUL, &[value, factor], Attrs::new())
}

/// `matmul_integer` of operands with optional zero points.
pub(super) fn matmul_integer(
    ctx: &mut RowCtx<'_, '_>,
    operands: [Option<ValueId>; 4],
) -> Result<ValueId, RowError> {
    let name = ctx.name().to_owned();
    let results = ctx
        .graph()
        .push(&MATMUL_INTEGER, &operands, Attrs::new(), &name)?;
    Ok(results[0])
}

/// Attributes of a convolution of these operands.
pub(super) fn conv_attrs(
    ctx: &mut RowCtx<'_, '_>,
    x: ValueId,
    w: ValueId,
) -> Result<Attrs, RowError> {
    let (x, w) = (ctx.ty(x)?, ctx.ty(w)?);
    let window = Window::new(ctx, kernel(ctx, &x, &w)?)?;
    let pads = window.resolved_pads(&x.shape[2..]);
    Ok(window.attrs(pads).with("group", ctx.int_or("group", 1)))
}

/// Extents of the filter's spatial axes, which must be what `kernel_shape` says.
fn kernel(ctx: &RowCtx<'_, '_>, x: &TensorType, w: &TensorType) -> Result<Vec<Dim>, RowError> {
    if w.rank() < 3 || x.rank() != w.rank() {
        return Err(RowError::Invalid(format!(
            "input {x} and filter {w} do not fit"
        )));
    }
    let kernel = w.shape[2..].to_vec();
    if let Some(given) = ctx.ints("kernel_shape") {
        let fits = given.len() == kernel.len()
            && given
                .iter()
                .zip(&kernel)
                .all(|(g, k)| k.as_const().is_none_or(|k| k == *g));
        if !fits {
            return Err(RowError::Invalid(format!(
                "kernel_shape {given:?} is not that of filter {w}"
            )));
        }
    }
    Ok(kernel)
}

fn conv_transpose(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let (x_ty, w_ty) = (ctx.ty(x)?, ctx.ty(w)?);
    let window = Window::new(ctx, kernel(ctx, &x_ty, &w_ty)?)?;
    let rank = window.kernel.len();
    let more = ctx.ints("output_padding").unwrap_or_else(|| vec![0; rank]);
    if more.len() != rank {
        return Err(RowError::Invalid(format!(
            "output_padding {more:?} needs {rank} entries"
        )));
    }
    let mut wanted = ctx.ints("output_shape");
    if let Some(shape) = &mut wanted {
        // Some exporters state batch and channels as well.
        if shape.len() == rank + 2 {
            shape.drain(..2);
        }
        if shape.len() != rank {
            return Err(RowError::Invalid(format!(
                "output_shape {shape:?} needs {rank} entries"
            )));
        }
    }
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for axis in 0..rank {
        let stride = Dim::new(window.strides[axis]);
        let extent = x_ty.shape[2 + axis].clone();
        let target = match &wanted {
            Some(shape) => Some(Dim::new(shape[axis])),
            None if window.is_same() => Some(extent.clone() * stride.clone()),
            None => None,
        };
        match target {
            Some(target) => {
                let reach = (extent - Dim::new(1)) * stride + window.span(axis);
                let total = reach + Dim::new(more[axis]) - target;
                // What is missing is added at the end; the odd element of what is too much is taken
                // from the begin unless it is asked to go to the end.
                let surplus = total.maximum(&Dim::new(0));
                let half = surplus.floor_div(&Dim::new(2));
                let begin = match window.auto_pad {
                    AutoPad::SameUpper => half,
                    _ => surplus - half,
                };
                ends.push(total - begin.clone());
                begins.push(begin);
            }
            None => {
                begins.push(Dim::new(window.pads[axis]));
                ends.push(Dim::new(window.pads[rank + axis]));
            }
        }
    }
    begins.append(&mut ends);
    let more: Vec<Dim> = more.into_iter().map(Dim::new).collect();
    let attrs = window
        .attrs(begins)
        .with("group", ctx.int_or("group", 1))
        .with("output_padding", more);
    ctx.push_all(&CONV_TRANSPOSE, &[Some(x), Some(w), ctx.optional(2)], attrs)
}
