//! Seeded random numbers. The same seed gives the same numbers, on every machine.

use alula_tensor::{DType, Scalar, Tensor};

use super::{Room, Wanted};
use crate::StepError;

/// A distribution.
pub(super) enum Kind {
    Normal { mean: f64, scale: f64 },
    Uniform { low: f64, high: f64 },
}

/// A counter put through the finaliser of splitmix64 (Steele, Lea and Flood, 2014).
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `[0, 1)`, with 53 bits.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A tensor of the shape that the plan wants.
pub(super) fn random(
    kind: Kind,
    seed: u64,
    dtype: DType,
    wanted: &[Wanted<'_>],
    room: &Room,
) -> Result<Tensor, StepError> {
    let shape = wanted.first().and_then(|wanted| wanted.shape.as_deref());
    let shape = shape.ok_or_else(|| {
        let ty = wanted.first().map(|wanted| wanted.ty.to_string());
        StepError::Value(format!(
            "the shape of {} is not known",
            ty.unwrap_or_default()
        ))
    })?;
    let mut tensor = room.zeros(dtype, shape)?;
    if dtype == DType::String {
        return Err(StepError::value("a string is no random number"));
    }
    let mut generator = Generator(seed);
    for element in tensor.bytes_mut().chunks_exact_mut(dtype.size_bytes()) {
        let value = match kind {
            Kind::Uniform { low, high } => low + (high - low) * generator.unit(),
            Kind::Normal { mean, scale } => {
                // Box and Muller; the logarithm's argument is never 0.
                let radius = (-2.0 * (1.0 - generator.unit()).ln()).sqrt();
                let angle = std::f64::consts::TAU * generator.unit();
                mean + scale * radius * angle.cos()
            }
        };
        Scalar::Float(value).cast(dtype).store(dtype, element);
    }
    Ok(tensor)
}
