//! Splitting rows of A into bf16 parts, in the order in which tiles are loaded.

use super::{
    Found,
    line::{Element, Seen},
};
use crate::{
    amx::{SIDE, TILE_BYTES, TILE_LINE},
    gemm::pack_a::ZEROS,
    isa::Isa,
    layout::SPLIT_STEP,
};

/// Rows of A, at most sixteen, for some steps of taps and K.
pub(super) struct Rows<T> {
    /// `[tap][row]` start of each row.
    pub(super) starts: *const *const T,
    /// How many there are; also the distance from one tap to the next in `starts`.
    pub(super) rows: usize,
    pub(super) taps: usize,
    pub(super) k: usize,
    pub(super) k_stride: isize,
    pub(super) first_step: usize,
    pub(super) steps: usize,
    /// Where the first row of the first step goes; see [`crate::amx::Operands`].
    pub(super) out: *mut u8,
}

/// Splits the rows and says what it found.
///
/// # Safety (of the function)
/// Every start that is not `ZEROS` is valid at `k` times the stride, `out` has room, and the family
/// that it was chosen for is available.
pub(super) type SplitRows<T> = unsafe fn(&Rows<T>) -> Found;

#[inline(always)]
unsafe fn split_rows<T: Element, const PARTS: usize, const NATIVE: bool>(t: &Rows<T>) -> Found {
    let mut seen = Seen::NOTHING;
    let zeros = ZEROS.as_ptr().cast::<T>();
    let to = |step: usize, r: usize| {
        t.out
            .wrapping_add(step * PARTS * 2 * TILE_BYTES + r * TILE_LINE)
    };
    let is_adjacent = t.k_stride == 1;
    let whole = match (is_adjacent, t.taps) {
        // Steps lie within a tap, and their values next to each other.
        (true, _) if t.k.is_multiple_of(SPLIT_STEP) => t.steps,
        // All of them but the last one.
        (true, 1) => t.steps.min((t.k / SPLIT_STEP).saturating_sub(t.first_step)),
        _ => 0,
    };
    if whole > 0 {
        for step in 0..whole {
            let at = (t.first_step + step) * SPLIT_STEP;
            let (tap, k) = (at / t.k, at % t.k);
            for r in 0..t.rows {
                // SAFETY: the caller's; there are more zeros than a step.
                unsafe {
                    let start = t.starts.add(tap * t.rows + r).read();
                    let from = match start == zeros {
                        true => start,
                        false => start.wrapping_add(k),
                    };
                    T::write::<PARTS, { 2 * TILE_BYTES }, NATIVE>(from, &mut seen, to(step, r));
                }
            }
        }
    }
    if whole < t.steps {
        let first = (t.first_step + whole) * SPLIT_STEP;
        for r in 0..t.rows {
            let (mut tap, mut k) = (first / t.k, first % t.k);
            for step in whole..t.steps {
                // SAFETY: the caller's.
                unsafe {
                    let values = gather(t, r, tap, k, zeros);
                    let from = values.as_ptr();
                    T::write::<PARTS, { 2 * TILE_BYTES }, NATIVE>(from, &mut seen, to(step, r));
                }
                k += SPLIT_STEP;
                while k >= t.k && tap < t.taps {
                    (tap, k) = (tap + 1, k - t.k);
                }
            }
        }
    }
    seen.found()
}

/// The values of one row in one step; zeros past the last tap.
#[inline(always)]
unsafe fn gather<T: Element>(
    t: &Rows<T>,
    row: usize,
    mut tap: usize,
    mut k: usize,
    zeros: *const T,
) -> [T; SPLIT_STEP] {
    let mut values = [T::ZERO; SPLIT_STEP];
    let mut done = 0;
    while done < SPLIT_STEP && tap < t.taps {
        let here = (t.k - k).min(SPLIT_STEP - done);
        // SAFETY: the caller's; `here` elements are left in this tap.
        unsafe {
            let start = t.starts.add(tap * t.rows + row).read();
            if start != zeros {
                let from = start.wrapping_offset(k as isize * t.k_stride);
                if t.k_stride == 1 {
                    let to = values.as_mut_ptr().add(done);
                    std::ptr::copy_nonoverlapping(from, to, here);
                } else {
                    for i in 0..here {
                        values[done + i] = from.wrapping_offset(i as isize * t.k_stride).read();
                    }
                }
            }
        }
        done += here;
        (tap, k) = (tap + 1, 0);
    }
    values
}

/// The function for a family and a number of parts of f32.
pub(super) fn splitter(isa: Isa, parts: usize) -> SplitRows<f32> {
    unsafe fn plain<const PARTS: usize>(t: &Rows<f32>) -> Found {
        // SAFETY: the caller's.
        unsafe { split_rows::<f32, PARTS, false>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    unsafe fn wide<const PARTS: usize>(t: &Rows<f32>) -> Found {
        // SAFETY: the caller's.
        unsafe { split_rows::<f32, PARTS, false>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
    unsafe fn native(t: &Rows<f32>) -> Found {
        // SAFETY: the caller's.
        unsafe { split_rows::<f32, 1, true>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    match isa {
        Isa::Amx if parts == 1 => return native,
        Isa::Avx512 | Isa::Amx => return [wide::<1>, wide::<2>, wide::<3>][parts - 1],
        Isa::Portable | Isa::Neon | Isa::Avx2 => {}
    }
    let _ = isa;
    [plain::<1> as SplitRows<f32>, plain::<2>, plain::<3>][parts - 1]
}

/// The function for a family that copies bf16.
pub(super) fn copier(isa: Isa) -> SplitRows<u16> {
    unsafe fn plain(t: &Rows<u16>) -> Found {
        // SAFETY: the caller's.
        unsafe { split_rows::<u16, 1, false>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    unsafe fn wide(t: &Rows<u16>) -> Found {
        // SAFETY: the caller's.
        unsafe { split_rows::<u16, 1, false>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, Isa::Avx512 | Isa::Amx) {
        return wide;
    }
    let _ = isa;
    plain
}

/// Rows of a register tile.
pub(super) const STRIP: usize = SIDE;
