//! Operators that move elements, or make tensors of dims and positions.
//!
//! Extents that a model gives as inputs become dims: numbers or expressions where the input's
//! elements are known at import, else symbols bound when the input is computed.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{LT, OR};
use alula_ops::shape::{
    AS_DIMS, CONCAT, CUM_PROD, CUM_SUM, DEPTH_TO_SPACE, DIMS, EXPAND, EYE, PAD, RESHAPE,
    REVERSE_SEQUENCE, SLICE, SPLIT, TILE, TRANSPOSE, TRILU, resolve_target,
};
use alula_tensor::{DType, Dim, Scalar, Tensor};

use super::{Built, Row, RowCtx, RowError, anywhere, axes, microsoft_row, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "Reshape",
        &[5, 13, 14, 19, 21, 23, 24, 25],
        &["allowzero"],
        reshape,
    ),
    row(
        "Flatten",
        &[1, 9, 11, 13, 21, 23, 24, 25],
        &["axis"],
        flatten,
    ),
    row("Squeeze", &[1, 11, 13, 21, 23, 24, 25], &["axes"], squeeze),
    row(
        "Unsqueeze",
        &[1, 11, 13, 21, 23, 24, 25],
        &["axes"],
        unsqueeze,
    ),
    row("Transpose", &[1, 13, 21, 23, 24, 25], &["perm"], transpose),
    row("Expand", &[8, 13], &[], expand),
    row("Tile", &[6, 13], &[], tile),
    row("Concat", &[4, 11, 13], &["axis"], concat),
    row(
        "Split",
        &[2, 11, 13, 18],
        &["axis", "split", "num_outputs"],
        split,
    ),
    row(
        "Slice",
        &[1, 10, 11, 13],
        &["axes", "starts", "ends"],
        slice,
    ),
    row(
        "Pad",
        &[2, 11, 13, 18, 19, 21, 23, 24, 25],
        &["mode", "pads", "value"],
        pad,
    ),
    row(
        "Shape",
        &[1, 13, 15, 19, 21, 23, 24, 25],
        &["start", "end"],
        shape,
    ),
    row("Size", &[1, 13, 19, 21, 23, 24, 25], &[], size),
    row(
        "ConstantOfShape",
        &[9, 20, 21, 23, 24, 25],
        &["value"],
        constant_of_shape,
    ),
    row(
        "DepthToSpace",
        &[1, 11, 13, 28],
        &["blocksize", "mode"],
        depth_to_space,
    ),
    row(
        "SpaceToDepth",
        &[1, 13, 28],
        &["blocksize", "mode"],
        space_to_depth,
    ),
    row("Trilu", &[14], &["upper"], trilu),
    microsoft_row("Trilu", &["upper"], trilu),
    row("EyeLike", &[9, 22], &["dtype", "k"], eye_like),
    row(
        "ReverseSequence",
        &[10, 28],
        &["batch_axis", "time_axis"],
        reverse_sequence,
    ),
    row("CumSum", &[11, 14], &["exclusive", "reverse"], |ctx| {
        cumulate(ctx, &CUM_SUM)
    }),
    row("CumProd", &[26], &["exclusive", "reverse"], |ctx| {
        cumulate(ctx, &CUM_PROD)
    }),
];

/// Most axes that a result gains.
const RANK_MAX: usize = 64;

/// The elements of an integer input as dims. Where they are not known, they become symbols that
/// are bound when the input is computed.
pub(super) fn read_dims(ctx: &mut RowCtx<'_, '_>, value: ValueId) -> Result<Vec<Dim>, RowError> {
    if let Some(content) = ctx.content(value) {
        return Ok(content);
    }
    let named = ctx.push(&AS_DIMS, &[value], Attrs::new())?;
    let content = ctx.content(named);
    content.ok_or_else(|| RowError::Unsupported("an input of that many extents".to_owned()))
}

/// Integers from an input that must be known at import.
pub(super) fn known_ints(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    what: &str,
) -> Result<Vec<i64>, RowError> {
    let known = ctx.const_ints(value);
    known.ok_or_else(|| RowError::Unsupported(format!("{what} computed while the model runs")))
}

