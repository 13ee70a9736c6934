//! One test: compiled, run on every data set, compared as ONNX's own runner compares.
//!
//! That runner allows each element of a float output `1e-7 + 1e-3 * |reference|`, in bf16
//! `1e-7 + 2^-6 * |reference|`. Here integers, bools and strings must be equal. A sum whose terms
//! cancel has the error of its terms and not that of its result: an element that is beyond the
//! bound, but within [`NEAR`] units in the last place of the tensor's largest, is *near*, which is
//! counted apart. So is one that is within [`PRODUCTS`] roundings of products of the tensor's
//! largest, where a precision rounds products more.

use std::path::Path;

use alula::{DType, ErrorKind, Model, ProgramStep, Session, Tensor, Value, ValueType, pb};

use super::{Status, random};
use crate::place::Opened;

const ABSOLUTE: f64 = 1e-7;

/// Units in the last place of the largest element within which an element is near.
const NEAR: f64 = 2.0;

/// Roundings of a product as large as the largest element within which an element is near.
const PRODUCTS: f64 = 4.0;

/// A status other than pass, and why.
pub(super) type Bad = (Status, String);

/// What becomes of a test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Good {
    pub(super) status: Status,
    pub(super) distance: Distance,
    /// Whether something of it runs on the host.
    pub(super) has_host_steps: bool,
}

impl Good {
    /// Of a test that gave nothing to measure.
    pub(super) fn without_values(status: Status) -> Good {
        Good {
            status,
            distance: Distance::default(),
            has_host_steps: false,
        }
    }
}

/// How far floats are from their references.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Distance {
    /// The largest error in units in the last place; `None` where there are no floats.
    pub(super) ulp: Option<f64>,
    /// Whether an element is only near.
    pub(super) near: bool,
}

impl Distance {
    fn or(self, other: Distance) -> Distance {
        let ulp = match (self.ulp, other.ulp) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        Distance {
            ulp,
            near: self.near || other.near,
        }
    }
}

/// A model, compiled. Whatever is not refused as unsupported is wrong.
pub(super) fn session(model: &Path, place: &Opened) -> Result<Session, Bad> {
    let model = Model::builder(model).target(place.target).threads(1);
    let model = model.precision(place.precision);
    let model = model.compile().map_err(|error| match error.kind() {
        ErrorKind::Unsupported => (Status::Refused, error.to_string()),
        ErrorKind::User | ErrorKind::Internal => (Status::Wrong, error.to_string()),
    })?;
    // What a device lacks is found as it loads.
    let session = place.session(&model);
    session.map_err(|error| (Status::Refused, error.to_string()))
}

/// The inputs of a data set by name.
pub(super) fn inputs<'s>(session: &'s Session, data: &Path) -> Result<Vec<(&'s str, Value)>, Bad> {
    let ports = session.inputs().iter().enumerate();
    let named = ports
        .map(|(position, port)| Ok((port.name.as_str(), read(data, "input", position, &port.ty)?)));
    named.collect()
}

fn read(data: &Path, prefix: &str, position: usize, ty: &ValueType) -> Result<Value, Bad> {
    let path = data.join(format!("{prefix}_{position}.pb"));
    pb::read(path, ty).map_err(|error| (Status::Wrong, error.to_string()))
}

pub(super) fn judge(name: &str, folder: &Path, place: &Opened) -> Result<Good, Bad> {
    let session = session(&folder.join("model.onnx"), place)?;
    let good = |status, distance| Good {
        status,
        distance,
        has_host_steps: has_host_steps(&session),
    };
    let mut worst = Distance::default();
    for set in 0.. {
        let data = folder.join(format!("test_data_set_{set}"));
        if !data.is_dir() {
            if set == 0 {
                return Err((Status::Wrong, "the test has no data".to_owned()));
            }
            break;
        }
        let (inputs, outputs, expected) = run(&session, &data)?;
        if let Some(statistics) = random::statistics(name) {
            statistics(&inputs, &outputs, &expected).map_err(|reason| (Status::Wrong, reason))?;
            return Ok(good(Status::Random, worst));
        }
        for ((name, actual), expected) in outputs.iter().zip(&expected) {
            let distance = compare_within(actual, expected, rounding(place))
                .map_err(|reason| (Status::Wrong, format!("{name}: {reason}")))?;
            worst = worst.or(distance);
        }
    }
    Ok(good(Status::Pass, worst))
}

