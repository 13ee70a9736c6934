//! How far a result may be from its reference: one table by operator class and dtype.
//!
//! References are computed in f64. An element is right if it is within [`Bound::ulp`] units in the
//! last place of the reference *or* within [`Bound::rel_to_max`] times the largest finite reference
//! element. The first judges what rounds once or a few times; the second judges sums, in which an
//! element near zero inherits the error of the terms that cancelled.
//!
//! A NaN matches a NaN only, an infinity only the same infinity; a reference beyond the dtype's
//! range also matches the infinity that it rounds to. Zeros match whatever their sign.

use alula_tensor::{DType, MiniFloat};

/// Where the numbers of a floating-point dtype lie.
#[derive(Debug, Clone, Copy)]
struct Grid {
    /// Bits of the fraction that are stored.
    fraction_bits: i32,
    /// Exponent of the smallest normal number.
    exponent_min: i32,
    /// The largest finite number.
    max_finite: f64,
}

impl Grid {
    /// `None` for whatever is no floating-point number.
    fn of(dtype: DType) -> Option<Grid> {
        if let Some(float) = MiniFloat::of(dtype) {
            return Some(Grid {
                fraction_bits: float.mantissa_bits as i32,
                exponent_min: i32::from(float.is_signed) - float.bias,
                max_finite: float.decode(float.encode(f64::MAX, true)),
            });
        }
        let (fraction_bits, exponent_min, max_finite) = match dtype {
            DType::F32 => (23, -126, f64::from(f32::MAX)),
            DType::F64 => (52, -1022, f64::MAX),
            _ => return None,
        };
        Some(Grid {
            fraction_bits,
            exponent_min,
            max_finite,
        })
    }

    fn ulp(self, value: f64) -> f64 {
        let exponent = exponent(value).clamp(self.exponent_min, exponent(self.max_finite));
        power_of_two(exponent - self.fraction_bits)
    }
}

/// The distance between neighbours of `dtype` around `value`, which is finite; 1 for integers.
#[must_use]
pub fn ulp(dtype: DType, value: f64) -> f64 {
    Grid::of(dtype).map_or(1.0, |grid| grid.ulp(value))
}

/// The largest finite number of a floating-point dtype, `None` for the others.
#[must_use]
pub fn max_finite(dtype: DType) -> Option<f64> {
    Grid::of(dtype).map(|grid| grid.max_finite)
}

/// Whether `value`, finite in f64, is at or beyond the end of `dtype`, so that an infinity is a
/// fair result.
fn may_overflow(dtype: DType, value: f64) -> bool {
    dtype != DType::F64 && max_finite(dtype).is_some_and(|max| value.abs() >= max)
}

/// The exponent of a finite number: 0 for 1.0; that of the smallest normal for subnormals and zero.
fn exponent(value: f64) -> i32 {
    let biased = ((value.to_bits() >> 52) & 0x7ff) as i32;
    biased.max(1) - 1023
}

/// 2^exponent, exact, down to the smallest subnormal of f64. `powi` rounds on the way there.
fn power_of_two(exponent: i32) -> f64 {
    assert!(exponent <= 1023, "2^{exponent} is beyond f64");
    if exponent >= -1022 {
        return f64::from_bits(((exponent + 1023) as u64) << 52);
    }
    f64::from_bits(1 << (exponent.max(-1074) + 1074))
}

/// What an operator does to numbers, as far as its error goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Moves or compares values, or computes in integers: not a bit may differ.
    Exact,
    /// Rounds once: add, multiply, divide, square root, casts.
    Rounded,
    /// Approximates a scalar function: exp, log, tanh, erf, sigmoid, pow and what is made of them.
    Function,
    /// Adds up many values: sums, means, norms, pooling averages, scans.
    Reduction,
    /// Adds up many products: matrix products and convolutions.
    Contraction,
    /// Divides by a sum: softmax, layer and batch normalization, attention.
    Normalization,
    /// A whole model: errors of many operators in a row.
    Model,
}

/// How far an element may be off; see the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// In units in the last place of the dtype, at the reference element.
    pub ulp: f64,
    /// Relative to the largest finite reference element of the tensor.
    pub rel_to_max: f64,
}

