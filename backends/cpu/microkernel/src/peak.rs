//! Measured peaks of one core, the roofs that kernels are held against: products of f32, of their
//! parts and of bytes from registers, and reading memory.

mod bytes;
mod memory;
#[cfg(target_arch = "x86_64")]
mod tiles;

use std::time::Instant;

use crate::{gemm::Products, isa::Isa, simd::Simd};

pub use bytes::byte_peak;
pub use memory::read_peak;

/// Independent chains: latency times throughput of the widest cores, and a few more.
pub(crate) const CHAINS: usize = 12;
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
    let seconds = least(300, || {
        // SAFETY: the family is available.
        std::hint::black_box(unsafe { rounds() });
    });
    (2 * lanes * CHAINS * STEPS) as f64 / seconds * 1e-9
}

/// GFLOP/s of f32 that this core reaches where each product is taken in this form: [`fma_peak`] for
/// whole ones, and for parts the peak of tiles of bf16 over the number of products. Zero if `isa`
/// has none of them.
pub fn product_peak(isa: Isa, products: Products) -> f64 {
    let count = match products {
        Products::Whole => return fma_peak(isa),
        Products::Six => 6.0,
        Products::Three => 3.0,
        Products::One => 1.0,
    };
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Amx && isa.is_available() {
        return tiles::bf16() / count;
    }
    let _ = count;
    0.0
}

/// Seconds of the fastest of so many rounds: what else the machine does only adds to them.
fn least(rounds: usize, mut round: impl FnMut()) -> f64 {
    let timed = (0..rounds).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_secs_f64()
    });
    timed.fold(f64::INFINITY, f64::min)
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