fn has_host_steps(session: &Session) -> bool {
    let program = session.loaded_program().map(|session| session.program());
    let steps = program.into_iter().flat_map(|program| &program.plans);
    let mut steps = steps.flat_map(|plan| &plan.steps);
    steps.any(|step| matches!(step, ProgramStep::Host { .. }))
}

/// Inputs, outputs by name, and what they should be.
type Run = (Vec<Value>, Vec<(String, Value)>, Vec<Value>);

fn run(session: &Session, data: &Path) -> Result<Run, Bad> {
    let inputs = inputs(session, data)?;
    let outputs = session
        .run(&inputs)
        .map_err(|error| (Status::Wrong, error.to_string()))?;
    let ports = session.outputs().iter().enumerate();
    let expected = ports.map(|(position, port)| read(data, "output", position, &port.ty));
    let expected = expected.collect::<Result<_, _>>()?;
    let inputs = inputs.into_iter().map(|(_, value)| value).collect();
    Ok((inputs, outputs, expected))
}

/// By how much products of f32 may be rounded more than f32 is, relative to the product.
fn rounding(place: &Opened) -> f64 {
    place.precision.on(place.target).0.rounding()
}

/// How far a value is from its reference, or how the two differ.
pub(super) fn compare(actual: &Value, expected: &Value) -> Result<Distance, String> {
    compare_within(actual, expected, 0.0)
}

