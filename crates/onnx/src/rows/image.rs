//! `CenterCropPad`, `Col2Im` and `ImageDecoder`.

use alula_ir::Attrs;
use alula_ops::host_ops::DECODE_IMAGE;
use alula_ops::indexing::SCATTER_ELEMENTS;
use alula_ops::shape::PAD;
use alula_tensor::{DType, Dim};

use super::compose::one_of;
use super::shape::{normal_axis, read_dims};
use super::window::Window;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("CenterCropPad", &[18], &["axes"], center_crop_pad),
    row(
        "Col2Im",
        &[18],
        &["dilations", "pads", "strides"],
        column_to_image,
    ),
    row("ImageDecoder", &[20], &["pixel_format"], |ctx| {
        let x = ctx.input(0)?;
        let words = ["RGB", "BGR", "Grayscale"];
        let given = ctx.str_or("pixel_format", words[0]);
        let format = ["rgb", "bgr", "grayscale"][one_of("pixel_format", &given, &words)?];
        let attrs = Attrs::new().with("format", format.to_owned());
        Ok(vec![ctx.push(&DECODE_IMAGE, &[x], attrs)?])
    }),
];

/// Each axis loses what is too much, or gains what is missing, half at each end; the odd element
/// goes to the end.
fn center_crop_pad(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, target) = (ctx.input(0)?, ctx.input(1)?);
    let shape = ctx.ty(x)?.shape;
    let rank = shape.len();
    let target = read_dims(ctx, target)?;
    let axes = match ctx.ints("axes") {
        Some(axes) => axes,
        None => (0..rank as i64).collect(),
    };
    if axes.len() != target.len() {
        let (axes, extents) = (axes.len(), target.len());
        return Err(RowError::Invalid(format!(
            "{extents} extents for {axes} axes"
        )));
    }
    let (mut pads, mut y) = (vec![Dim::new(0); 2 * rank], x);
    let zero = Dim::new(0);
    let two = Dim::new(2);
    for (axis, wanted) in axes.into_iter().zip(target) {
        let axis = normal_axis(axis, rank)?;
        let has = shape[axis].clone();
        let surplus = (has.clone() - wanted.clone()).maximum(&zero);
        let begin = surplus.floor_div(&two);
        let end = begin.clone() + has.minimum(&wanted);
        y = ctx.part(y, axis, begin, end)?;
        let missing = (wanted - has).maximum(&zero);
        let begin = missing.floor_div(&two);
        pads[rank + axis] = missing - begin.clone();
        pads[axis] = begin;
    }
    Ok(vec![ctx.push(
        &PAD,
        &[y],
        Attrs::new().with("pads", pads),
    )?])
}

/// Blocks of an image added up where they overlap: each column of `[n, c * block, columns]` is one.
fn column_to_image(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, image, block) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let ty = ctx.ty(x)?;
    let (image, block) = (read_dims(ctx, image)?, read_dims(ctx, block)?);
    let rank = image.len();
    if ty.rank() != 3 || block.len() != rank || rank == 0 {
        return Err(RowError::Invalid(format!(
            "blocks of {} axes in an image of {rank}, {ty}",
            block.len()
        )));
    }
    if ctx.has_attr("auto_pad") {
        return Err(RowError::Invalid("auto_pad is no attribute".to_owned()));
    }
    let window = Window::new(ctx, block.clone())?;
    let one = Dim::new(1);
    // The image with its padding, which every element of a block falls into.
    let padded: Vec<Dim> = (0..rank)
        .map(|d| image[d].clone() + Dim::new(window.pads[d] + window.pads[rank + d]))
        .collect();
    let mut places = ctx.list(&[0]);
    let mut counts = block.clone();
    for (d, extent) in padded.iter().enumerate() {
        let reach = extent.clone() - window.span(d);
        counts.push(reach.floor_div(&Dim::new(window.strides[d])) + one.clone());
    }
    for (d, extent) in padded.iter().enumerate() {
        let extent = ctx.dim(extent.clone())?;
        places = ctx.mul(places, extent)?;
        for (at, step) in [(d, window.dilations[d]), (rank + d, window.strides[d])] {
            let mut to = vec![one.clone(); 2 * rank];
            to[at] = counts[at].clone();
            let index = ctx.iota(DType::I64, counts[at].clone())?;
            let index = ctx.times(index, step as f64)?;
            let index = ctx.view(index, to)?;
            places = ctx.add(places, index)?;
        }
    }
    let size: Dim = block.iter().cloned().product();
    let columns = counts[rank..].iter().cloned().product::<Dim>();
    let channels = ty.shape[1].floor_div(&size);
    let lines = ty.shape[0].clone() * channels.clone();
    let updates = ctx.view(x, vec![lines.clone(), size * columns.clone()])?;
    let width = ctx.ty(updates)?.shape[1].clone();
    let places = ctx.view(places, vec![one, width.clone()])?;
    let places = ctx.expand(places, vec![lines.clone(), width])?;
    let nothing = ctx.number(updates, 0.0)?;
    let all: Dim = padded.iter().cloned().product();
    let canvas = ctx.expand(nothing, vec![lines, all])?;
    let attrs = Attrs::new()
        .with("axis", 1_i64)
        .with("reduction", "add".to_owned());
    let y = ctx.push(&SCATTER_ELEMENTS, &[canvas, places, updates], attrs)?;
    let mut to = vec![ty.shape[0].clone(), channels];
    to.extend(padded);
    let mut y = ctx.view(y, to)?;
    for (d, extent) in image.into_iter().enumerate() {
        let begin = Dim::new(window.pads[d]);
        y = ctx.part(y, 2 + d, begin.clone(), begin + extent)?;
    }
    Ok(vec![y])
}
