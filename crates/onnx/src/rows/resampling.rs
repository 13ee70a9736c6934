//! `Resize` and `Upsample`.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{FLOOR, MAX, MIN};
use alula_ops::resampling::RESIZE;
use alula_tensor::{DType, Dim, TensorType};

use super::compose::{Value, one_of};
use super::resample::{Line, Sampling, resample};
use super::shape::{read_dim, read_dims};
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("Upsample", &[7, 9], &["mode", "scales"], upsample),
    row(
        "Resize",
        &[10, 11, 13, 18, 19],
        &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
        resize,
    ),
];

/// Extents and scales that are asked for, one for each axis.
struct Request {
    axes: Vec<i64>,
    sizes: Vec<Dim>,
    /// Empty if sizes were given.
    scales: Vec<f64>,
}

impl Request {
    /// The attributes, without axes that stay as they are.
    fn attrs(self, ty: &TensorType, roi: Option<&[f64]>) -> Attrs {
        let count = self.axes.len();
        let stays = |k: usize| {
            let same_size = self.sizes[k] == ty.shape[self.axes[k] as usize];
            same_size && self.scales.get(k).is_none_or(|scale| *scale == 1.0) && roi.is_none()
        };
        let kept: Vec<usize> = (0..count).filter(|&k| !stays(k)).collect();
        let pick = |values: &[f64]| {
            kept.iter()
                .filter_map(|&k| values.get(k).copied())
                .collect()
        };
        let scales: Vec<f64> = pick(&self.scales);
        let attrs = Attrs::new()
            .with(
                "axes",
                kept.iter().map(|&k| self.axes[k]).collect::<Vec<i64>>(),
            )
            .with(
                "sizes",
                kept.iter()
                    .map(|&k| self.sizes[k].clone())
                    .collect::<Vec<Dim>>(),
            )
            .with("scales", scales);
        match roi {
            Some(roi) => attrs.with("roi", roi.to_vec()),
            None => attrs,
        }
    }
}

/// `extent * scale`, rounded down; a symbolic extent needs a scale that is a simple ratio.
fn scaled(extent: &Dim, scale: f64) -> Result<Dim, RowError> {
    if let Some(extent) = extent.as_const() {
        return Ok(Dim::new((extent as f32 * scale as f32).floor() as i64));
    }
    for below in 1..=64_i64 {
        let above = scale * below as f64;
        if (above - above.round()).abs() < 1e-6 * above {
            let product = extent.clone() * Dim::new(above.round() as i64);
            return Ok(product.floor_div(&Dim::new(below)));
        }
    }
    Err(RowError::Unsupported(format!(
        "extent {extent} times {scale}"
    )))
}

fn from_scales(ty: &TensorType, axes: Vec<i64>, scales: Vec<f64>) -> Result<Request, RowError> {
    if scales.len() != axes.len() || scales.iter().any(|scale| scale.is_nan() || *scale <= 0.0) {
        return Err(RowError::Invalid(format!(
            "scales {scales:?} for axes {axes:?} of {ty}"
        )));
    }
    let sizes = axes
        .iter()
        .zip(&scales)
        .map(|(&axis, &scale)| scaled(&ty.shape[axis as usize], scale))
        .collect::<Result<_, _>>()?;
    Ok(Request {
        axes,
        sizes,
        scales,
    })
}

/// The elements of a constant float tensor.
fn floats(ctx: &mut RowCtx<'_, '_>, value: ValueId, what: &str) -> Result<Vec<f64>, RowError> {
    let tensor = ctx.as_constant(value).ok_or_else(|| {
        RowError::Unsupported(format!("{what} that are computed while the model runs"))
    })?;
    Ok(tensor.to_f64s())
}