/// As [`compare`], where products may be off by `rounding` of themselves.
fn compare_within(actual: &Value, expected: &Value, rounding: f64) -> Result<Distance, String> {
    let compare = |a: &Value, b: &Value| compare_within(a, b, rounding);
    match (actual, expected) {
        (Value::Tensor(actual), Value::Tensor(expected)) => tensors(actual, expected, rounding),
        (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => {
            let mut worst = Distance::default();
            for (a, b) in a.iter().zip(b) {
                worst = worst.or(compare(a, b)?);
            }
            Ok(worst)
        }
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => compare(a, b),
        (Value::Optional(None), Value::Optional(None)) => Ok(Distance::default()),
        // A bare value is an optional that holds it.
        (Value::Optional(Some(a)), b) => compare(a, b),
        (a, Value::Optional(Some(b))) => compare(a, b),
        (Value::Map(a), Value::Map(b)) => {
            if a.keys() != b.keys() {
                return Err(format!("keys of {a}, not of {b}"));
            }
            tensors(a.values(), b.values(), rounding)
        }
        _ => Err(format!(
            "{}, not {}",
            actual.describe(),
            expected.describe()
        )),
    }
}

fn tensors(actual: &Tensor, expected: &Tensor, rounding: f64) -> Result<Distance, String> {
    let dtype = expected.dtype();
    if actual.dtype() != dtype || actual.shape() != expected.shape() {
        return Err(format!("{}, not {}", actual.ty(), expected.ty()));
    }
    if dtype == DType::String {
        let same = actual == expected;
        return if same {
            Ok(Distance::default())
        } else {
            Err("strings differ".to_owned())
        };
    }
    let relative = match dtype {
        DType::BF16 => 1.0 / 64.0,
        dtype if dtype.is_float() => 1e-3,
        _ => 0.0,
    };
    let absolute = if dtype.is_float() { ABSOLUTE } else { 0.0 };
    let (actual, expected) = (actual.to_f64s(), expected.to_f64s());
    let finite = expected.iter().copied().filter(|value| value.is_finite());
    let largest = finite.map(f64::abs).fold(0.0, f64::max);
    let (mut worst, mut near) = (0.0_f64, false);
    for (index, (a, b)) in actual.iter().zip(&expected).enumerate() {
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let error = (a - b).abs();
        let is_close = error <= absolute + relative * b.abs() && b.is_finite();
        if !is_close {
            let near_by = (NEAR * spacing(dtype, largest)).max(PRODUCTS * rounding * largest);
            let is_near = dtype.is_float() && b.is_finite() && error <= near_by;
            if !is_near {
                return Err(format!("element {index} is {a}, not {b}"));
            }
            near = true;
        }
        worst = worst.max(error / spacing(dtype, b.abs().max(largest / 1000.0)));
    }
    let ulp = dtype.is_float().then_some(worst);
    Ok(Distance { ulp, near })
}

/// Distance between numbers of a dtype around a positive one.
fn spacing(dtype: DType, value: f64) -> f64 {
    let fraction_bits = match dtype {
        DType::F64 => 52,
        DType::F32 => 23,
        DType::F16 => 10,
        DType::BF16 => 7,
        DType::F8E4M3FN | DType::F8E4M3FNUZ => 3,
        DType::F8E5M2 | DType::F8E5M2FNUZ => 2,
        DType::F4E2M1 => 1,
        _ => 0,
    };
    (value.log2().floor() - f64::from(fraction_bits)).exp2()
}

#[cfg(test)]
mod tests {
    use alula::Precision;

    use super::*;

    fn floats(values: &[f32]) -> Value {
        Tensor::from_slice(&[values.len()], values)
            .expect("tensor")
            .into()
    }

    #[test]
    fn each_element_has_its_own_bound() {
        let expected = floats(&[1.0, 1000.0]);
        assert!(compare(&floats(&[1.0005, 1000.5]), &expected).is_ok());
        assert!(compare(&floats(&[1.002, 1000.0]), &expected).is_err());
        assert!(compare(&floats(&[f32::NAN, 1000.0]), &expected).is_err());
        assert!(compare(&floats(&[f32::INFINITY]), &floats(&[1.0])).is_err());
        assert!(compare(&floats(&[1.0]), &floats(&[f32::INFINITY])).is_err());
    }

    #[test]
    fn errors_are_counted_in_units_in_the_last_place() {
        let next = f32::from_bits(1.0_f32.to_bits() + 3);
        let far = compare(&floats(&[next, 2.0]), &floats(&[1.0, 2.0]));
        let three = Distance {
            ulp: Some(3.0),
            near: false,
        };
        assert_eq!(far, Ok(three));
    }

    #[test]
    fn what_is_left_of_a_sum_is_near() {
        let near = |at: f32| compare(&floats(&[at, 1024.0]), &floats(&[0.0, 1024.0]));
        assert!(near(2e-4).is_ok_and(|distance| distance.near));
        assert!(near(3e-4).is_err());
    }

    #[test]
    fn products_of_less_are_near_to_more() {
        let far = |at: f32, by| compare_within(&floats(&[at, 100.0]), &floats(&[0.0, 100.0]), by);
        assert!(far(1.5, Precision::Medium.rounding()).is_ok_and(|distance| distance.near));
        assert!(far(2.0, Precision::Medium.rounding()).is_err());
        assert!(far(1.5, Precision::High.rounding()).is_err());
        let nan = floats(&[f32::NAN]);
        assert!(compare_within(&nan, &floats(&[1.0]), 1.0).is_err());
    }

    #[test]
    fn integers_are_equal() {
        let ints = |value: i64| Value::from(Tensor::from_i64s(&[value]));
        assert_eq!(
            compare(&ints(100_000), &ints(100_000)),
            Ok(Distance::default())
        );
        assert!(compare(&ints(100_000), &ints(100_001)).is_err());
    }
}