/// An axis counted from the front.
pub(super) fn normal_axis(axis: i64, rank: usize) -> Result<usize, RowError> {
    let normal = if axis < 0 {
        axis.saturating_add(rank as i64)
    } else {
        axis
    };
    let within = usize::try_from(normal).ok().filter(|axis| *axis < rank);
    within.ok_or_else(|| RowError::Invalid(format!("axis {axis} is out of range for rank {rank}")))
}

pub(super) fn reshape_to(
    ctx: &mut RowCtx<'_, '_>,
    x: ValueId,
    to: Vec<Dim>,
) -> Result<ValueId, RowError> {
    ctx.push(&RESHAPE, &[x], Attrs::new().with("to", to))
}

fn reshape(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, target) = (ctx.input(0)?, ctx.input(1)?);
    ctx.need_rank(1, 1)?;
    let target = read_dims(ctx, target)?;
    let shape = ctx.ty(x)?.shape;
    let to = resolve_target(&shape, &target, ctx.flag("allowzero", false));
    let to = to.map_err(RowError::Invalid)?;
    Ok(vec![reshape_to(ctx, x, to)?])
}

fn flatten(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let shape = ctx.ty(x)?.shape;
    let axis = ctx.int_or("axis", 1);
    // The end is a position, too.
    let axis = match axis == shape.len() as i64 {
        true => shape.len(),
        false => normal_axis(axis, shape.len())?,
    };
    let (before, after) = shape.split_at(axis);
    let to = [before, after].map(|dims| dims.iter().cloned().product());
    Ok(vec![reshape_to(ctx, x, to.to_vec())?])
}

/// Axes: an attribute up to opset 12, an input from 13 on.
fn axes_of(ctx: &mut RowCtx<'_, '_>) -> Result<Option<Vec<i64>>, RowError> {
    match ctx.optional(1) {
        _ if ctx.version < 13 => Ok(ctx.ints("axes")),
        Some(axes) => known_ints(ctx, axes, "axes").map(Some),
        None => Ok(None),
    }
}

/// The input of axes, if it is computed while the model runs.
fn unknown_axes(ctx: &mut RowCtx<'_, '_>) -> Option<ValueId> {
    let axes = ctx.optional(1).filter(|_| ctx.version >= 13)?;
    ctx.const_ints(axes).is_none().then_some(axes)
}

fn squeeze(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    if let Some(given) = unknown_axes(ctx) {
        let to = axes::without(ctx, &ty.shape, given)?;
        return Ok(vec![reshape_to(ctx, x, to)?]);
    }
    let gone: Vec<bool> = match axes_of(ctx)? {
        Some(axes) => {
            let mut gone = vec![false; ty.rank()];
            for axis in axes {
                let axis = normal_axis(axis, ty.rank())?;
                if ty.shape[axis].as_const().is_some_and(|extent| extent != 1) {
                    return Err(RowError::Invalid(format!("axis {axis} of {ty} is not 1")));
                }
                gone[axis] = true;
            }
            gone
        }
        None => {
            for (axis, dim) in ty.shape.iter().enumerate() {
                keep_axis(ctx, axis, dim)?;
            }
            ty.shape.iter().map(|dim| dim.is(1)).collect()
        }
    };
    let kept = ty
        .shape
        .into_iter()
        .zip(gone)
        .filter(|(_, gone)| !gone)
        .map(|(dim, _)| dim);
    Ok(vec![reshape_to(ctx, x, kept.collect())?])
}

/// An axis whose extent is not known counts as not 1, which each run checks.
fn keep_axis(ctx: &mut RowCtx<'_, '_>, axis: usize, dim: &Dim) -> Result<(), RowError> {
    if dim.as_const().is_some() {
        return Ok(());
    }
    let difference = dim.clone() - Dim::new(1);
    let distance = difference.maximum(&-difference.clone());
    let differs = distance.minimum(&Dim::new(1));
    let who = format!("Squeeze {}, which keeps axis {axis},", ctx.name());
    Ok(ctx.graph().require(differs, Dim::new(1), &who)?)
}