fn upsample(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let axes: Vec<i64> = (0..ty.rank() as i64).collect();
    let scales = match ctx.optional(1) {
        Some(scales) if ctx.as_constant(scales).is_none() => {
            let how = Sampling {
                mode: mode(&ctx.str_or("mode", "nearest"))?,
                coordinates: "asymmetric".to_owned(),
                nearest: "floor".to_owned(),
                cubic_a: -0.75,
                exclude_outside: false,
                antialias: false,
                extrapolation: 0.0,
            };
            let lines = scaled_lines(ctx, &ty, &axes, scales)?;
            return Ok(vec![resample(ctx, x, &lines, &how)?]);
        }
        Some(scales) => floats(ctx, scales, "scales")?,
        None => ctx
            .floats("scales")
            .ok_or_else(|| RowError::Invalid("no scales are given".to_owned()))?,
    };
    let mode = mode(&ctx.str_or("mode", "nearest"))?;
    let attrs = from_scales(&ty, axes, scales)?
        .attrs(&ty, None)
        .with("mode", mode.to_owned())
        .with("nearest", "floor".to_owned())
        .with("coordinates", "asymmetric".to_owned());
    Ok(vec![ctx.push(&RESIZE, &[x], attrs)?])
}

fn mode(given: &str) -> Result<&'static str, RowError> {
    match given {
        "nearest" => Ok("nearest"),
        "linear" | "bilinear" => Ok("linear"),
        "cubic" => Ok("cubic"),
        other => Err(RowError::Unsupported(format!(
            "attribute mode is {other:?}"
        ))),
    }
}

fn axes(ctx: &RowCtx<'_, '_>, ty: &TensorType) -> Result<Vec<i64>, RowError> {
    let rank = ty.rank() as i64;
    let Some(given) = ctx.ints("axes") else {
        return Ok((0..rank).collect());
    };
    given
        .iter()
        .map(|&axis| if axis < 0 { axis + rank } else { axis })
        .map(|axis| match (0..rank).contains(&axis) {
            true => Ok(axis),
            false => Err(RowError::Invalid(format!("axes {given:?} of {ty}"))),
        })
        .collect()
}

/// An input that is there and not an empty tensor: how absence was stated before version 13.
fn given(ctx: &mut RowCtx<'_, '_>, position: usize) -> Result<Option<ValueId>, RowError> {
    match ctx.optional(position) {
        Some(value) if !ctx.ty(value)?.num_elements().is(0) => Ok(Some(value)),
        _ => Ok(None),
    }
}

fn resize(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let axes = axes(ctx, &ty)?;
    let (roi, scales, sizes) = match ctx.version {
        10 => (None, given(ctx, 1)?, None),
        _ => (given(ctx, 1)?, given(ctx, 2)?, given(ctx, 3)?),
    };
    if is_late(ctx, &ty, [roi, scales, sizes])? {
        return resize_late(ctx, &ty, axes, [roi, scales, sizes]);
    }
    let request = match (scales, sizes) {
        (Some(scales), None) => {
            let scales = floats(ctx, scales, "scales")?;
            from_scales(&ty, axes, scales)?
        }
        (None, Some(sizes)) => from_sizes(ctx, &ty, axes, sizes)?,
        _ => {
            let reason = "either scales or sizes must be given";
            return Err(RowError::Invalid(reason.to_owned()));
        }
    };
    let default = if ctx.version == 10 {
        "asymmetric"
    } else {
        "half_pixel"
    };
    let coordinates = ctx.str_or("coordinate_transformation_mode", default);
    let roi = match (coordinates.as_str(), roi) {
        ("tf_crop_and_resize", Some(roi)) => Some(floats(ctx, roi, "regions")?),
        _ => None,
    };
    let default = if ctx.version == 10 {
        "floor"
    } else {
        "round_prefer_floor"
    };
    let mode = mode(&ctx.str_or("mode", "nearest"))?;
    let attrs = request
        .attrs(&ty, roi.as_deref())
        .with("mode", mode.to_owned())
        .with("coordinates", coordinates)
        .with("nearest", ctx.str_or("nearest_mode", default))
        .with("cubic_a", ctx.float_or("cubic_coeff_a", -0.75))
        .with("exclude_outside", ctx.flag("exclude_outside", false))
        .with("antialias", ctx.flag("antialias", false))
        .with("extrapolation", ctx.float_or("extrapolation_value", 0.0));
    Ok(vec![ctx.push(&RESIZE, &[x], attrs)?])
}

