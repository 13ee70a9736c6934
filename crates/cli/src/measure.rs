//! Comparing outputs, and what the system says of this process.

use alula::{DType, Tensor, Value};

/// How far a value is from its reference.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distance {
    /// Largest absolute difference.
    pub(crate) worst_abs: f64,
    /// The same over the largest finite reference element; the absolute one where that is 0.
    pub(crate) worst_rel: f64,
    /// Root of the mean square of differences over that of the finite reference elements; that of
    /// differences where those are all 0.
    pub(crate) rms_rel: f64,
    /// What makes the two no approximation of one another at all.
    pub(crate) reason: Option<String>,
}

impl Distance {
    fn different(reason: String) -> Distance {
        Distance {
            worst_abs: f64::INFINITY,
            worst_rel: f64::INFINITY,
            rms_rel: f64::INFINITY,
            reason: Some(reason),
        }
    }

    /// Whether the distance is within a bound.
    pub(crate) fn is_within(&self, bound: f64) -> bool {
        self.reason.is_none() && self.worst_rel <= bound
    }

    fn worse(self, other: Distance) -> Distance {
        if other.reason.is_some() || other.worst_rel > self.worst_rel {
            return other;
        }
        self
    }
}

/// Compares a value to its reference. NaN and infinities must agree.
pub(crate) fn distance(actual: &Value, expected: &Value) -> Distance {
    match (actual, expected) {
        (Value::Tensor(actual), Value::Tensor(expected)) => tensors(actual, expected),
        (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).map(|(a, b)| distance(a, b));
            pairs.fold(exact(), Distance::worse)
        }
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => distance(a, b),
        (Value::Optional(None), Value::Optional(None)) => exact(),
        // A bare value is an optional that holds it.
        (Value::Optional(Some(a)), b) => distance(a, b),
        (a, Value::Optional(Some(b))) => distance(a, b),
        (Value::Map(a), Value::Map(b)) if a.keys() == b.keys() => tensors(a.values(), b.values()),
        (Value::Map(a), Value::Map(b)) => Distance::different(format!("keys of {a}, not of {b}")),
        _ => Distance::different(format!(
            "{}, not {}",
            actual.describe(),
            expected.describe()
        )),
    }
}

fn tensors(actual: &Tensor, expected: &Tensor) -> Distance {
    if actual.dtype() != expected.dtype() || actual.shape() != expected.shape() {
        return Distance::different(format!("{}, not {}", actual.ty(), expected.ty()));
    }
    if expected.dtype() == DType::String {
        if actual == expected {
            return exact();
        }
        return Distance::different("strings differ".to_owned());
    }
    if actual.bytes() == expected.bytes() {
        return exact();
    }
    let (a, b) = (actual.to_f64s(), expected.to_f64s());
    let (mut worst, mut largest) = (0.0_f64, 0.0_f64);
    let (mut squares, mut reference) = (0.0_f64, 0.0_f64);
    for (index, (a, b)) in a.iter().zip(&b).enumerate() {
        if b.is_finite() {
            largest = largest.max(b.abs());
            reference += b * b;
        }
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        if !a.is_finite() || !b.is_finite() {
            return Distance::different(format!("element {index} is {a}, not {b}"));
        }
        worst = worst.max((a - b).abs());
        squares += (a - b) * (a - b);
    }
    let over = |far: f64, all: f64| if all > 0.0 { far / all } else { far };
    Distance {
        worst_abs: worst,
        worst_rel: over(worst, largest),
        rms_rel: match reference > 0.0 {
            true => (squares / reference).sqrt(),
            false => (squares / a.len() as f64).sqrt(),
        },
        reason: None,
    }
}

fn exact() -> Distance {
    Distance {
        worst_abs: 0.0,
        worst_rel: 0.0,
        rms_rel: 0.0,
        reason: None,
    }
}

/// Peak memory of this process in MB (10^6 bytes), where the system tells.
pub(crate) fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// Seconds of the system's monotonic clock, to be compared with other processes' readings.
pub(crate) fn monotonic_seconds() -> f64 {
    seconds_of(rustix::time::ClockId::Monotonic)
}

/// Seconds that all threads of this process have had a processor. Unlike time, it passes for this
/// process alone, whatever else the machine does.
pub(crate) fn processor_seconds() -> f64 {
    seconds_of(rustix::time::ClockId::ProcessCPUTime)
}

fn seconds_of(clock: rustix::time::ClockId) -> f64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Value {
        Tensor::from_slice(&[values.len()], values)
            .expect("tensor")
            .into()
    }

    #[test]
    fn errors_are_relative_to_the_largest_element() {
        let far = distance(&floats(&[1.5, 10.0]), &floats(&[1.0, 10.0]));
        assert_eq!((far.worst_abs, far.worst_rel), (0.5, 0.05));
        assert!((far.rms_rel - 0.5 / 101_f64.sqrt()).abs() < 1e-12);
        assert!(far.is_within(0.05) && !far.is_within(0.04));
    }

    #[test]
    fn infinities_and_shapes_must_agree() {
        let nan = floats(&[f32::NAN]);
        assert!(distance(&nan, &nan).is_within(0.0));
        assert!(!distance(&nan, &floats(&[1.0])).is_within(1e9));
        assert!(!distance(&floats(&[1.0, 2.0]), &floats(&[1.0])).is_within(1e9));
    }
}