fn unsqueeze(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    if let Some(given) = unknown_axes(ctx) {
        let shape = ctx.ty(x)?.shape;
        let rank = shape.len() + axes::count(&ctx.ty(given)?, RANK_MAX)?;
        let to = axes::with_ones(ctx, &shape, given, rank)?;
        return Ok(vec![reshape_to(ctx, x, to)?]);
    }
    let axes = axes_of(ctx)?;
    let axes = axes.ok_or_else(|| RowError::Invalid("axes are absent".to_owned()))?;
    let shape = ctx.ty(x)?.shape;
    let rank = shape.len() + axes.len();
    let mut is_new = vec![false; rank];
    for &axis in &axes {
        if std::mem::replace(&mut is_new[normal_axis(axis, rank)?], true) {
            return Err(RowError::Invalid(format!("axis {axis} is given twice")));
        }
    }
    let mut own = shape.into_iter();
    let next = |new: bool| if new { Some(Dim::new(1)) } else { own.next() };
    let to = is_new.into_iter().filter_map(next).collect();
    Ok(vec![reshape_to(ctx, x, to)?])
}

fn transpose(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let rank = ctx.rank(x)?;
    let perm = match ctx.ints("perm") {
        Some(perm) => perm,
        None => (0..rank as i64).rev().collect(),
    };
    let perm = perm
        .into_iter()
        .map(|axis| Ok(normal_axis(axis, rank)? as i64))
        .collect::<Result<Vec<i64>, RowError>>()?;
    Ok(vec![ctx.push(
        &TRANSPOSE,
        &[x],
        Attrs::new().with("perm", perm),
    )?])
}

fn expand(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, to) = (ctx.input(0)?, ctx.input(1)?);
    ctx.need_rank(1, 1)?;
    let to = read_dims(ctx, to)?;
    let shape = ctx.ty(x)?.shape;
    let who = ctx.name().to_owned();
    for (own, target) in shape.iter().rev().zip(to.iter().rev()) {
        let is_known = own.as_const().is_some() && target.as_const().is_some();
        if own != target && !own.is(1) && !target.is(1) && !is_known {
            // They are equal, or one of them is 1.
            let one = Dim::new(1);
            let apart = (own.clone() - one.clone()) * (target.clone() - one);
            let wrong = apart * (own.clone() - target.clone());
            ctx.graph().require(wrong, Dim::new(0), &who)?;
        }
    }
    let attrs = Attrs::new().with("to", to);
    Ok(vec![ctx.push(&EXPAND, &[x], attrs)?])
}

fn tile(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, repeats) = (ctx.input(0)?, ctx.input(1)?);
    ctx.need_rank(1, 1)?;
    let repeats = read_dims(ctx, repeats)?;
    Ok(vec![ctx.push(
        &TILE,
        &[x],
        Attrs::new().with("repeats", repeats),
    )?])
}

fn concat(ctx: &mut RowCtx<'_, '_>) -> Built {
    let inputs = ctx.all_inputs()?;
    let axis = ctx.int("axis");
    let axis = axis.ok_or_else(|| RowError::Invalid("attribute axis is absent".to_owned()))?;
    Ok(vec![ctx.push(
        &CONCAT,
        &inputs,
        Attrs::new().with("axis", axis),
    )?])
}

/// Sizes are an attribute up to opset 12, an input from 13 on; from 18 on their number may be an
/// attribute, and the last one may be less.
fn split(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let axis = normal_axis(ctx.int_or("axis", 0), ty.rank())?;
    let given = match ctx.optional(1) {
        _ if ctx.version < 13 => ctx
            .ints("split")
            .map(|sizes| sizes.into_iter().map(Dim::new).collect()),
        Some(sizes) => Some(read_dims(ctx, sizes)?),
        None => None,
    };
    let sizes: Vec<Dim> = match given {
        Some(sizes) => sizes,
        None => {
            let count = ctx.int("num_outputs").unwrap_or(ctx.num_outputs() as i64);
            equal_parts(&ty.shape[axis], count, ctx.version >= 18)?
        }
    };
    if sizes.len() < ctx.num_outputs() {
        let (has, wanted) = (sizes.len(), ctx.num_outputs());
        return Err(RowError::Invalid(format!(
            "{has} parts for {wanted} outputs"
        )));
    }
    let attrs = Attrs::new().with("axis", axis as i64).with("sizes", sizes);
    ctx.push_all(&SPLIT, &[Some(x)], attrs)
}

