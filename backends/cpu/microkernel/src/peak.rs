//! The measured FMA peak of one core, the roof that kernels are held against.

use std::time::Instant;

use crate::{isa::Isa, simd::Simd};

/// Independent chains: latency times throughput of the widest cores, and a few more.
const CHAINS: usize = 12;
const STEPS: usize = 20_000;

/// f32 GFLOP/s that this core reaches in chains of fused multiply-adds of `isa` (of separate
/// multiplies and adds for the portable family), best of several short rounds. Zero if `isa` is
/// not available.
pub fn fma_peak(isa: Isa) -> f64 {
    if !isa.is_available() {
        return 0.0;
    }
    let (rounds, lanes): (unsafe fn() -> f32, usize) = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => (avx512, 16),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => (avx2, 8),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => (chains::<crate::simd::Neon>, 4),
        #[allow(
            unreachable_patterns,
            reason = "which families exist depends on the target"
        )]
        Isa::Portable | Isa::Neon | Isa::Avx2 | Isa::Avx512 | Isa::Amx => {
            (chains::<crate::simd::Portable>, 4)
        }
    };
    let mut best = f64::INFINITY;
    for _ in 0..300 {
        let start = Instant::now();
        // SAFETY: the family is available.
        std::hint::black_box(unsafe { rounds() });
        best = best.min(start.elapsed().as_secs_f64());
    }
    (2 * lanes * CHAINS * STEPS) as f64 / best * 1e-9
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512() -> f32 {
    // SAFETY: the set is enabled for this function.
    unsafe { chains::<crate::simd::Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2() -> f32 {
    // SAFETY: the set is enabled for this function.
    unsafe { chains::<crate::simd::Avx2>() }
}

#[inline(always)]
unsafe fn chains<S: Simd>() -> f32 {
    // SAFETY: the caller has the instruction set; the buffer holds the longest vector.
    unsafe {
        let x = S::splat(std::hint::black_box(0.999_9));
        let mut acc = [S::splat(0.5); CHAINS];
        for _ in 0..STEPS {
            for chain in &mut acc {
                *chain = S::fma(*chain, x, x);
            }
        }
        let mut sum = acc[0];
        for &chain in &acc[1..] {
            sum = S::add(sum, chain);
        }
        let mut buffer = [0f32; 16];
        S::store(buffer.as_mut_ptr(), sum);
        buffer[0]
    }
}
