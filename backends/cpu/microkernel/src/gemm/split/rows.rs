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
    /// Behind the last element of A.
    pub(super) end: *const T,
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
    if is_adjacent && has_short_runs(t) {
        // SAFETY: the caller's.
        unsafe { split_short_runs::<T, PARTS, NATIVE>(t, &mut seen) };
        return seen.found();
    }
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

/// Neighbours that are copied at a time where no tap has more.
const RUN: usize = 16;
/// Elements of a row that are put together before they are split.
const ROW: usize = 1024;

/// Whether all of a row is in this block of K, in many short runs.
fn has_short_runs<T>(t: &Rows<T>) -> bool {
    let depth = t.taps * t.k;
    t.k <= RUN && depth <= ROW && t.first_step == 0 && t.steps == depth.div_ceil(SPLIT_STEP)
}

/// Splits rows of short runs: each is copied with what lies behind it, which the next covers.
///
/// # Safety
/// As [`SplitRows`]; the elements of a tap are neighbours.
#[inline(always)]
unsafe fn split_short_runs<T: Element, const PARTS: usize, const NATIVE: bool>(
    t: &Rows<T>,
    seen: &mut Seen,
) {
    let mut values = [T::ZERO; ROW + SPLIT_STEP];
    let depth = t.taps * t.k;
    for r in 0..t.rows {
        for tap in 0..t.taps {
            // SAFETY: a run ends within A, or is zeros, of which there are more; there is room for
            // one behind the last.
            unsafe {
                let start = t.starts.add(tap * t.rows + r).read();
                let to = values.as_mut_ptr().add(tap * t.k);
                let is_within = start.wrapping_add(RUN) <= t.end || start == ZEROS.as_ptr().cast();
                match is_within {
                    true => {
                        let run = start.cast::<[T; RUN]>().read_unaligned();
                        to.cast::<[T; RUN]>().write_unaligned(run);
                    }
                    false => std::ptr::copy_nonoverlapping(start, to, t.k),
                }
            }
        }
        values[depth..depth + SPLIT_STEP].fill(T::ZERO);
        for (step, line) in values.chunks_exact(SPLIT_STEP).take(t.steps).enumerate() {
            let to = t
                .out
                .wrapping_add(step * PARTS * 2 * TILE_BYTES + r * TILE_LINE);
            // SAFETY: the caller's.
            unsafe { T::write::<PARTS, { 2 * TILE_BYTES }, NATIVE>(line.as_ptr(), seen, to) };
        }
    }
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