/// Parts of one size; the last one is what is left.
fn equal_parts(extent: &Dim, count: i64, may_be_uneven: bool) -> Result<Vec<Dim>, RowError> {
    if !(1..=1 << 16).contains(&count) {
        return Err(RowError::Invalid(format!("{count} parts are asked for")));
    }
    let parts = Dim::new(count);
    let size = extent
        .exact_div(&parts)
        .unwrap_or_else(|| extent.ceil_div(&parts));
    let last = extent.clone() - size.clone() * Dim::new(count - 1);
    let is_uneven = extent.as_const().is_some() && last != size;
    if (is_uneven && !may_be_uneven) || last.as_const().is_some_and(|last| last < 0) {
        return Err(RowError::Invalid(format!(
            "an extent of {extent} in {count} parts"
        )));
    }
    let mut sizes = vec![size; count as usize - 1];
    sizes.push(last);
    Ok(sizes)
}

/// Starts, ends and axes are attributes up to opset 9, inputs from 10 on.
fn slice(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let given = |list: Option<Vec<i64>>, name: &str| {
        let list = list.map(|list| list.into_iter().map(Dim::new).collect::<Vec<Dim>>());
        list.ok_or_else(|| RowError::Invalid(format!("attribute {name} is absent")))
    };
    let (starts, ends, axes, steps) = if ctx.version < 10 {
        let starts = given(ctx.ints("starts"), "starts")?;
        (
            starts,
            given(ctx.ints("ends"), "ends")?,
            ctx.ints("axes"),
            None,
        )
    } else {
        let (axes, steps) = (ctx.optional(3), ctx.optional(4));
        let mut is_unknown =
            |value: Option<ValueId>| value.is_some_and(|value| ctx.const_ints(value).is_none());
        if is_unknown(axes) || is_unknown(steps) {
            return anywhere::slice(ctx, axes, steps);
        }
        let (starts, ends) = (ctx.input(1)?, ctx.input(2)?);
        let (starts, ends) = (read_dims(ctx, starts)?, read_dims(ctx, ends)?);
        let axes = ctx
            .optional(3)
            .map(|axes| known_ints(ctx, axes, "axes"))
            .transpose()?;
        let steps = ctx
            .optional(4)
            .map(|steps| known_ints(ctx, steps, "steps"))
            .transpose()?;
        (starts, ends, axes, steps)
    };
    // The least integer has no magnitude and no text; one above it means the same.
    let bounded = |dims: Vec<Dim>| -> Vec<Dim> {
        dims.into_iter()
            .map(|dim| {
                if dim.is(i64::MIN) {
                    Dim::new(-i64::MAX)
                } else {
                    dim
                }
            })
            .collect()
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let mut attrs = Attrs::new()
        .with("axes", axes)
        .with("starts", bounded(starts))
        .with("ends", bounded(ends));
    if let Some(steps) = steps {
        // No axis is that long: a longer step takes one element, too, and arithmetic stays in
        // range.
        const STEP_MAX: i64 = 1 << 40;
        let steps: Vec<i64> = steps
            .into_iter()
            .map(|step| step.clamp(-STEP_MAX, STEP_MAX))
            .collect();
        attrs.set("steps", steps);
    }
    Ok(vec![ctx.push(&SLICE, &[x], attrs)?])
}

/// Pads and value are attributes up to opset 10, inputs from 11 on; axes are an input from 18 on.
fn pad(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let rank = ty.rank();
    if let Some(axes) = ctx.optional(3)
        && ctx.const_ints(axes).is_none()
    {
        let given = ctx.input(1)?;
        let pads = anywhere::pads(ctx, axes, given, rank)?;
        return padded(ctx, x, pads, ctx.optional(2));
    }
    let (given, value) = if ctx.version < 11 {
        let pads = ctx.ints("pads");
        let pads = pads.ok_or_else(|| RowError::Invalid("attribute pads is absent".to_owned()))?;
        let value = ctx
            .float("value")
            .map(|value| ctx.scalar(ty.dtype, value))
            .transpose()?;
        (pads.into_iter().map(Dim::new).collect(), value)
    } else {
        let pads = ctx.input(1)?;
        (read_dims(ctx, pads)?, ctx.optional(2))
    };
    let axes: Vec<usize> = match ctx.optional(3) {
        Some(axes) => {
            let axes = known_ints(ctx, axes, "axes")?;
            axes.into_iter()
                .map(|axis| normal_axis(axis, rank))
                .collect::<Result<_, _>>()?
        }
        None => (0..rank).collect(),
    };
    if given.len() != 2 * axes.len() {
        let (pads, axes) = (given.len(), axes.len());
        return Err(RowError::Invalid(format!("{pads} pads for {axes} axes")));
    }
    let mut pads = vec![Dim::new(0); 2 * rank];
    for (k, &axis) in axes.iter().enumerate() {
        pads[axis] = given[k].clone();
        pads[rank + axis] = given[axes.len() + k].clone();
    }
    padded(ctx, x, pads, value)
}

fn padded(ctx: &mut RowCtx<'_, '_>, x: ValueId, pads: Vec<Dim>, value: Option<ValueId>) -> Built {
    let mode = ctx.str_or("mode", "constant");
    let value = value.filter(|_| mode == "constant");
    let attrs = Attrs::new().with("pads", pads).with("mode", mode);
    ctx.push_all(&PAD, &[Some(x), value], attrs)
}

fn shape(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let shape = ctx.ty(x)?.shape;
    let rank = shape.len() as i64;
    let place =
        |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (
        place(ctx.int_or("start", 0)),
        place(ctx.int_or("end", rank)),
    );
    let values = shape[start..end.max(start)].to_vec();
    Ok(vec![ctx.push(
        &DIMS,
        &[],
        Attrs::new().with("values", values),
    )?])
}

fn size(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let count = ctx.ty(x)?.num_elements();
    let attrs = Attrs::new()
        .with("values", vec![count])
        .with("scalar", true);
    Ok(vec![ctx.push(&DIMS, &[], attrs)?])
}

fn constant_of_shape(ctx: &mut RowCtx<'_, '_>) -> Built {
    let to = ctx.input(0)?;
    ctx.need_rank(0, 1)?;
    let to = read_dims(ctx, to)?;
    let value = match ctx.tensor("value")? {
        Some(value) => value
            .reshape(&[])
            .map_err(|error| RowError::Invalid(error.to_string()))?,
        None => Tensor::scalar(0.0_f32),
    };
    let value = ctx.constant(value);
    Ok(vec![ctx.push(
        &EXPAND,
        &[value],
        Attrs::new().with("to", to),
    )?])
}

/// Batch, channels, height and width, and the block's extent.
fn image(ctx: &mut RowCtx<'_, '_>) -> Result<(ValueId, [Dim; 4], i64, String), RowError> {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let Ok(extents) = <[Dim; 4]>::try_from(ty.shape.clone()) else {
        return Err(RowError::Invalid(format!("{ty} is no batch of images")));
    };
    let block = ctx.int_or("blocksize", 0);
    if !(1..=1 << 16).contains(&block) {
        return Err(RowError::Invalid(format!("a block size of {block}")));
    }
    let mode = ctx.str_or("mode", "DCR");
    if mode != "DCR" && mode != "CRD" {
        return Err(RowError::Invalid(format!("mode {mode:?}")));
    }
    Ok((x, extents, block, mode))
}

fn divide(dim: &Dim, divisor: &Dim) -> Result<Dim, RowError> {
    let quotient = dim.exact_div(divisor);
    let quotient = quotient.or_else(|| dim.as_const().is_none().then(|| dim.floor_div(divisor)));
    quotient.ok_or_else(|| RowError::Invalid(format!("{dim} is no multiple of {divisor}")))
}

fn depth_to_space(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (mut x, [n, c, h, w], block, mode) = image(ctx)?;
    let positions = Dim::new(block * block);
    let depth = divide(&c, &positions)?;
    let whole = depth.clone() * positions;
    if whole != c {
        let who = ctx.name().to_owned();
        ctx.graph().require(whole.clone(), c, &who)?;
        x = reshape_to(ctx, x, vec![n, whole, h, w])?;
    }
    let mut attrs = Attrs::new().with("blocks", vec![block; 2]);
    if mode == "CRD" && !depth.is(0) {
        attrs = attrs.with("groups", vec![depth]);
    }
    Ok(vec![ctx.push(&DEPTH_TO_SPACE, &[x], attrs)?])
}

fn space_to_depth(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, [n, c, h, w], block, mode) = image(ctx)?;
    let b = Dim::new(block);
    let (h, w) = (divide(&h, &b)?, divide(&w, &b)?);
    let six = [&n, &c, &h, &b, &w, &b].map(Dim::clone);
    let split = reshape_to(ctx, x, six.to_vec())?;
    let perm = match mode.as_str() {
        "DCR" => [0, 3, 5, 1, 2, 4],
        _ => [0, 1, 3, 5, 2, 4],
    };
    let attrs = Attrs::new().with("perm", perm.to_vec());
    let moved = ctx.push(&TRANSPOSE, &[split], attrs)?;
    let four = vec![n, c * b.clone() * b, h, w];
    Ok(vec![reshape_to(ctx, moved, four)?])
}