/// The table. Whatever is no floating-point number is exact in every class.
#[must_use]
pub fn bound(class: Class, dtype: DType) -> Bound {
    let exact = Bound {
        ulp: 0.0,
        rel_to_max: 0.0,
    };
    let Some(grid) = Grid::of(dtype) else {
        return exact;
    };
    // The unit roundoff of the dtype: relative bounds are stated as multiples of it.
    let unit = power_of_two(-grid.fraction_bits - 1);
    match class {
        Class::Exact => exact,
        Class::Rounded => Bound {
            ulp: 1.0,
            rel_to_max: 0.0,
        },
        Class::Function => Bound {
            ulp: 4.0,
            rel_to_max: 0.0,
        },
        Class::Reduction => Bound {
            ulp: 2.0,
            rel_to_max: 16.0 * unit,
        },
        Class::Contraction => Bound {
            ulp: 2.0,
            rel_to_max: 32.0 * unit,
        },
        Class::Normalization => Bound {
            ulp: 4.0,
            rel_to_max: 64.0 * unit,
        },
        // 1e-4 of the largest element in f32, never looser than 2 % in narrower dtypes.
        Class::Model => Bound {
            ulp: 2.0,
            rel_to_max: (1678.0 * unit).min(0.02),
        },
    }
}

/// How a result compares to its reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The largest error in units in the last place; infinite where NaN or infinity disagree.
    pub worst_ulp: f64,
    /// The largest absolute error.
    pub worst_abs: f64,
    /// The largest absolute error over the largest finite reference element.
    pub worst_rel_to_max: f64,
    /// The first element out of bounds.
    pub first_bad: Option<Bad>,
    /// How many elements are out of bounds.
    pub bad_count: usize,
}

/// An element that is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bad {
    /// Its place in the slices.
    pub index: usize,
    /// The reference.
    pub expected: f64,
    /// The result.
    pub actual: f64,
}

impl Report {
    /// Whether every element is within its bound.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.first_bad.is_none()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report {
            worst_ulp,
            worst_abs,
            worst_rel_to_max,
            ..
        } = self;
        write!(f, "worst {worst_ulp:.1} ulp, {worst_abs:.2e} absolute, ")?;
        write!(f, "{worst_rel_to_max:.2e} of the largest")?;
        if let Some(Bad {
            index,
            expected,
            actual,
        }) = self.first_bad
        {
            write!(f, "; {} out of bounds, first at {index}: ", self.bad_count)?;
            write!(f, "expected {expected:e}, got {actual:e}")?;
        }
        Ok(())
    }
}

/// Compares `actual`, as stored in `dtype`, to the reference `expected` under the table's bound.
///
/// # Panics
/// If the lengths differ: shapes are compared before values.
#[must_use]
pub fn compare(expected: &[f64], actual: &[f64], class: Class, dtype: DType) -> Report {
    compare_within(expected, actual, bound(class, dtype), dtype)
}

/// [`compare`] under a bound from elsewhere, such as a model's recorded spread.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub fn compare_within(expected: &[f64], actual: &[f64], bound: Bound, dtype: DType) -> Report {
    assert_eq!(expected.len(), actual.len(), "compare shapes before values");
    let finite = expected.iter().filter(|value| value.is_finite());
    let max = finite.fold(0.0_f64, |max, value| max.max(value.abs()));
    let mut report = Report {
        worst_ulp: 0.0,
        worst_abs: 0.0,
        worst_rel_to_max: 0.0,
        first_bad: None,
        bad_count: 0,
    };
    for (index, (&expected, &actual)) in expected.iter().zip(actual).enumerate() {
        let (abs, ulp) = error(expected, actual, dtype);
        // An error beside nothing but zeros is infinitely large.
        let rel_to_max = if abs == 0.0 { 0.0 } else { abs / max };
        report.worst_abs = report.worst_abs.max(abs);
        report.worst_ulp = report.worst_ulp.max(ulp);
        report.worst_rel_to_max = report.worst_rel_to_max.max(rel_to_max);
        if ulp > bound.ulp && rel_to_max > bound.rel_to_max {
            report.bad_count += 1;
            report.first_bad.get_or_insert(Bad {
                index,
                expected,
                actual,
            });
        }
    }
    report
}

