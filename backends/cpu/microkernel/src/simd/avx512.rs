//! AVX-512: 16 lanes, partial forms by mask.

use std::arch::x86_64::{
    __m512, _MM_HINT_T0, _mm_prefetch, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_set1_ps,
    _mm512_storeu_ps,
};

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

#[inline(always)]
fn mask(lanes: usize) -> u16 {
    ((1u32 << lanes) - 1) as u16
}

// SAFETY of every block below: the trait's contract gives the instruction set and the pointers.
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_partial(p: *const f32, lanes: usize) -> __m512 {
        // SAFETY: see the head of this impl; masked lanes are not touched.
        unsafe { _mm512_maskz_loadu_ps(mask(lanes), p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_partial(p: *mut f32, v: __m512, lanes: usize) {
        // SAFETY: see the head of this impl; masked lanes are not touched.
        unsafe { _mm512_mask_storeu_ps(p, mask(lanes), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(bound: __m512, x: __m512) -> __m512 {
        // SAFETY: see the head of this impl. The instruction returns its second operand on NaN.
        unsafe { _mm512_max_ps(bound, x) }
    }
    #[inline(always)]
    unsafe fn min(bound: __m512, x: __m512) -> __m512 {
        // SAFETY: see the head of this impl. The instruction returns its second operand on NaN.
        unsafe { _mm512_min_ps(bound, x) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        // SAFETY: see the head of this impl; a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
