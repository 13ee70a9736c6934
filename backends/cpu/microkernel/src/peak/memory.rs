//! Reading memory.

use super::least;
use crate::{isa::Isa, simd::Simd};

/// Vectors that are added up apart, so that no addition waits for another; or parts of memory that
/// are read side by side, as one stream is not fetched as fast as several.
const SUMS: usize = 8;

/// GB/s (10^9 bytes) at which this core reads `values` over and over, each once a round, in vectors
/// of `isa`: from whichever level of memory holds so many, in one stream or in several, whichever
/// is faster. Zero if `isa` is not available, or there are fewer values than fill the sums.
pub fn read_peak(isa: Isa, values: &[f32]) -> f64 {
    if !isa.is_available() || values.len() < SUMS * 16 {
        return 0.0;
    }
    let read: unsafe fn(&[f32], usize) -> f32 = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => avx512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => sum::<crate::simd::Neon>,
        #[allow(
            unreachable_patterns,
            reason = "which families exist depends on the target"
        )]
        Isa::Portable | Isa::Neon | Isa::Avx2 | Isa::Avx512 | Isa::Amx => {
            sum::<crate::simd::Portable>
        }
    };
    // About a gigabyte, however small the buffer.
    let rounds = ((1 << 28) / values.len()).clamp(16, 1000);
    let seconds = [values.len(), values.len() / SUMS].map(|apart| {
        least(rounds, || {
            // SAFETY: the family is available.
            std::hint::black_box(unsafe { read(values, apart) });
        })
    });
    let seconds = seconds[0].min(seconds[1]);
    (4 * values.len()) as f64 / seconds * 1e-9
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(values: &[f32], apart: usize) -> f32 {
    // SAFETY: the set is enabled for this function.
    unsafe { sum::<crate::simd::Avx512>(values, apart) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(values: &[f32], apart: usize) -> f32 {
    // SAFETY: the set is enabled for this function.
    unsafe { sum::<crate::simd::Avx2>(values, apart) }
}

/// Some sum of all values but the last few: of streams that begin so far apart.
#[inline(always)]
unsafe fn sum<S: Simd>(values: &[f32], apart: usize) -> f32 {
    // SAFETY: the caller has the instruction set; loads stay within a chunk, and the buffer holds
    // the longest vector.
    unsafe {
        let mut sums = [S::splat(0.0); SUMS];
        if apart < values.len() {
            for at in 0..apart / S::LANES {
                for (k, sum) in sums.iter_mut().enumerate() {
                    let part = &values[k * apart..][..apart];
                    *sum = S::add(*sum, S::load(part.as_ptr().add(at * S::LANES)));
                }
            }
        } else {
            for chunk in values.chunks_exact(SUMS * S::LANES) {
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = S::add(*sum, S::load(chunk.as_ptr().add(k * S::LANES)));
                }
            }
        }
        let mut total = sums[0];
        for &sum in &sums[1..] {
            total = S::add(total, sum);
        }
        let mut buffer = [0f32; 16];
        S::store(buffer.as_mut_ptr(), total);
        buffer[0]
    }
}