/// Whether something is known only while the model runs that [`RESIZE`] needs to know before.
fn is_late(
    ctx: &mut RowCtx<'_, '_>,
    ty: &TensorType,
    [roi, scales, sizes]: [Option<ValueId>; 3],
) -> Result<bool, RowError> {
    let crops = ctx.str_or("coordinate_transformation_mode", "") == "tf_crop_and_resize";
    let mut is_unknown =
        |value: Option<ValueId>| value.is_some_and(|v| ctx.as_constant(v).is_none());
    if is_unknown(scales) || (crops && is_unknown(roi)) {
        return Ok(true);
    }
    let Some(sizes) = sizes else { return Ok(false) };
    let is_known = ctx.const_ints(sizes).is_some() && ty.static_shape().is_some();
    let policy = ctx.str_or("keep_aspect_ratio_policy", "stretch");
    Ok(!is_known && (policy != "stretch" || ctx.flag("antialias", false)))
}

/// Element `k` of a list as an `f32` scalar.
fn element(ctx: &mut RowCtx<'_, '_>, list: ValueId, k: usize) -> Value {
    let one = ctx.part(list, 0, Dim::from(k), Dim::from(k + 1))?;
    let one = ctx.view(one, Vec::new())?;
    ctx.cast(one, DType::F32)
}

/// `extent * factor + offset`, rounded down.
fn size_of(
    ctx: &mut RowCtx<'_, '_>,
    extent: &Dim,
    factor: ValueId,
    offset: f64,
) -> Result<Dim, RowError> {
    let extent = ctx.dim(extent.clone())?;
    let extent = ctx.cast(extent, DType::F32)?;
    let size = ctx.mul(extent, factor)?;
    let size = ctx.plus(size, offset)?;
    let size = ctx.op(&FLOOR, &[size])?;
    read_dim(ctx, size)
}

/// Lines whose scales are the elements of a list.
fn scaled_lines(
    ctx: &mut RowCtx<'_, '_>,
    ty: &TensorType,
    axes: &[i64],
    scales: ValueId,
) -> Result<Vec<Line>, RowError> {
    let given = ctx.ty(scales)?;
    if given.shape.as_slice() != [Dim::from(axes.len())] {
        return Err(RowError::Unsupported(format!(
            "scales {given} for axes {axes:?}"
        )));
    }
    let mut lines = Vec::new();
    for (k, &axis) in axes.iter().enumerate() {
        let (axis, scale) = (axis as usize, element(ctx, scales, k)?);
        lines.push(Line {
            axis,
            size: size_of(ctx, &ty.shape[axis], scale, 0.0)?,
            scale,
            is_given: true,
            roi: None,
        });
    }
    Ok(lines)
}

/// Lines whose sizes are given, or follow from them by one scale for all.
fn sized_lines(
    ctx: &mut RowCtx<'_, '_>,
    ty: &TensorType,
    axes: &[i64],
    sizes: ValueId,
) -> Result<Vec<Line>, RowError> {
    let sizes = read_dims(ctx, sizes)?;
    if sizes.len() != axes.len() {
        let count = sizes.len();
        return Err(RowError::Invalid(format!(
            "{count} sizes for axes {axes:?}"
        )));
    }
    let mut ratios = Vec::new();
    for (&axis, size) in axes.iter().zip(&sizes) {
        let (from, to) = (
            ctx.dim(ty.shape[axis as usize].clone())?,
            ctx.dim(size.clone())?,
        );
        let (from, to) = (ctx.cast(from, DType::F32)?, ctx.cast(to, DType::F32)?);
        ratios.push(ctx.div(to, from)?);
    }
    let policy = ctx.str_or("keep_aspect_ratio_policy", "stretch");
    let words = ["stretch", "not_larger", "not_smaller"];
    let op = match one_of("keep_aspect_ratio_policy", &policy, &words)? {
        0 => None,
        1 => Some(&MIN),
        _ => Some(&MAX),
    };
    let mut common = None;
    if let Some(op) = op {
        for &ratio in &ratios {
            common = Some(match common {
                Some(common) => ctx.op(op, &[common, ratio])?,
                None => ratio,
            });
        }
    }
    let mut lines = Vec::new();
    for ((&axis, size), ratio) in axes.iter().zip(sizes).zip(ratios) {
        let axis = axis as usize;
        lines.push(Line {
            axis,
            size: match common {
                Some(common) => size_of(ctx, &ty.shape[axis], common, 0.5)?,
                None => size,
            },
            scale: common.unwrap_or(ratio),
            is_given: common.is_some(),
            roi: None,
        });
    }
    Ok(lines)
}

