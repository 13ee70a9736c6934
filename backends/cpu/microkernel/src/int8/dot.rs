//! Products of four bytes with four bytes, summed into i32 lanes, exactly.

/// A vector of `LANES` i32, each standing for one column.
///
/// # Safety (of every function)
/// The CPU has the instruction set; pointers are valid for `LANES` words, with no alignment.
pub(super) trait Dot: Copy {
    /// The register type.
    type V: Copy;
    /// i32 lanes per register.
    const LANES: usize;

    unsafe fn splat(x: i32) -> Self::V;
    unsafe fn load(p: *const i32) -> Self::V;
    unsafe fn store(p: *mut i32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn xor(a: Self::V, b: Self::V) -> Self::V;
    /// `acc + sum of a[i] * b[i]` over the four bytes of each lane; `a` unsigned, `b` signed.
    unsafe fn dot(acc: Self::V, a: Self::V, b: Self::V) -> Self::V;
}

/// Plain Rust, four lanes.
#[derive(Clone, Copy)]
pub(super) struct Portable;

// SAFETY of every block below: the trait's contract gives the pointers.
impl Dot for Portable {
    type V = [i32; 4];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: i32) -> [i32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const i32) -> [i32; 4] {
        // SAFETY: see the head of this impl.
        unsafe { p.cast::<[i32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: [i32; 4]) {
        // SAFETY: see the head of this impl.
        unsafe { p.cast::<[i32; 4]>().write_unaligned(v) };
    }
    #[inline(always)]
    unsafe fn add(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    unsafe fn mul(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| a[i].wrapping_mul(b[i]))
    }
    #[inline(always)]
    unsafe fn xor(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| a[i] ^ b[i])
    }
    #[inline(always)]
    unsafe fn dot(acc: [i32; 4], a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| {
            let products = (0..4).map(|byte| {
                let x = (a[i] >> (8 * byte)) & 0xff;
                let y = (b[i] << (24 - 8 * byte)) >> 24;
                x * y
            });
            products.fold(acc[i], i32::wrapping_add)
        })
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx2Vnni, Avx512, Avx512Vnni};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi32, _mm256_and_si256, _mm256_dpbusd_avx_epi32,
        _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mullo_epi32, _mm256_set1_epi16,
        _mm256_set1_epi32, _mm256_slli_epi16, _mm256_srai_epi16, _mm256_srli_epi16,
        _mm256_storeu_si256, _mm256_xor_si256, _mm512_add_epi32, _mm512_and_si512,
        _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_madd_epi16, _mm512_mullo_epi32,
        _mm512_set1_epi16, _mm512_set1_epi32, _mm512_slli_epi16, _mm512_srai_epi16,
        _mm512_srli_epi16, _mm512_storeu_si512, _mm512_xor_si512,
    };

    use super::Dot;

    /// One family: the instructions that differ by width, and how four bytes are multiplied. Byte
    /// pairs widen to i16 for sets without a byte product, since the older one saturates.
    macro_rules! dot {
        ($name:ident, $v:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident,
         $add:ident, $mul:ident, $xor:ident, |$acc:ident, $a:ident, $b:ident| $dot:expr) => {
            #[derive(Clone, Copy)]
            pub(in crate::int8) struct $name;

            // SAFETY of every block below: the trait's contract.
            impl Dot for $name {
                type V = $v;
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn splat(x: i32) -> $v {
                    // SAFETY: see the head of this impl.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(p: *const i32) -> $v {
                    // SAFETY: see the head of this impl.
                    unsafe { $load(p.cast()) }
                }
                #[inline(always)]
                unsafe fn store(p: *mut i32, v: $v) {
                    // SAFETY: see the head of this impl.
                    unsafe { $store(p.cast(), v) }
                }
                #[inline(always)]
                unsafe fn add(a: $v, b: $v) -> $v {
                    // SAFETY: see the head of this impl.
                    unsafe { $add(a, b) }
                }
                #[inline(always)]
                unsafe fn mul(a: $v, b: $v) -> $v {
                    // SAFETY: see the head of this impl.
                    unsafe { $mul(a, b) }
                }
                #[inline(always)]
                unsafe fn xor(a: $v, b: $v) -> $v {
                    // SAFETY: see the head of this impl.
                    unsafe { $xor(a, b) }
                }
                #[inline(always)]
                unsafe fn dot($acc: $v, $a: $v, $b: $v) -> $v {
                    // SAFETY: see the head of this impl.
                    unsafe { $dot }
                }
            }
        };
    }

    dot!(
        Avx512Vnni,
        __m512i,
        16,
        _mm512_set1_epi32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_add_epi32,
        _mm512_mullo_epi32,
        _mm512_xor_si512,
        |acc, a, b| _mm512_dpbusd_epi32(acc, a, b)
    );
    dot!(
        Avx512,
        __m512i,
        16,
        _mm512_set1_epi32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_add_epi32,
        _mm512_mullo_epi32,
        _mm512_xor_si512,
        |acc, a, b| {
            let a_even = _mm512_and_si512(a, _mm512_set1_epi16(0xff));
            let b_even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(b));
            let (a_odd, b_odd) = (_mm512_srli_epi16::<8>(a), _mm512_srai_epi16::<8>(b));
            let even = _mm512_madd_epi16(a_even, b_even);
            let odd = _mm512_madd_epi16(a_odd, b_odd);
            _mm512_add_epi32(acc, _mm512_add_epi32(even, odd))
        }
    );
    dot!(
        Avx2Vnni,
        __m256i,
        8,
        _mm256_set1_epi32,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_add_epi32,
        _mm256_mullo_epi32,
        _mm256_xor_si256,
        |acc, a, b| _mm256_dpbusd_avx_epi32(acc, a, b)
    );
    dot!(
        Avx2,
        __m256i,
        8,
        _mm256_set1_epi32,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_add_epi32,
        _mm256_mullo_epi32,
        _mm256_xor_si256,
        |acc, a, b| {
            let a_even = _mm256_and_si256(a, _mm256_set1_epi16(0xff));
            let b_even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b));
            let (a_odd, b_odd) = (_mm256_srli_epi16::<8>(a), _mm256_srai_epi16::<8>(b));
            let even = _mm256_madd_epi16(a_even, b_even);
            let odd = _mm256_madd_epi16(a_odd, b_odd);
            _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
        }
    );
}
