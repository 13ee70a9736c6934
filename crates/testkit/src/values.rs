//! Values that tests feed to operators: ordinary ones, and those that break things.

use alula_tensor::{DType, MiniFloat};

use crate::random::SplitMix64;
use crate::tolerance::{max_finite, ulp};

/// What the values of an operand may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// Normally distributed around 0: what models compute with.
    Ordinary,
    /// Above 0, as for logarithms and divisors.
    Positive,
    /// Between -1 and 1, as for inverse sines.
    Unit,
    /// Ordinary values with edge values among them, about one in four.
    Edges,
}

/// The floating-point values that arithmetic gets wrong first: zeros of both signs, subnormals, the
/// ends of the range, infinities, NaN, halves that round to even, and neighbours of 1. Those that
/// `dtype` cannot hold are left out.
///
/// # Panics
/// If `dtype` is no floating-point dtype.
#[must_use]
pub fn float_edges(dtype: DType) -> Vec<f64> {
    let max = max_finite(dtype).expect("edges of a floating-point dtype");
    let subnormal_min = ulp(dtype, 0.0);
    let normal_min = match MiniFloat::of(dtype) {
        Some(float) => subnormal_min * f64::from(1_u32 << float.mantissa_bits),
        None if dtype == DType::F64 => f64::MIN_POSITIVE,
        None => f64::from(f32::MIN_POSITIVE),
    };
    let mut edges = vec![
        0.0,
        1.0,
        0.5,
        1.5,
        2.5,
        1.0 + ulp(dtype, 1.0),
        normal_min,
        max,
    ];
    edges.extend([subnormal_min, normal_min - subnormal_min, f64::INFINITY]);
    edges.extend(edges.clone().iter().map(|edge| -edge));
    edges.push(f64::NAN);
    edges.retain(|&edge| {
        let stored = rounded(dtype, edge);
        stored.to_bits() == edge.to_bits() || (stored.is_nan() && edge.is_nan())
    });
    edges
}

/// `value` as `dtype` stores it, for floating-point dtypes.
fn rounded(dtype: DType, value: f64) -> f64 {
    match MiniFloat::of(dtype) {
        Some(float) => float.decode(float.encode(value, false)),
        None if dtype == DType::F32 => f64::from(value as f32),
        None => value,
    }
}

/// The integers of `bits` bits that arithmetic gets wrong first, ascending.
///
/// # Panics
/// If `bits` is not from 2 to 64.
#[must_use]
pub fn integer_edges(bits: u32, signed: bool) -> Vec<i128> {
    assert!((2..=64).contains(&bits), "no integer dtype has {bits} bits");
    let magnitude_bits = if signed { bits - 1 } else { bits };
    let max = (1_i128 << magnitude_bits) - 1;
    let min = if signed { -max - 1 } else { 0 };
    let mut edges = vec![min, min + 1, -1, 0, 1, 2, max / 2, max - 1, max];
    edges.retain(|&edge| edge >= min && edge <= max);
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// `count` values of `domain`, each exact in `dtype`. With [`Domain::Edges`] every edge value
/// appears once `count` is large.
///
/// # Panics
/// If `dtype` is no floating-point dtype: see [`integers`].
#[must_use]
pub fn floats(random: &mut SplitMix64, count: usize, domain: Domain, dtype: DType) -> Vec<f64> {
    let edges = float_edges(dtype);
    let draw = |random: &mut SplitMix64| match domain {
        Domain::Ordinary => random.normal(),
        Domain::Positive => random.normal().abs() + 0.01,
        Domain::Unit => random.uniform(-1.0..1.0),
        Domain::Edges if random.chance(4) => *random.pick(&edges),
        Domain::Edges => random.normal() * 4.0,
    };
    (0..count).map(|_| rounded(dtype, draw(random))).collect()
}

/// `count` integers of `bits` bits: small ones, and with `edges` the extremes among them.
///
/// # Panics
/// If `bits` is not from 2 to 64.
#[must_use]
pub fn integers(
    random: &mut SplitMix64,
    count: usize,
    bits: u32,
    signed: bool,
    edges: bool,
) -> Vec<i128> {
    let edge_values = integer_edges(bits, signed);
    let (min, max) = (edge_values[0], edge_values[edge_values.len() - 1]);
    let (low, high) = (min.max(-10) as i64, max.min(10) as i64);
    (0..count)
        .map(|_| match edges && random.chance(4) {
            true => *random.pick(&edge_values),
            false => i128::from(random.integer(low, high)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_survive_a_trip_through_their_dtype() {
        for edge in float_edges(DType::F32) {
            let stored = f64::from(edge as f32);
            assert!(
                stored.to_bits() == edge.to_bits() || edge.is_nan(),
                "{edge:e}"
            );
        }
        let edges = float_edges(DType::F16);
        assert!(edges.contains(&65504.0) && edges.contains(&2.0_f64.powi(-24)));
        assert!(
            edges
                .iter()
                .any(|edge| *edge == 0.0 && edge.is_sign_negative())
        );
        assert!(edges.iter().any(|edge| edge.is_nan()));
        assert!(!float_edges(DType::F4E2M1).iter().any(|edge| edge.is_nan()));
        assert!(float_edges(DType::F8E4M3FN).contains(&448.0));
    }

    #[test]
    fn integer_edges_fit_their_width() {
        assert_eq!(
            integer_edges(8, true),
            [-128, -127, -1, 0, 1, 2, 63, 126, 127]
        );
        assert_eq!(integer_edges(2, true), [-2, -1, 0, 1]);
        assert_eq!(integer_edges(2, false), [0, 1, 2, 3]);
        assert_eq!(integer_edges(64, false).last(), Some(&i128::from(u64::MAX)));
    }

    #[test]
    fn domains_are_kept_and_seeds_repeat() {
        let draw = |domain, seed| {
            let mut random = SplitMix64::new(seed);
            floats(&mut random, 4000, domain, DType::F32)
        };
        assert!(draw(Domain::Positive, 1).iter().all(|&value| value > 0.0));
        assert!(draw(Domain::Unit, 1).iter().all(|value| value.abs() <= 1.0));
        assert!(
            draw(Domain::Ordinary, 1)
                .iter()
                .all(|value| value.is_finite())
        );
        let edges = draw(Domain::Edges, 1);
        for edge in float_edges(DType::F32) {
            assert!(
                edges.iter().any(|value| value.to_bits() == edge.to_bits()),
                "{edge:e}"
            );
        }
        assert_eq!(draw(Domain::Unit, 5), draw(Domain::Unit, 5));
        assert_ne!(draw(Domain::Unit, 5), draw(Domain::Unit, 6));
    }

    #[test]
    fn integers_stay_in_range_with_extremes_on_request() {
        let mut random = SplitMix64::new(4);
        let small = integers(&mut random, 1000, 8, false, false);
        assert!(small.iter().all(|value| (0..=10).contains(value)));
        let edges = integers(&mut random, 1000, 8, true, true);
        assert!(edges.contains(&-128) && edges.contains(&127));
    }
}
