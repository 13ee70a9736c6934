//! AVX2 and FMA: 8 lanes, partial forms by a mask vector.

use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_prefetch, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_maskload_ps, _mm256_maskstore_ps, _mm256_max_ps, _mm256_min_ps,
    _mm256_set1_ps, _mm256_storeu_ps,
};

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// A window of 8 words that starts at `8 - lanes` has its first `lanes` words set.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// # Safety
/// AVX is present and `lanes <= 8`.
#[inline(always)]
unsafe fn mask(lanes: usize) -> __m256i {
    debug_assert!(lanes <= 8);
    // SAFETY: `8 - lanes + 8 <= 16` words of the table.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - lanes).cast()) }
}

// SAFETY of every block below: the trait's contract gives the instruction set and the pointers.
impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: see the head of this impl.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: see the head of this impl.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_partial(p: *const f32, lanes: usize) -> __m256 {
        // SAFETY: see the head of this impl; masked lanes are not touched.
        unsafe { _mm256_maskload_ps(p, mask(lanes)) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: see the head of this impl.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_partial(p: *mut f32, v: __m256, lanes: usize) {
        // SAFETY: see the head of this impl; masked lanes are not touched.
        unsafe { _mm256_maskstore_ps(p, mask(lanes), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the head of this impl.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see the head of this impl.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(bound: __m256, x: __m256) -> __m256 {
        // SAFETY: see the head of this impl. The instruction returns its second operand on NaN.
        unsafe { _mm256_max_ps(bound, x) }
    }
    #[inline(always)]
    unsafe fn min(bound: __m256, x: __m256) -> __m256 {
        // SAFETY: see the head of this impl. The instruction returns its second operand on NaN.
        unsafe { _mm256_min_ps(bound, x) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        // SAFETY: see the head of this impl; a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
