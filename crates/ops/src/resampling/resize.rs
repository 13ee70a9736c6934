//! `resize`: interpolation along axes, one after the other (ONNX Resize).

use alula_ir::{
    AttrDefault, AttrKind, AttrSpec, Attrs, EvalCtx, EvalError, HostValue, InferCtx, InferError,
    Inferred, Lowering, OpDef, Traits,
};
use alula_tensor::{DTypeClass, Scalar};

use super::taps;
use crate::points::{points, ravel};

/// `x` sampled at `sizes` positions along each of `axes`.
///
/// Coordinates are computed in `f32`. `scales` (one for each axis, or none) are what coordinates
/// are divided by; without them it is the ratio of the extents. Corners are aligned with the exact
/// product of extent and scale. `roi` holds starts and then ends
/// for `tf_crop_and_resize`. Integers are interpolated in `f32` and truncated.
pub static RESIZE: OpDef = OpDef {
    name: "resize",
    summary: "x sampled at `sizes` positions along each of `axes`",
    operands: &["x"],
    attrs: &[
        AttrSpec::ints("axes", "resized axes, not negative"),
        AttrSpec::required(
            "sizes",
            AttrKind::Dims,
            "extents of the result on these axes",
        ),
        AttrSpec::required(
            "scales",
            AttrKind::Floats,
            "ratio of extents for each axis, or none",
        ),
        AttrSpec::str("mode", "nearest", "nearest, linear or cubic"),
        AttrSpec::str(
            "coordinates",
            "half_pixel",
            "half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners, asymmetric, \
             tf_half_pixel_for_nn or tf_crop_and_resize",
        ),
        AttrSpec::str(
            "nearest",
            "round_prefer_floor",
            "round_prefer_floor, round_prefer_ceil, floor or ceil",
        ),
        AttrSpec::float("cubic_a", -0.75, "coefficient of the cubic"),
        AttrSpec::bool("exclude_outside", false, "taps outside weigh nothing"),
        AttrSpec::bool(
            "antialias",
            false,
            "a wider filter where the result is smaller",
        ),
        AttrSpec::float(
            "extrapolation",
            0.0,
            "value outside, for tf_crop_and_resize",
        ),
        AttrSpec {
            name: "roi",
            kind: AttrKind::Floats,
            default: AttrDefault::Absent,
            doc: "starts and then ends of the region, for each axis, within 0..1",
        },
    ],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compute(taps::lower),
    examples: &[
        "graph @e(%x: f32[1, 2, 3, 4]) {
           %y = resize %x {axes = [2, 3], sizes = [6, 8], scales = [2.0, 2.0]} return y: %y }",
        "graph @e(%x: f32[N, 2, H, 4]) {
           %y = resize %x {axes = [2, 3], sizes = [2*H, 6], scales = [2.0, 1.5], mode = \"linear\"}
           return y: %y }",
        "graph @e(%x: f32[1, 1, 5, 4]) {
           %y = resize %x {axes = [2, 3], sizes = [3, 7], scales = [], mode = \"cubic\",
             coordinates = \"align_corners\"} return y: %y }",
        "graph @e(%x: f32[1, 6, 5]) {
           %y = resize %x {axes = [1, 2], sizes = [3, 2], scales = [0.5, 0.4], mode = \"linear\",
             antialias = true, coordinates = \"pytorch_half_pixel\"} return y: %y }",
        "graph @e(%x: f16[7, 1]) {
           %y = resize %x {axes = [0], sizes = [3], scales = [], mode = \"cubic\",
             antialias = true, exclude_outside = true} return y: %y }",
        "graph @e(%x: u8[5]) {
           %y = resize %x {axes = [0], sizes = [8], scales = [1.6], nearest = \"ceil\",
             coordinates = \"asymmetric\"} return y: %y }",
        "graph @e(%x: f32[4, 4]) {
           %y = resize %x {axes = [0, 1], sizes = [3, 3], scales = [], mode = \"linear\",
             coordinates = \"tf_crop_and_resize\", roi = [0.4, 0.6, 0.6, 1.2],
             extrapolation = 10.0} return y: %y }",
        "graph @e(%x: f32[4]) {
           %y = resize %x {axes = [0], sizes = [2], scales = [0.6], mode = \"linear\",
             coordinates = \"half_pixel_symmetric\"} return y: %y }",
    ],
};

/// Which elements make a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// How a position in the result maps to one in the operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixel,
    TfCrop,
}

