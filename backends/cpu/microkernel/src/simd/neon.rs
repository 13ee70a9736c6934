//! AArch64 Advanced SIMD: 4 lanes, partial forms through a buffer.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vbslq_f32, vcgtq_f32, vcltq_f32, vdupq_n_f32, vfmaq_f32, vld1q_f32,
    vst1q_f32,
};

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Neon;

// SAFETY of every block below: the trait's contract gives the instruction set and the pointers.
impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        // SAFETY: see the head of this impl.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        // SAFETY: see the head of this impl.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn load_partial(p: *const f32, lanes: usize) -> float32x4_t {
        let mut buffer = [0f32; 4];
        // SAFETY: see the head of this impl; only `lanes` elements are read.
        unsafe {
            std::ptr::copy_nonoverlapping(p, buffer.as_mut_ptr(), lanes);
            vld1q_f32(buffer.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: float32x4_t) {
        // SAFETY: see the head of this impl.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn store_partial(p: *mut f32, v: float32x4_t, lanes: usize) {
        let mut buffer = [0f32; 4];
        // SAFETY: see the head of this impl; only `lanes` elements are written.
        unsafe {
            vst1q_f32(buffer.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), p, lanes);
        }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see the head of this impl.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: see the head of this impl.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn max(bound: float32x4_t, x: float32x4_t) -> float32x4_t {
        // SAFETY: see the head of this impl. A comparison with NaN is false and selects `x`.
        unsafe { vbslq_f32(vcgtq_f32(bound, x), bound, x) }
    }
    #[inline(always)]
    unsafe fn min(bound: float32x4_t, x: float32x4_t) -> float32x4_t {
        // SAFETY: see the head of this impl. A comparison with NaN is false and selects `x`.
        unsafe { vbslq_f32(vcltq_f32(bound, x), bound, x) }
    }
}
