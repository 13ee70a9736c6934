//! `DeformConv`: a convolution that reads between elements.

use alula_ir::Attrs;
use alula_ops::contraction::MATMUL;
use alula_tensor::Dim;

use super::sampling::{Line, Outside, sample, taps, wide};
use super::window::Window;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "DeformConv",
    &[19, 22],
    &[
        "dilations",
        "group",
        "kernel_shape",
        "offset_group",
        "pads",
        "strides",
    ],
    deform_conv,
)];

/// A convolution whose taps are moved by offsets and weighed by a mask.
fn deform_conv(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, w, offset) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (ty, filter, moved) = (ctx.ty(x)?, ctx.ty(w)?, ctx.ty(offset)?);
    let rank = ty.rank().saturating_sub(2);
    if rank == 0 || filter.rank() != ty.rank() || moved.rank() != ty.rank() {
        return Err(RowError::Invalid(format!(
            "{ty}, filter {filter}, offsets {moved}"
        )));
    }
    let window = Window::new(ctx, filter.shape[2..].to_vec())?;
    if let Some(given) = ctx.ints("kernel_shape") {
        let own: Vec<Option<i64>> = window.kernel.iter().map(Dim::as_const).collect();
        if given.len() != rank
            || own
                .iter()
                .zip(&given)
                .any(|(k, g)| k.is_some_and(|k| k != *g))
        {
            return Err(RowError::Invalid(format!(
                "kernel_shape {given:?} is not that of filter {filter}"
            )));
        }
    }
    let (group, groups) = (ctx.int_or("group", 1), ctx.int_or("offset_group", 1));
    if group < 1 || groups < 1 {
        return Err(RowError::Invalid(format!(
            "{group} groups, {groups} of offsets"
        )));
    }
    let (group, groups) = (Dim::new(group), Dim::new(groups));
    let dtype = wide(ty.dtype);
    let (batch, channels) = (ty.shape[0].clone(), ty.shape[1].clone());
    let taps_count: Dim = window.kernel.iter().cloned().product();
    let out = moved.shape[2..].to_vec();
    let places: Dim = out.iter().cloned().product();
    // Offsets as `[batch, groups, kernel.., axis, out..]`.
    let mut shape = vec![
        batch.clone(),
        groups.clone(),
        taps_count.clone(),
        Dim::from(rank),
    ];
    shape.extend_from_slice(&out);
    let offset = ctx.cast(offset, dtype)?;
    let offset = ctx.view(offset, shape)?;
    let mut axes = Vec::new();
    for axis in 0..rank {
        let part = ctx.part(offset, 3, Dim::from(axis), Dim::from(axis + 1))?;
        let mut shape = vec![batch.clone(), groups.clone()];
        shape.extend_from_slice(&window.kernel);
        shape.extend_from_slice(&out);
        let part = ctx.view(part, shape.clone())?;
        let along = |at: usize| {
            let mut to = vec![Dim::new(1); shape.len()];
            to[at] = shape[at].clone();
            to
        };
        let tap = ctx.iota(dtype, window.kernel[axis].clone())?;
        let tap = ctx.times(tap, window.dilations[axis] as f64)?;
        let tap = ctx.view(tap, along(2 + axis))?;
        let begin = ctx.iota(dtype, out[axis].clone())?;
        let begin = ctx.times(begin, window.strides[axis] as f64)?;
        let begin = ctx.plus(begin, -(window.pads[axis] as f64))?;
        let begin = ctx.view(begin, along(2 + rank + axis))?;
        let at = ctx.add(begin, tap)?;
        let at = ctx.add(at, part)?;
        let at = ctx.view(
            at,
            vec![
                batch.clone(),
                groups.clone(),
                taps_count.clone(),
                places.clone(),
            ],
        )?;
        let extent = ctx.dim(ty.shape[2 + axis].clone())?;
        let line = Line {
            extent: ctx.cast(extent, dtype)?,
            outside: Outside::Zeros,
            corners: false,
        };
        axes.push(taps(ctx, &line, at, 2)?);
    }
    let pixels: Dim = ty.shape[2..].iter().cloned().product();
    let share = channels.floor_div(&groups);
    let image = ctx.view(
        x,
        vec![batch.clone(), groups.clone(), share.clone(), pixels],
    )?;
    let image = ctx.cast(image, dtype)?;
    let image = ctx.permute(image, &[0, 1, 3, 2])?;
    let mut columns = sample(ctx, image, &ty.shape[2..], 2, &axes)?;
    if let Some(mask) = ctx.optional(4) {
        let to = vec![
            batch.clone(),
            groups,
            taps_count.clone(),
            places.clone(),
            Dim::new(1),
        ];
        let mask = ctx.view(mask, to)?;
        let mask = ctx.cast(mask, dtype)?;
        columns = ctx.mul(columns, mask)?;
    }
    // `[batch, groups, taps, places, share]` as `[batch, group, channels of it * taps, places]`.
    let columns = ctx.permute(columns, &[0, 1, 4, 2, 3])?;
    let columns = ctx.cast(columns, ty.dtype)?;
    let depth = channels.floor_div(&group) * taps_count;
    let to = vec![batch.clone(), group.clone(), depth.clone(), places];
    let columns = ctx.view(columns, to)?;
    let results = filter.shape[0].clone();
    let w = ctx.view(
        w,
        vec![Dim::new(1), group.clone(), results.floor_div(&group), depth],
    )?;
    let y = ctx.push(&MATMUL, &[w, columns], Attrs::new())?;
    let mut to = vec![batch, results.clone()];
    to.extend_from_slice(&out);
    let mut y = ctx.view(y, to)?;
    if let Some(bias) = ctx.optional(3) {
        let mut to = vec![results];
        to.resize(1 + rank, Dim::new(1));
        let bias = ctx.view(bias, to)?;
        y = ctx.add(y, bias)?;
    }
    Ok(vec![y])
}
