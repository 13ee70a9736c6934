//! Every stage of the pipeline as a function from a graph and inputs to outputs, compared with the
//! reference evaluation of the graph as it came.
//!
//! [`check`] runs a case through a stage. A result that is out of the table's bound is compared
//! again under a bound that the reference itself gives: how far its outputs move when each inexact
//! operator's operands and results are off by a few units ([`noise`]). So a difference that the
//! graph magnifies is told from one that a stage makes, and what jumps (rounding, comparison) may
//! jump where it stands on the edge.

pub mod evaluate;
mod noise;
mod shrink;
mod stage;

use alula_ir::HostValue;
use alula_ops::evaluate as reference;
use alula_testkit::tolerance::{Bound, Class, compare, compare_within};

use crate::backends::Devices;
use crate::random::Case;
pub use shrink::{describe, shrink};
pub use stage::{Failed, Source, Stage, Target};

/// How a stage went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The stage.
    pub stage: Stage,
    /// Which of the case's feeds.
    pub feed: usize,
    /// What it is, to tell whether a smaller case fails alike.
    pub kind: &'static str,
    /// What is wrong.
    pub message: String,
}

/// What the reference gives for each feed; `None` where it refuses.
pub fn references(case: &Case) -> Vec<Option<Vec<HostValue>>> {
    let run = |feed: &Vec<HostValue>| reference(&case.graph, feed.clone()).ok();
    case.feeds.iter().map(run).collect()
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// So many outputs were compared, and are right.
    Right(usize),
    /// The target lacks what the graph needs, and says so.
    Refused(String),
    /// This machine has no such device.
    Absent,
}

/// Runs a case through a stage.
///
/// # Errors
/// [`Failure`], the first that there is.
pub fn check(
    case: &Case,
    expected: &[Option<Vec<HostValue>>],
    stage: Stage,
    devices: &Devices,
) -> Result<Checked, Failure> {
    let fail = |feed, kind, message| Failure {
        stage,
        feed,
        kind,
        message,
    };
    let mut compared = 0;
    let prepared = match stage::prepare(&case.graph, stage, devices) {
        Ok(prepared) => prepared,
        Err(Failed {
            kind: "refused",
            message,
        }) => return Ok(Checked::Refused(message)),
        Err(Failed { kind: "absent", .. }) => return Ok(Checked::Absent),
        Err(Failed { kind, message }) => return Err(fail(0, kind, message)),
    };
    for (number, (feed, expected)) in case.feeds.iter().zip(expected).enumerate() {
        let Some(expected) = expected else { continue };
        let actual = stage::run(&prepared, &case.graph, feed)
            .map_err(|Failed { kind, message }| fail(number, kind, message))?;
        for (k, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
            compared += 1;
            let Err(message) = compare_values(expected, actual, None) else {
                continue;
            };
            let spread = noise::spread(case, number, k);
            let Err(again) = compare_values(expected, actual, Some(&spread)) else {
                continue;
            };
            let name = &case.graph.outputs()[k].0;
            let message = format!("output {name}: {message}; with the spread of it: {again}");
            return Err(fail(number, "wrong", message));
        }
    }
    Ok(Checked::Right(compared))
}

/// Compares an output with its reference, within the spread if there is one.
fn compare_values(
    expected: &HostValue,
    actual: &HostValue,
    spread: Option<&noise::Spread>,
) -> Result<(), String> {
    let (Some(wanted), Some(got)) = (expected.as_tensor(), actual.as_tensor()) else {
        return match expected == actual {
            true => Ok(()),
            false => Err("values differ".to_owned()),
        };
    };
    if wanted.dtype() != got.dtype() || wanted.shape() != got.shape() {
        return match spread {
            Some(noise::Spread::Shapes) => Ok(()),
            _ => Err(format!("{} instead of {}", got.ty(), wanted.ty())),
        };
    }
    let (wanted_all, got_all, dtype) = (wanted.to_f64s(), got.to_f64s(), wanted.dtype());
    let Some(noise::Spread::Within(spread)) = spread else {
        let report = compare(&wanted_all, &got_all, Class::Normalization, dtype);
        return match report.is_ok() || spread.is_some() {
            true => Ok(()),
            false => Err(report.to_string()),
        };
    };
    let exact = Bound {
        ulp: 0.0,
        rel_to_max: 0.0,
    };
    for (k, ((&a, &b), &spread)) in wanted_all.iter().zip(&got_all).zip(spread).enumerate() {
        let same = a == b || (a.is_nan() && b.is_nan());
        let within = spread.is_infinite() || (a - b).abs() <= spread;
        let report = compare(&[a], &[b], Class::Normalization, dtype);
        if !same && !within && !report.is_ok() {
            let report = compare_within(&wanted_all, &got_all, exact, dtype);
            return Err(format!("[{k}] is {b:e}, not {a:e} ± {spread:e}; {report}"));
        }
    }
    Ok(())
}
