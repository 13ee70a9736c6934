//! Elements of images: f32, and bf16 as words.

use crate::simd::Simd;

/// An element of the input or of the output.
///
/// # Safety (of every function)
/// The CPU has the instruction set; vector `v` behind `p` is valid: `lanes` lanes of it, or all if
/// it is `FULL`.
pub(super) trait Element: Copy {
    unsafe fn load<S: Simd, const FULL: bool>(p: *const Self, v: usize, lanes: usize) -> S::V;
    unsafe fn store<S: Simd, const FULL: bool>(p: *mut Self, v: usize, value: S::V, lanes: usize);
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd, const FULL: bool>(p: *const f32, v: usize, lanes: usize) -> S::V {
        // SAFETY: the caller's.
        unsafe {
            let p = p.add(v * S::LANES);
            if FULL {
                S::load(p)
            } else {
                S::load_partial(p, lanes)
            }
        }
    }

    #[inline(always)]
    unsafe fn store<S: Simd, const FULL: bool>(p: *mut f32, v: usize, value: S::V, lanes: usize) {
        // SAFETY: the caller's.
        unsafe {
            let p = p.add(v * S::LANES);
            if FULL {
                S::store(p, value);
            } else {
                S::store_partial(p, value, lanes);
            }
        }
    }
}

impl Element for u16 {
    #[inline(always)]
    unsafe fn load<S: Simd, const FULL: bool>(p: *const u16, v: usize, lanes: usize) -> S::V {
        let lanes = if FULL { S::LANES } else { lanes };
        // SAFETY: the caller's.
        unsafe { S::load_bf16(p.add(v * S::LANES), lanes) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd, const FULL: bool>(p: *mut u16, v: usize, value: S::V, lanes: usize) {
        let lanes = if FULL { S::LANES } else { lanes };
        // SAFETY: the caller's.
        unsafe { S::store_bf16(p.add(v * S::LANES), value, lanes) }
    }
}