fn trilu(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, k) = (ctx.input(0)?, ctx.optional(1));
    let attrs = Attrs::new().with("upper", ctx.flag("upper", true));
    ctx.push_all(&TRILU, &[Some(x), k], attrs)
}

fn eye_like(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let dtype = ctx.dtype("dtype")?.unwrap_or(ty.dtype);
    let attrs = Attrs::new()
        .with("to", ty.shape)
        .with("dtype", dtype)
        .with("k", ctx.int_or("k", 0));
    Ok(vec![ctx.push(&EYE, &[], attrs)?])
}

fn reverse_sequence(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, lens) = (ctx.input(0)?, ctx.input(1)?);
    let ty = ctx.ty(x)?;
    let time = ctx.int_or("time_axis", 0);
    let axis = normal_axis(time, ty.rank())?;
    let extent = ctx.dim(ty.shape[axis].clone())?;
    let wide = ctx.cast(lens, DType::I64)?;
    let zero = ctx.number(wide, 0.0)?;
    let (below, above) = (ctx.op(&LT, &[wide, zero])?, ctx.op(&LT, &[extent, wide])?);
    let wrong = ctx.op(&OR, &[below, above])?;
    ctx.refuse(
        wrong,
        &format!("a length is not one of axis {axis} of {ty}"),
    )?;
    let attrs = Attrs::new()
        .with("batch_axis", ctx.int_or("batch_axis", 1))
        .with("time_axis", time);
    Ok(vec![ctx.push(&REVERSE_SEQUENCE, &[x, lens], attrs)?])
}