fn resize_late(
    ctx: &mut RowCtx<'_, '_>,
    ty: &TensorType,
    axes: Vec<i64>,
    [roi, scales, sizes]: [Option<ValueId>; 3],
) -> Built {
    let x = ctx.input(0)?;
    let is_oldest = ctx.version == 10;
    let pick = |old: &'static str, new: &'static str| if is_oldest { old } else { new };
    let coordinates = pick("asymmetric", "half_pixel");
    let how = Sampling {
        mode: mode(&ctx.str_or("mode", "nearest"))?,
        coordinates: ctx.str_or("coordinate_transformation_mode", coordinates),
        nearest: ctx.str_or("nearest_mode", pick("floor", "round_prefer_floor")),
        cubic_a: ctx.float_or("cubic_coeff_a", -0.75),
        exclude_outside: ctx.flag("exclude_outside", false),
        antialias: ctx.flag("antialias", false),
        extrapolation: ctx.float_or("extrapolation_value", 0.0),
    };
    let mut lines = match (scales, sizes) {
        (Some(scales), None) => scaled_lines(ctx, ty, &axes, scales)?,
        (None, Some(sizes)) => sized_lines(ctx, ty, &axes, sizes)?,
        _ => {
            let reason = "either scales or sizes must be given";
            return Err(RowError::Invalid(reason.to_owned()));
        }
    };
    if let (Some(roi), "tf_crop_and_resize") = (roi, how.coordinates.as_str()) {
        if ctx.ty(roi)?.shape.as_slice() != [Dim::from(2 * axes.len())] {
            return Err(RowError::Invalid(
                "a region has a begin and an end for each axis".to_owned(),
            ));
        }
        for (k, line) in lines.iter_mut().enumerate() {
            let begin = element(ctx, roi, k)?;
            line.roi = Some((begin, element(ctx, roi, axes.len() + k)?));
        }
    }
    // Where nothing but an extent is asked for that is there, an axis stays as it is.
    let stays =
        |line: &Line| !line.is_given && line.roi.is_none() && line.size == ty.shape[line.axis];
    lines.retain(|line| !stays(line));
    Ok(vec![resample(ctx, x, &lines, &how)?])
}

fn from_sizes(
    ctx: &mut RowCtx<'_, '_>,
    ty: &TensorType,
    axes: Vec<i64>,
    sizes: ValueId,
) -> Result<Request, RowError> {
    let sizes = read_dims(ctx, sizes)?;
    if sizes.len() != axes.len() {
        return Err(RowError::Invalid(format!(
            "{} sizes for axes {axes:?}",
            sizes.len()
        )));
    }
    let policy = ctx.str_or("keep_aspect_ratio_policy", "stretch");
    if policy == "stretch" {
        return Ok(Request {
            axes,
            sizes,
            scales: Vec::new(),
        });
    }
    let ratios: Option<Vec<f64>> = axes
        .iter()
        .zip(&sizes)
        .map(|(&axis, size)| {
            let extent = ty.shape[axis as usize].as_const()?;
            Some(size.as_const()? as f64 / extent as f64)
        })
        .collect();
    let ratios = ratios.ok_or_else(|| {
        RowError::Unsupported(format!(
            "keep_aspect_ratio_policy {policy:?} of symbolic extents"
        ))
    })?;
    let scale = match policy.as_str() {
        "not_larger" => ratios.iter().copied().fold(f64::INFINITY, f64::min),
        "not_smaller" => ratios.iter().copied().fold(0.0, f64::max),
        other => {
            return Err(RowError::Invalid(format!(
                "keep_aspect_ratio_policy is {other:?}"
            )));
        }
    };
    let sizes = axes
        .iter()
        .map(|&axis| {
            let extent = ty.shape[axis as usize].as_const().unwrap_or(0);
            Dim::new((extent as f64 * scale + 0.5).floor() as i64)
        })
        .collect();
    let scales = vec![scale; axes.len()];
    Ok(Request {
        axes,
        sizes,
        scales,
    })
}
