//! Packing of A under a window over few channels that are planes: the first layer of most models.
//!
//! Rows of a tile are positions next to each other in a line of the result, so that what a tap of
//! a channel reads for them is evenly spaced in one line of an image.

use std::ops::Range;

use crate::{gemm::spec::Window, isa::Isa};

/// What is packed: some rows under a window.
pub(super) struct WindowRows<'w> {
    pub(super) window: &'w Window,
    /// The first pixel of the first image.
    pub(super) a: *const f32,
    /// Elements from one channel to the next.
    pub(super) k_stride: isize,
    /// The first row, and how many there are: at most sixteen.
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) taps: Range<usize>,
    pub(super) k: Range<usize>,
    /// Where `[tap][k][row]` goes.
    pub(super) out: *mut f32,
}

/// # Safety (of the function)
/// The operand is valid for the window, `out` has room, and the family that it was chosen for is
/// available.
type Pack = unsafe fn(&WindowRows<'_>);

/// Copies elements that are evenly spaced.
trait Spread {
    /// # Safety
    /// `from` is valid at `count` multiples of `step`, `to` for `count` elements, at most sixteen.
    unsafe fn spread(from: *const f32, step: isize, to: *mut f32, count: usize);
}

struct OneByOne;

impl Spread for OneByOne {
    #[inline(always)]
    unsafe fn spread(from: *const f32, step: isize, to: *mut f32, count: usize) {
        for i in 0..count {
            // SAFETY: the caller's.
            unsafe {
                to.add(i)
                    .write(from.wrapping_offset(i as isize * step).read());
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
struct ByMask;

#[cfg(target_arch = "x86_64")]
impl Spread for ByMask {
    #[inline(always)]
    unsafe fn spread(from: *const f32, step: isize, to: *mut f32, count: usize) {
        use std::arch::x86_64::{
            _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_permutex2var_ps, _mm512_setr_epi32,
        };
        if !(1..=2).contains(&step) || count == 0 {
            // SAFETY: the caller's.
            return unsafe { OneByOne::spread(from, step, to, count) };
        }
        // As many lanes as lie from the first to the last of them; others are not touched.
        let span = (count - 1) * step as usize + 1;
        let mask = |lanes: usize| ((1u64 << lanes) - 1) as u32;
        // SAFETY: the caller's, and that the set is enabled.
        unsafe {
            let low = _mm512_maskz_loadu_ps(mask(span) as u16, from);
            let values = if step == 1 {
                low
            } else {
                let high = (mask(span) >> 16) as u16;
                let high = _mm512_maskz_loadu_ps(high, from.wrapping_add(16));
                let even =
                    _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                _mm512_permutex2var_ps(low, even, high)
            };
            _mm512_mask_storeu_ps(to, mask(count) as u16, values);
        }
    }
}

#[inline(always)]
unsafe fn pack<S: Spread>(t: &WindowRows<'_>) {
    let w = t.window;
    let mut done = 0;
    while done < t.rows {
        // Rows in one line of the result.
        let row = t.first + done;
        let (column, line) = (row % w.out[1], row / w.out[1]);
        let count = (w.out[1] - column).min(t.rows - done);
        let image =
            t.a.wrapping_offset((line / w.out[0]) as isize * w.strides[0]);
        let top = (line % w.out[0] * w.stride[0]) as isize - w.pad[0] as isize;
        let left = (column * w.stride[1]) as isize - w.pad[1] as isize;
        let step = w.strides[2] * w.stride[1] as isize;
        for column in 0..w.kernel[1] {
            let x = left + (column * w.dilation[1]) as isize;
            let inside = within(x, w.stride[1], w.input[1], count);
            for line in 0..w.kernel[0] {
                let tap = line * w.kernel[1] + column;
                if !t.taps.contains(&tap) {
                    continue;
                }
                let y = top + (line * w.dilation[0]) as isize;
                let inside = match (0..w.input[0] as isize).contains(&y) {
                    true => inside.clone(),
                    false => 0..0,
                };
                let first = image
                    .wrapping_offset(y.wrapping_mul(w.strides[1]))
                    .wrapping_offset(x.wrapping_mul(w.strides[2]));
                let at = (tap - t.taps.start) * t.k.len();
                for (i, k) in t.k.clone().enumerate() {
                    let to = t.out.wrapping_add((at + i) * t.rows + done);
                    let from = first.wrapping_offset(k as isize * t.k_stride);
                    // SAFETY: the caller's: positions inside of the image, and rows of `out`.
                    unsafe {
                        if inside.len() < count {
                            to.write_bytes(0, count);
                        }
                        let start = from.wrapping_offset(inside.start as isize * step);
                        S::spread(start, step, to.add(inside.start), inside.len());
                    }
                }
            }
        }
        done += count;
    }
}

/// Which of `count` positions, `step` apart from `x` on, lie in `0..width`.
#[inline(always)]
fn within(x: isize, step: usize, width: usize, count: usize) -> Range<usize> {
    let before = |limit: isize| usize::try_from(limit - x).map_or(0, |by| by.div_ceil(step));
    let start = before(0).min(count);
    start..before(width as isize).clamp(start, count)
}

/// The function for a family.
pub(super) fn packer(isa: Isa) -> Pack {
    unsafe fn plain(t: &WindowRows<'_>) {
        // SAFETY: the caller's.
        unsafe { pack::<OneByOne>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    unsafe fn wide(t: &WindowRows<'_>) {
        // SAFETY: the caller's; the set is enabled for this function.
        unsafe { pack::<ByMask>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, Isa::Avx512 | Isa::Amx) {
        return wide;
    }
    let _ = isa;
    plain
}