fn cumulate(ctx: &mut RowCtx<'_, '_>, op: &'static alula_ir::OpDef) -> Built {
    let (x, axis) = (ctx.input(0)?, ctx.input(1)?);
    let attrs = Attrs::new()
        .with("exclusive", ctx.flag("exclusive", false))
        .with("reverse", ctx.flag("reverse", false));
    match ctx.const_ints(axis).as_deref() {
        Some([axis]) => Ok(vec![ctx.push(op, &[x], attrs.with("axis", *axis))?]),
        Some(_) => Err(RowError::Invalid("the axis is not one integer".to_owned())),
        None => {
            let shape = ctx.ty(x)?.shape;
            let three = axes::around(ctx, &shape, axis)?;
            let flat = reshape_to(ctx, x, three)?;
            let sums = ctx.push(op, &[flat], attrs.with("axis", 1_i64))?;
            Ok(vec![reshape_to(ctx, sums, shape)?])
        }
    }
}

/// A scalar, where a model gives one element of whatever rank.
pub(super) fn as_scalar(ctx: &mut RowCtx<'_, '_>, value: ValueId) -> Result<ValueId, RowError> {
    match ctx.rank(value)? {
        0 => Ok(value),
        _ => reshape_to(ctx, value, Vec::new()),
    }
}

/// One integer as a dim; floats are truncated first, as OneHot allows.
pub(super) fn read_dim(ctx: &mut RowCtx<'_, '_>, value: ValueId) -> Result<Dim, RowError> {
    let ty = ctx.ty(value)?;
    if let Some(Scalar::Float(number)) = ctx.as_constant(value).and_then(|tensor| tensor.get(0)) {
        return Ok(Dim::new(number as i64));
    }
    let value = match ty.dtype.is_float() {
        true => {
            let attrs = Attrs::new().with("to", DType::I64);
            ctx.push(&alula_ops::elementwise::choice::CAST, &[value], attrs)?
        }
        false => value,
    };
    match read_dims(ctx, value)?.as_slice() {
        [dim] => Ok(dim.clone()),
        _ => Err(RowError::Invalid(format!("{ty} is not one number"))),
    }
}
