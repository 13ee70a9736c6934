//! `slice`: every `step`-th element from a start to an end, on some axes.

use alula_ir::{
    AttrDefault, AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred,
    LowerCtx, LowerError, Lowering, OpDef,
};
use alula_kernel::Compute;
use alula_tensor::Dim;

use super::PLAIN;
use crate::extent::{first_within, slice_bounds};
use crate::movement::{assemble, axis_of, begin, known, linear, load_stored, moved_content};

/// Positions count from the end if negative and are clamped to the extent, as in ONNX Slice.
pub static SLICE: OpDef = OpDef {
    name: "slice",
    summary: "y[i, ..] = x[start + i * step, ..] on each of `axes`, up to but without the end",
    operands: &["x"],
    attrs: &[
        AttrSpec::required("axes", AttrKind::Ints, "axes, from the end if negative"),
        AttrSpec::required(
            "starts",
            AttrKind::Dims,
            "first positions, one for each axis",
        ),
        AttrSpec::required("ends", AttrKind::Dims, "positions after the last"),
        AttrSpec {
            name: "steps",
            kind: AttrKind::Ints,
            default: AttrDefault::Absent,
            doc: "distances, not 0; all 1 if absent",
        },
    ],
    traits: PLAIN,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: f32[4, 6]) {
           %y = slice %x {axes = [0, -1], starts = [1, 0], ends = [3, 6], steps = [1, 2]}
           return y: %y }",
        "graph @e(%x: i64[5]) {
           %y = slice %x {axes = [0], starts = [-1], ends = [-100], steps = [-2]} return y: %y }",
        "graph @e(%x: f32[N, 4]) {
           %y = slice %x {axes = [0], starts = [1], ends = [9223372036854775807]} return y: %y }",
        "graph @e(%x: f16[N, 4]) {
           %y = slice %x {axes = [0], starts = [-1], ends = [-9223372036854775807], steps = [-1]}
           return y: %y }",
        "graph @e(%x: bool[4]) {
           %y = slice %x {axes = [0], starts = [3], ends = [2]} return y: %y }",
        "graph @e(%x: f64[4, 4], %n: bool[N]) {
           %y = slice %x {axes = [1], starts = [N - 4], ends = [N - 7]} return y: %y, n: %n }",
    ],
};

fn steps(attrs: &alula_ir::Attrs) -> Vec<i64> {
    match attrs.has("steps") {
        true => attrs.ints("steps").to_vec(),
        false => vec![1; attrs.ints("axes").len()],
    }
}

/// Start and length on each axis of `shape`, and the step.
fn bounds(attrs: &alula_ir::Attrs, shape: &[Dim]) -> Vec<(Dim, Dim, i64)> {
    let mut all: Vec<_> = shape
        .iter()
        .map(|extent| (Dim::new(0), extent.clone(), 1))
        .collect();
    let (starts, ends, steps) = (attrs.dims("starts"), attrs.dims("ends"), steps(attrs));
    for (k, &axis) in attrs.ints("axes").iter().enumerate() {
        let axis = axis_of(axis, shape.len());
        let (start, length) = slice_bounds(&shape[axis], &starts[k], &ends[k], steps[k]);
        all[axis] = (start, length, steps[k]);
    }
    all
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    let (axes, steps) = (ctx.attrs.ints("axes"), steps(ctx.attrs));
    let (starts, ends) = (ctx.attrs.dims("starts").len(), ctx.attrs.dims("ends").len());
    if [starts, ends, steps.len()] != [axes.len(); 3] {
        return Err(InferError::Mismatch(format!(
            "{} axes, {starts} starts, {ends} ends and {} steps are given",
            axes.len(),
            steps.len()
        )));
    }
    if steps.contains(&0) {
        return Err(InferError::Mismatch("a step is 0".to_owned()));
    }
    let mut seen = Vec::with_capacity(axes.len());
    for &axis in axes {
        let axis = ctx.axis(axis, x.rank())?;
        if seen.contains(&axis) {
            return Err(InferError::Mismatch(format!("axis {axis} is given twice")));
        }
        seen.push(axis);
    }
    let bounds = bounds(ctx.attrs, &x.shape);
    let shape: Vec<Dim> = bounds.iter().map(|(_, length, _)| length.clone()).collect();
    let content = ctx
        .content(0)
        .and_then(|all| pick(all, &x.shape, &shape, &bounds));
    Ok(vec![Inferred::tensor(x.dtype, shape).with_content(content)])
}

fn pick(all: &[Dim], from: &[Dim], shape: &[Dim], bounds: &[(Dim, Dim, i64)]) -> Option<Vec<Dim>> {
    let starts: Vec<i64> = bounds
        .iter()
        .map(|(start, _, _)| start.as_const())
        .collect::<Option<_>>()?;
    moved_content(all, from, shape, |index, own| {
        for (axis, (start, (_, _, step))) in starts.iter().zip(bounds).enumerate() {
            own[axis] = usize::try_from(start + index[axis] as i64 * step).unwrap_or(usize::MAX);
        }
    })
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let (starts, ends) = (
        known(ctx.attrs.dims("starts"))?,
        known(ctx.attrs.dims("ends"))?,
    );
    let steps = steps(ctx.attrs);
    // The positions taken on each axis, found by walking.
    let mut taken: Vec<Vec<usize>> = x.shape().iter().map(|&n| (0..n).collect()).collect();
    for (k, &axis) in ctx.attrs.ints("axes").iter().enumerate() {
        let axis = axis_of(axis, x.rank());
        let extent = x.shape()[axis] as i64;
        let place = |position: i64| match position < 0 {
            true => position.saturating_add(extent),
            false => position,
        };
        let (mut at, end) = (place(starts[k]), place(ends[k]));
        taken[axis].clear();
        at = at
            .min(if steps[k] > 0 { extent } else { extent - 1 })
            .max(0);
        // An empty axis has nothing to start from.
        if extent == 0 {
            continue;
        }
        while (steps[k] > 0 && at < end.min(extent)) || (steps[k] < 0 && at > end.max(-1)) {
            taken[axis].extend(usize::try_from(at).ok());
            at = at.saturating_add(steps[k]);
        }
    }
    let shape: Vec<usize> = taken.iter().map(Vec::len).collect();
    let value = assemble(ctx, &[x], &shape, |index| {
        let own: Vec<usize> = index.iter().zip(&taken).map(|(&i, all)| all[i]).collect();
        Ok((0, linear(x.shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let bounds = bounds(ctx.attrs, &ctx.tensor(0).shape);
    let mut index = compute.indices();
    let extents = &ctx.tensor(0).shape;
    for ((position, extent), (start, length, step)) in index.iter_mut().zip(extents).zip(bounds) {
        let start = first_within(start, extent, &length);
        let (start, step) = (compute.pool.dim(start), compute.pool.int(step));
        let scaled = compute.pool.mul(*position, step);
        *position = compute.pool.add(start, scaled);
    }
    let value = load_stored(&mut compute, 0, index);
    Ok(vec![compute.finish(value)])
}
