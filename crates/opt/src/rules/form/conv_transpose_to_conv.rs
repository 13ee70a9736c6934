//! A transposed convolution is a convolution for each phase of its result.
//!
//! With stride `s`, position `q = s*a + r` of the result (before its padding is cut off) gets
//! `x[a - t] * w[s*t + r]` for each `t`: for each phase `r` a convolution with every `s`-th tap, last
//! tap first. All phases are channels of one convolution, whose results are then put between one
//! another (Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
//! Sub-Pixel Convolutional Neural Network", 2016). Kernels are multiples of strides, or taps of
//! some phases would be zeros, and zero times infinity is none.

use alula_ir::{Attrs, ValueId};
use alula_tensor::{DType, Dim, Shape};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

/// Products of each result at least: with fewer, loops are as fast, and move nothing about.
const PRODUCTS_MIN: i64 = 8;

/// One spatial axis.
struct Axis {
    stride: i64,
    /// Taps of each phase.
    taps: i64,
    /// Padding of the convolution.
    before: i64,
    after: i64,
    /// Where the result begins among the phases put between one another.
    start: i64,
}

impl Axis {
    /// `None` where a pad cuts more than the taps of a phase reach.
    fn new(kernel: i64, stride: i64, pads: [i64; 2], more: i64) -> Option<Axis> {
        let [begin, end] = pads;
        let (taps, skipped) = (kernel / stride, begin.div_euclid(stride));
        let reach = kernel.checked_sub(end)?.checked_add(more)?;
        let axis = Axis {
            stride,
            taps,
            before: taps - 1 - skipped,
            after: (reach + stride - 1).div_euclid(stride) - 1,
            start: begin - stride * skipped,
        };
        (axis.before >= 0 && axis.after >= 0).then_some(axis)
    }
}

/// Integers, or `absent` for each axis.
fn integers(attrs: &Attrs, name: &str, rank: usize, absent: i64) -> Vec<i64> {
    match attrs.has(name) && !attrs.ints(name).is_empty() {
        true => attrs.ints(name).to_vec(),
        false => vec![absent; rank],
    }
}

/// Extents that are known, or 0 for each.
fn extents(attrs: &Attrs, name: &str, count: usize) -> Result<Vec<i64>, Miss> {
    if !attrs.has(name) || attrs.dims(name).is_empty() {
        return Ok(vec![0; count]);
    }
    let all = attrs.dims(name).iter().map(Dim::as_const);
    let all: Option<_> = all.collect();
    all.ok_or(Miss::from("its padding is a symbol"))
}

fn dims(all: impl IntoIterator<Item = i64>) -> Shape {
    all.into_iter().map(Dim::new).collect()
}

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (x, w) = (found.value("x"), found.value("w"));
    require(
        patch.ty(x)?.dtype == DType::F32,
        "products of this dtype are loops anyway",
    )?;
    let attrs = patch.graph().node(found.root).attrs.clone();
    let shape = patch.shape(w)?;
    let shape: Option<Vec<i64>> = shape.iter().map(Dim::as_const).collect();
    let shape = shape.ok_or(Miss::NONE)?;
    let (channels, own, kernel) = (shape[0], shape[1], &shape[2..]);
    let (rank, group) = (kernel.len(), attrs.int("group").max(1));
    let strides = integers(&attrs, "strides", rank, 1);
    let dilations = integers(&attrs, "dilations", rank, 1);
    let pads = extents(&attrs, "pads", 2 * rank)?;
    let more = extents(&attrs, "output_padding", rank)?;
    require(
        dilations.iter().all(|&dilation| dilation == 1),
        "taps are dilated",
    )?;
    let is_whole = |(kernel, stride): (&i64, &i64)| *stride > 0 && kernel % stride == 0;
    require(
        kernel.iter().zip(&strides).all(is_whole),
        "the kernel is no multiple of the stride",
    )?;
    let axes: Option<Vec<Axis>> = (0..rank)
        .map(|k| Axis::new(kernel[k], strides[k], [pads[k], pads[rank + k]], more[k]))
        .collect();
    let axes = axes.ok_or("its padding cuts off whole taps")?;
    let taps: i64 = axes.iter().map(|axis| axis.taps).product();
    let inputs = channels / group;
    require(
        inputs * taps >= PRODUCTS_MIN,
        "each result has few products",
    )?;
    let weights = phases_of_weights(patch, w, [group, inputs, own], &axes)?;
    let phases: i64 = strides.iter().product();
    let bias = match found.optional("b") {
        Some(bias) => Some(phases_of_bias(patch, bias, [group, phases, own])?),
        None => None,
    };
    let pads = axes.iter().map(|axis| axis.before);
    let pads: Shape = dims(pads.chain(axes.iter().map(|axis| axis.after)));
    let conv = Attrs::new().with("group", group).with("pads", pads);
    let conv = patch.push("conv", &[Some(x), Some(weights), bias], conv, 1)?[0];
    let wanted = patch.shape(found.result)?;
    let whole = put_between(patch, conv, group, &axes)?;
    cut(patch, whole, &wanted, &axes)
}