/// The absolute error and the error in units in the last place; both infinite where no distance
/// makes sense.
fn error(expected: f64, actual: f64, dtype: DType) -> (f64, f64) {
    let same = expected == actual || (expected.is_nan() && actual.is_nan());
    let overflows = expected.is_finite()
        && actual.is_infinite()
        && actual.is_sign_positive() == expected.is_sign_positive()
        && may_overflow(dtype, expected);
    if same || overflows {
        return (0.0, 0.0);
    }
    if !expected.is_finite() || !actual.is_finite() {
        return (f64::INFINITY, f64::INFINITY);
    }
    let abs = (expected - actual).abs();
    (abs, abs / ulp(dtype, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_f32(value: f32, steps: u32) -> f64 {
        f64::from(f32::from_bits(value.to_bits() + steps))
    }

    #[test]
    fn counts_neighbours_of_each_dtype() {
        for value in [1.0_f32, 0.1, 3.4e38, 1.2e-38, 1e-45, 0.0] {
            for steps in [1, 3] {
                let actual = next_f32(value, steps);
                if actual.is_finite() {
                    let (_, ulp) = error(f64::from(value), actual, DType::F32);
                    assert_eq!(ulp, f64::from(steps), "{value:e} + {steps}");
                }
            }
        }
        assert_eq!(ulp(DType::F16, 1.0), 2.0_f64.powi(-10));
        assert_eq!(ulp(DType::F16, 0.0), 2.0_f64.powi(-24));
        assert_eq!(ulp(DType::BF16, -3.0), 2.0_f64.powi(-6));
        assert_eq!(ulp(DType::F64, 0.0), 5e-324);
        assert_eq!(ulp(DType::F64, 1.0), f64::EPSILON);
        assert_eq!(max_finite(DType::F32), Some(f64::from(f32::MAX)));
        assert_eq!(max_finite(DType::F16), Some(65504.0));
        assert_eq!(max_finite(DType::F8E4M3FN), Some(448.0));
        assert_eq!(ulp(DType::F8E4M3FN, 448.0), 32.0);
        assert_eq!(max_finite(DType::F4E2M1), Some(6.0));
        assert_eq!(max_finite(DType::I8), None);
    }

    #[test]
    fn nan_and_infinity_match_themselves_only() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let is_ok = |expected: f64, actual: f64| {
            compare(&[expected, 1.0], &[actual, 1.0], Class::Model, DType::F32).is_ok()
        };
        assert!(is_ok(nan, nan) && is_ok(inf, inf) && is_ok(-inf, -inf) && is_ok(0.0, -0.0));
        for (expected, actual) in [
            (nan, 1.0),
            (1.0, nan),
            (inf, -inf),
            (inf, nan),
            (inf, 3.4e38),
        ] {
            assert!(!is_ok(expected, actual), "{expected} {actual}");
        }
        // A reference beyond f32 rounds to infinity; one within it does not.
        assert!(is_ok(1e39, inf) && is_ok(-1e39, -inf));
        assert!(!is_ok(1e39, -inf) && !is_ok(1e38, inf));
    }

    #[test]
    fn cancelled_elements_are_judged_by_the_largest() {
        let (expected, actual) = ([1000.0, 1e-9], [1000.0, 2e-5]);
        assert!(compare(&expected, &actual, Class::Contraction, DType::F32).is_ok());
        let report = compare(&expected, &actual, Class::Rounded, DType::F32);
        assert_eq!(report.first_bad.map(|bad| bad.index), Some(1));
        assert_eq!(report.bad_count, 1);
        assert!(
            report.worst_ulp > 1e9 && report.worst_rel_to_max < 3e-8,
            "{report}"
        );
    }

    #[test]
    fn integers_and_exact_classes_take_no_error() {
        assert!(compare(&[3.0], &[3.0], Class::Model, DType::I32).is_ok());
        assert!(!compare(&[3.0], &[4.0], Class::Model, DType::I32).is_ok());
        let next = next_f32(1.0, 1);
        assert!(!compare(&[1.0], &[next], Class::Exact, DType::F32).is_ok());
        assert!(compare(&[1.0], &[next], Class::Rounded, DType::F32).is_ok());
        assert!(!compare(&[0.0], &[1e-3], Class::Contraction, DType::F32).is_ok());
    }

    #[test]
    fn whole_f32_models_are_held_to_a_ten_thousandth() {
        let bound = bound(Class::Model, DType::F32);
        assert!((bound.rel_to_max - 1e-4).abs() < 1e-6, "{bound:?}");
    }
}
