//! AVX-512: 16 lanes, partial forms by mask; with and without an instruction that rounds to bf16.

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, _CMP_UNORD_Q, _MM_HINT_T0, _mm_prefetch, _mm256_mask_storeu_epi16,
    _mm256_maskz_loadu_epi16, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_epi16,
    _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_mask_and_epi32, _mm512_mask_or_epi32, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_max_ps, _mm512_min_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32,
    _mm512_srli_epi32, _mm512_storeu_ps, _mm512_testn_epi32_mask,
};

use super::Simd;

/// `NATIVE` says that the processor rounds to bf16.
#[derive(Clone, Copy)]
pub(crate) struct WithAvx512<const NATIVE: bool>;

pub(crate) type Avx512 = WithAvx512<false>;
/// With AVX-512 BF16.
pub(crate) type Avx512Bf16 = WithAvx512<true>;

#[inline(always)]
fn mask(lanes: usize) -> u16 {
    ((1u32 << lanes) - 1) as u16
}

// SAFETY of every block below: the trait's contract gives the instruction set and the pointers.
impl<const NATIVE: bool> Simd for WithAvx512<NATIVE> {
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
    unsafe fn load_bf16(p: *const u16, lanes: usize) -> __m512 {
        // SAFETY: see the head of this impl; masked lanes are not touched.
        unsafe {
            let narrow = _mm256_maskz_loadu_epi16(mask(lanes), p.cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(narrow)))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: __m512, lanes: usize) {
        // SAFETY: see the head of this impl; masked lanes are not touched.
        unsafe {
            let narrow = if NATIVE {
                std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v))
            } else {
                round(v)
            };
            _mm256_mask_storeu_epi16(p.cast(), mask(lanes), narrow);
        }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        // SAFETY: see the head of this impl; a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}

/// As [`crate::gemm::to_bf16`].
#[inline(always)]
unsafe fn round(v: __m512) -> __m256i {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let bits = _mm512_castps_si512(v);
        let not_a_number = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
        let exponent = _mm512_set1_epi32(0x7f80_0000);
        // Zeros and subnormal numbers keep their sign only.
        let small = _mm512_testn_epi32_mask(bits, exponent);
        let rounded = _mm512_add_epi32(bits, half);
        let sign = _mm512_set1_epi32(i32::MIN);
        let rounded = _mm512_mask_and_epi32(rounded, small, bits, sign);
        let quiet = _mm512_set1_epi32(0x0040_0000);
        let rounded = _mm512_mask_or_epi32(rounded, not_a_number, bits, quiet);
        _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded))
    }
}