/// How a coordinate between elements is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// The attributes, read.
pub(super) struct Spec {
    pub(super) axes: Vec<usize>,
    pub(super) scales: Vec<f64>,
    pub(super) mode: Mode,
    pub(super) coordinates: Coordinates,
    pub(super) rounding: Rounding,
    pub(super) cubic_a: f64,
    pub(super) exclude_outside: bool,
    pub(super) antialias: bool,
    pub(super) extrapolation: f64,
    /// Start and end for each axis.
    pub(super) roi: Vec<(f64, f64)>,
}

impl Spec {
    pub(super) fn new(attrs: &Attrs) -> Result<Spec, InferError> {
        let bad = |name: &str| InferError::BadAttr {
            name: name.to_owned(),
            reason: format!("is {:?}", attrs.get(name)),
        };
        let axes: Option<Vec<usize>> = attrs
            .ints("axes")
            .iter()
            .map(|axis| usize::try_from(*axis).ok())
            .collect();
        let axes = axes.ok_or_else(|| bad("axes"))?;
        let scales = attrs.floats("scales").to_vec();
        if attrs.dims("sizes").len() != axes.len() {
            return Err(bad("sizes"));
        }
        let is_valid = |scale: &f64| *scale > 0.0 && scale.is_finite();
        if !(scales.is_empty() || scales.len() == axes.len()) || !scales.iter().all(is_valid) {
            return Err(bad("scales"));
        }
        let mode = match attrs.str("mode") {
            "nearest" => Mode::Nearest,
            "linear" => Mode::Linear,
            "cubic" => Mode::Cubic,
            _ => return Err(bad("mode")),
        };
        let coordinates = match attrs.str("coordinates") {
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "tf_half_pixel_for_nn" => Coordinates::TfHalfPixel,
            "tf_crop_and_resize" => Coordinates::TfCrop,
            _ => return Err(bad("coordinates")),
        };
        let rounding = match attrs.str("nearest") {
            "round_prefer_floor" => Rounding::PreferFloor,
            "round_prefer_ceil" => Rounding::PreferCeil,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            _ => return Err(bad("nearest")),
        };
        let mut roi = vec![(0.0, 1.0); axes.len()];
        if coordinates == Coordinates::TfCrop {
            let given = if attrs.has("roi") {
                attrs.floats("roi")
            } else {
                &[]
            };
            if given.len() != 2 * axes.len() {
                return Err(bad("roi"));
            }
            let (starts, ends) = given.split_at(axes.len());
            roi = starts.iter().copied().zip(ends.iter().copied()).collect();
        }
        Ok(Spec {
            axes,
            scales,
            mode,
            coordinates,
            rounding,
            cubic_a: attrs.float("cubic_a"),
            exclude_outside: attrs.bool("exclude_outside"),
            antialias: attrs.bool("antialias"),
            extrapolation: attrs.float("extrapolation"),
            roi,
        })
    }
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let spec = Spec::new(ctx.attrs)?;
    let x = ctx.tensor(0)?;
    use DTypeClass::{Bool, Float, Signed, Unsigned};
    match spec.mode {
        Mode::Nearest => ctx.expect_class(0, &[Float, Signed, Unsigned, Bool])?,
        Mode::Linear | Mode::Cubic => ctx.expect_class(0, &[Float, Signed, Unsigned])?,
    };
    let mut shape = x.shape.clone();
    for (&axis, size) in spec.axes.iter().zip(ctx.attrs.dims("sizes")) {
        let extent = shape.get_mut(axis);
        let extent = extent
            .ok_or_else(|| InferError::Mismatch(format!("axis {axis} of {x} does not exist")))?;
        if extent.is(0) && !size.is(0) {
            return Err(InferError::Mismatch(format!(
                "axis {axis} of {x} has nothing to sample"
            )));
        }
        *extent = size.clone();
    }
    Ok(vec![Inferred::tensor(x.dtype, shape)])
}

/// One axis of a reference: extents and scale in `f32`.
struct Line<'s> {
    spec: &'s Spec,
    k: usize,
    from: usize,
    to: usize,
    scale: f32,
}