/// Weights `[C, M / group, kernel..]` as `[group * phases * (M / group), C / group, taps..]`.
fn phases_of_weights(
    patch: &mut Patch<'_>,
    w: ValueId,
    [group, inputs, own]: [i64; 3],
    axes: &[Axis],
) -> Result<ValueId, Miss> {
    let rank = axes.len();
    let split = axes.iter().flat_map(|axis| [axis.taps, axis.stride]);
    let mut w = patch.reshape(w, dims([group, inputs, own].into_iter().chain(split)))?;
    let turned: Vec<usize> = (0..rank).filter(|&k| axes[k].taps > 1).collect();
    if !turned.is_empty() {
        let attrs = Attrs::new()
            .with(
                "axes",
                turned.iter().map(|&k| 3 + 2 * k as i64).collect::<Vec<_>>(),
            )
            .with("starts", dims(turned.iter().map(|&k| axes[k].taps - 1)))
            .with("ends", dims(turned.iter().map(|&k| -axes[k].taps - 1)))
            .with("steps", vec![-1_i64; turned.len()]);
        w = patch.apply("slice", &[w], attrs)?;
    }
    let phases = (0..rank).map(|k| 4 + 2 * k);
    let taps = (0..rank).map(|k| 3 + 2 * k);
    let order: Vec<usize> = [0]
        .into_iter()
        .chain(phases)
        .chain([2, 1])
        .chain(taps)
        .collect();
    let w = patch.transpose(w, &order)?;
    let phases: i64 = axes.iter().map(|axis| axis.stride).product();
    let taps = axes.iter().map(|axis| axis.taps);
    patch.reshape(
        w,
        dims([group * phases * own, inputs].into_iter().chain(taps)),
    )
}

/// The bias `[M]` once for each phase.
fn phases_of_bias(
    patch: &mut Patch<'_>,
    bias: ValueId,
    [group, phases, own]: [i64; 3],
) -> Result<ValueId, Miss> {
    let bias = patch.reshape(bias, dims([group, 1, own]))?;
    let to: Shape = dims([group, phases, own]);
    let bias = patch.apply("expand", &[bias], Attrs::new().with("to", to))?;
    patch.reshape(bias, dims([group * phases * own]))
}

/// `[N, group * phases * (M / group), A..]` as `[N, M, A * stride..]`.
fn put_between(
    patch: &mut Patch<'_>,
    conv: ValueId,
    group: i64,
    axes: &[Axis],
) -> Result<ValueId, Miss> {
    let strides: Vec<i64> = axes.iter().map(|axis| axis.stride).collect();
    if strides.iter().all(|&stride| stride == 1) {
        return Ok(conv);
    }
    let mut attrs = Attrs::new().with("blocks", strides);
    if group != 1 {
        attrs = attrs.with("groups", dims([group]));
    }
    patch.apply("depth_to_space", &[conv], attrs)
}

/// Leaves out what padding cuts off.
fn cut(
    patch: &mut Patch<'_>,
    whole: ValueId,
    wanted: &[Dim],
    axes: &[Axis],
) -> Result<ValueId, Miss> {
    let given = patch.shape(whole)?;
    let is_cut = |&k: &usize| axes[k].start != 0 || given[2 + k] != wanted[2 + k];
    let at: Vec<usize> = (0..axes.len()).filter(is_cut).collect();
    if at.is_empty() {
        return Ok(whole);
    }
    let end = |&k: &usize| Dim::new(axes[k].start) + wanted[2 + k].clone();
    let attrs = Attrs::new()
        .with("axes", at.iter().map(|&k| 2 + k as i64).collect::<Vec<_>>())
        .with("starts", dims(at.iter().map(|&k| axes[k].start)))
        .with("ends", at.iter().map(end).collect::<Shape>());
    patch.apply("slice", &[whole], attrs)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "conv_transpose_to_conv",
    "conv_transpose(x, w) becomes conv(x, phases of w), put between one another",
)
.matching(&["conv_transpose(?x, ?w:const, ?b:const?){..}"])
.build(build);
