//! Four lanes of plain Rust, which the compiler maps to the target's baseline vectors.

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

// SAFETY of every block below: the trait's contract gives the pointers.
impl Simd for Portable {
    type V = [f32; 4];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 4] {
        // SAFETY: see the head of this impl.
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_partial(p: *const f32, lanes: usize) -> [f32; 4] {
        let mut v = [0f32; 4];
        // SAFETY: see the head of this impl; only `lanes` elements are read.
        unsafe { std::ptr::copy_nonoverlapping(p, v.as_mut_ptr(), lanes) };
        v
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 4]) {
        // SAFETY: see the head of this impl.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) };
    }
    #[inline(always)]
    unsafe fn store_partial(p: *mut f32, v: [f32; 4], lanes: usize) {
        // SAFETY: see the head of this impl; only `lanes` elements are written.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, lanes) };
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        // Not `mul_add`: without a hardware FMA that is a library call.
        zip(zip(a, b, |x, y| x * y), c, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn max(bound: [f32; 4], x: [f32; 4]) -> [f32; 4] {
        zip(bound, x, |b, x| if b > x { b } else { x })
    }
    #[inline(always)]
    unsafe fn min(bound: [f32; 4], x: [f32; 4]) -> [f32; 4] {
        zip(bound, x, |b, x| if b < x { b } else { x })
    }
}