impl Line<'_> {
    fn coordinate(&self, at: usize) -> f32 {
        let (at, from, to, scale) = (at as f32, self.from as f32, self.to as f32, self.scale);
        let half_pixel = (at + 0.5) / scale - 0.5;
        match self.spec.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = to / (scale * from);
                from / 2.0 * (1.0 - adjustment) + half_pixel
            }
            Coordinates::PytorchHalfPixel => {
                if self.to > 1 {
                    half_pixel
                } else {
                    0.0
                }
            }
            Coordinates::AlignCorners => {
                let steps = if self.spec.scales.is_empty() {
                    to
                } else {
                    scale * from
                } - 1.0;
                at * (from - 1.0) / steps.max(1.0)
            }
            Coordinates::Asymmetric => at / scale,
            Coordinates::TfHalfPixel => (at + 0.5) / scale,
            Coordinates::TfCrop => {
                let (start, end) = self.spec.roi[self.k];
                let (start, end) = (start as f32, end as f32);
                if self.to > 1 {
                    start * (from - 1.0) + at * ((end - start) * (from - 1.0)) / (to - 1.0)
                } else {
                    0.5 * (start + end) * (from - 1.0)
                }
            }
        }
    }

    /// Elements and weights of a sample; `None` for one outside of a crop.
    fn taps(&self, at: usize) -> Option<Vec<(usize, f64)>> {
        let spec = self.spec;
        let x = self.coordinate(at);
        let last = self.from as f32 - 1.0;
        if spec.coordinates == Coordinates::TfCrop && (x < 0.0 || x > last) {
            return None;
        }
        if spec.mode == Mode::Nearest {
            let rounded = match spec.rounding {
                Rounding::PreferFloor => (x - 0.5).ceil(),
                Rounding::PreferCeil => (x + 0.5).floor(),
                Rounding::Floor => x.floor(),
                Rounding::Ceil => x.ceil(),
            };
            return Some(vec![(rounded.clamp(0.0, last) as usize, 1.0)]);
        }
        let reach = if spec.mode == Mode::Linear { 1.0 } else { 2.0 };
        let squeeze = if spec.antialias {
            self.scale.min(1.0)
        } else {
            1.0
        };
        let first = (-reach / squeeze).floor() as i64 + 1;
        let base = x.floor();
        let mut taps: Vec<(i64, f64)> = (first..=1 - first)
            .map(|k| {
                let distance = f64::from((k as f32 - (x - base)) * squeeze).abs();
                (base as i64 + k, weight(spec, distance))
            })
            .collect();
        if spec.exclude_outside {
            taps.retain(|(at, _)| (0..self.from as i64).contains(at));
        }
        let total: f64 = match spec.exclude_outside || spec.antialias {
            true => taps.iter().map(|(_, weight)| weight).sum(),
            false => 1.0,
        };
        let clamped = |at: i64| at.clamp(0, self.from as i64 - 1) as usize;
        Some(
            taps.into_iter()
                .map(|(at, weight)| (clamped(at), weight / total))
                .collect(),
        )
    }
}

fn weight(spec: &Spec, distance: f64) -> f64 {
    let (x, a) = (distance, spec.cubic_a);
    match spec.mode {
        Mode::Cubic if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        Mode::Cubic if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
        Mode::Cubic => 0.0,
        _ => (1.0 - x).max(0.0),
    }
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let spec = Spec::new(ctx.attrs).map_err(|error| EvalError::Value(error.to_string()))?;
    let x = ctx.tensor(0)?;
    let mut shape = x.shape().to_vec();
    for (&axis, size) in spec.axes.iter().zip(ctx.attrs.dims("sizes")) {
        let size = size.as_const().and_then(|size| usize::try_from(size).ok());
        shape[axis] = size.ok_or_else(|| EvalError::Value("sizes are not known".to_owned()))?;
    }
    ctx.zeros(x.dtype(), &shape)?;
    let xs = x.to_scalars();
    let mut values = Vec::new();
    for at in points(&shape) {
        let mut samples: Option<Vec<(Vec<usize>, f64)>> = Some(vec![(at.clone(), 1.0)]);
        for (k, &axis) in spec.axes.iter().enumerate() {
            let (from, to) = (x.shape()[axis], shape[axis]);
            let scale = spec
                .scales
                .get(k)
                .map_or(to as f32 / from as f32, |s| *s as f32);
            let line = Line {
                spec: &spec,
                k,
                from,
                to,
                scale,
            };
            let taps = line.taps(at[axis]);
            samples = samples.zip(taps).map(|(samples, taps)| {
                let mut next = Vec::new();
                for (index, weight) in samples {
                    for (position, factor) in &taps {
                        let mut index = index.clone();
                        index[axis] = *position;
                        next.push((index, weight * factor));
                    }
                }
                next
            });
        }
        values.push(match samples {
            None => Scalar::Float(spec.extrapolation),
            Some(samples) if spec.mode == Mode::Nearest => xs[ravel(&samples[0].0, x.shape())],
            Some(samples) => Scalar::Float(
                samples
                    .iter()
                    .map(|(index, weight)| xs[ravel(index, x.shape())].to_f64() * weight)
                    .sum(),
            ),
        });
    }
    Ok(vec![ctx.result(x.dtype(), &shape, &values)?])
}
