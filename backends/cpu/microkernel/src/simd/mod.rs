//! One vector of f32 per instruction set, behind one trait, so that a kernel is written once.
//!
//! The functions of [`Simd`] are always inlined; a kernel body generic over it must itself be
//! inlined into a function that enables the instruction set (`#[target_feature]`). Called outside
//! of such a function they are undefined behaviour on a CPU that lacks the set: hence `unsafe`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, Avx512Bf16};
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;

use crate::gemm::to_bf16;

/// Lanes of the longest vector.
const LANES_MAX: usize = 16;

/// A vector of `LANES` f32.
///
/// # Safety (of every function)
/// The CPU has the instruction set; pointers are valid for the lanes that are touched (`LANES`, or
/// `lanes` of the partial forms), with no alignment beyond that of f32.
pub(crate) trait Simd: Copy {
    /// The register type.
    type V: Copy;
    /// f32 values per register.
    const LANES: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    /// The first `lanes <= LANES` lanes; the others are zero.
    unsafe fn load_partial(p: *const f32, lanes: usize) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn store_partial(p: *mut f32, v: Self::V, lanes: usize);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`; fused where the set has it.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of both; `x` where `x` is NaN.
    unsafe fn max(bound: Self::V, x: Self::V) -> Self::V;
    /// The smaller of both; `x` where `x` is NaN.
    unsafe fn min(bound: Self::V, x: Self::V) -> Self::V;
    /// `lanes <= LANES` elements of bf16; the other lanes are zero.
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16, lanes: usize) -> Self::V {
        let mut wide = [0f32; LANES_MAX];
        for (i, slot) in wide.iter_mut().enumerate().take(lanes.min(Self::LANES)) {
            // SAFETY: the caller vouches for the lanes.
            *slot = f32::from_bits(u32::from(unsafe { p.add(i).read() }) << 16);
        }
        // SAFETY: no vector is longer.
        unsafe { Self::load(wide.as_ptr()) }
    }
    /// The first `lanes <= LANES` lanes, by [`to_bf16`].
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: Self::V, lanes: usize) {
        let mut wide = [0f32; LANES_MAX];
        // SAFETY: no vector is longer; the caller vouches for the lanes.
        unsafe {
            Self::store(wide.as_mut_ptr(), v);
            for (i, &x) in wide.iter().enumerate().take(lanes.min(Self::LANES)) {
                p.add(i).write(to_bf16(x));
            }
        }
    }
    /// Asks for the cache line at `p`, which may be any address.
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        let _ = p;
    }
}
