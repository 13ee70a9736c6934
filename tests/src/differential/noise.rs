//! How far outputs move when inexact operators are a little off.
//!
//! The noise is larger than the error of any operator's class, and there are several runs of it:
//! what a stage's own rounding could change, one of them very likely changes, too.

use alula_ir::{HostValue, OpDef};
use alula_tensor::{Scalar, Tensor};
use alula_testkit::SplitMix64;
use alula_testkit::tolerance::ulp;

use super::evaluate::State;
use crate::random::Case;

/// Runs with noise. At an edge each of them is the toss of a coin, and of hundreds of elements
/// there one may well seem steady in eight.
const RUNS: u64 = 16;
/// Units in the last place by which numbers are off, and part of the tensor's largest.
const UNITS: f64 = 16.0;
const UNITS_OF_LARGEST: f64 = 4.0;

/// What outputs may differ by.
#[derive(Clone, Debug)]
pub(super) enum Spread {
    /// By shapes even.
    Shapes,
    /// Each element by so much; infinitely where any value will do.
    Within(Vec<f64>),
}

/// How far elements of an output move.
pub(super) fn spread(case: &Case, feed: usize, output: usize) -> Spread {
    let (_, id) = &case.graph.outputs()[output];
    let mut plain = State::with_inputs(&case.graph, &case.feeds[feed]);
    if plain.run().is_err() {
        return Spread::Shapes;
    }
    let Some(wanted) = plain.values[id].as_tensor().cloned() else {
        return Spread::Shapes;
    };
    let centre = wanted.to_f64s();
    let mut widest = vec![0.0_f64; centre.len()];
    for seed in 0..RUNS {
        let mut noisy = State::with_inputs(&case.graph, &case.feeds[feed]);
        let mut random = SplitMix64::new(seed);
        if run(&mut noisy, &mut random).is_none() {
            return Spread::Shapes;
        }
        let Some(moved) = noisy.values[id].as_tensor() else {
            return Spread::Shapes;
        };
        if moved.shape() != wanted.shape() {
            return Spread::Shapes;
        }
        for ((widest, a), b) in widest.iter_mut().zip(&centre).zip(moved.to_f64s()) {
            let distance = match (a.is_finite(), b.is_finite()) {
                (true, true) => (a - b).abs(),
                (false, false) if a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() => 0.0,
                _ => f64::INFINITY,
            };
            *widest = widest.max(distance);
        }
    }
    // Draws rarely meet the worst one.
    Spread::Within(widest.into_iter().map(|spread| 2.0 * spread).collect())
}

/// Evaluates with noise; `None` if a value is refused then.
fn run(state: &mut State, random: &mut SplitMix64) -> Option<()> {
    for id in state.graph.nodes() {
        let node = state.graph.node(id).clone();
        let exact = is_exact(node.op);
        let kept: Vec<_> = node
            .operands
            .iter()
            .flatten()
            .map(|id| (*id, state.values[id].clone()))
            .collect();
        if !exact {
            for (position, (id, value)) in kept.iter().enumerate() {
                // A power of a negative number is NaN a hair beside a whole exponent, and NaN
                // compares like no number near the right one.
                let is_exponent = node.op.name == "pow" && position == 1;
                if !(is_exponent && is_whole(value)) {
                    state.values.insert(*id, shaken(value, random));
                }
            }
        }
        let results = state.node(id).ok();
        state.values.extend(kept);
        for (result, value) in node.results.iter().zip(results?) {
            let value = if exact { value } else { shaken(&value, random) };
            state.set(*result, value);
        }
    }
    Some(())
}

/// Whether an operator moves, compares or chooses numbers and computes none.
fn is_exact(op: &OpDef) -> bool {
    const EXACT: &[&str] = &[
        "neg",
        "abs",
        "sign",
        "relu",
        "min",
        "max",
        "not",
        "transpose",
        "reshape",
        "slice",
        "concat",
        "split",
        "expand",
        "tile",
        "pad",
        "gather",
        "gather_elements",
        "gather_nd",
        "scatter_nd",
        "select",
        "clip",
        "trilu",
        "eye",
        "one_hot",
        "dims",
        "as_dims",
        "reduce_max",
        "reduce_min",
        "compress",
        "topk",
        "nonzero",
        "max_pool",
    ];
    EXACT.contains(&op.name)
}

/// Whether all elements are whole numbers.
fn is_whole(value: &HostValue) -> bool {
    let tensor = value.as_tensor();
    tensor.is_some_and(|tensor| tensor.to_f64s().iter().all(|x| x.fract() == 0.0))
}

fn shaken(value: &HostValue, random: &mut SplitMix64) -> HostValue {
    let Some(tensor) = value.as_tensor().filter(|tensor| tensor.dtype().is_float()) else {
        return value.clone();
    };
    let dtype = tensor.dtype();
    let values = tensor.to_f64s();
    let largest = values.iter().filter(|x| x.is_finite());
    let largest = largest.fold(0.0_f64, |most, x| most.max(x.abs()));
    let step = UNITS_OF_LARGEST * ulp(dtype, largest);
    let moved: Vec<Scalar> = values
        .iter()
        .map(|&x| {
            if !x.is_finite() {
                return Scalar::Float(x);
            }
            let by = UNITS * ulp(dtype, x) + step;
            Scalar::Float(x + by * random.uniform(-1.0..1.0)).cast(dtype)
        })
        .collect();
    Tensor::from_scalars(tensor.dtype(), tensor.shape(), &moved)
        .expect("as many as before")
        .into()
}
