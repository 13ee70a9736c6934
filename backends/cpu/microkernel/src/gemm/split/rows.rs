//! Splitting rows of A into bf16 parts, in the order in which tiles are loaded.

use super::{Found, round_any, take_part};
use crate::{
    amx::{SIDE, TILE_BYTES, TILE_LINE},
    gemm::pack_a::ZEROS,
    isa::Isa,
    layout::SPLIT_STEP,
};

/// Rows of A, at most sixteen, for some steps of taps and K.
pub(super) struct Rows {
    /// `[tap][row]` start of each row.
    pub(super) starts: *const *const f32,
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
pub(super) type SplitRows = unsafe fn(&Rows) -> Found;

/// The range of what was found so far, by position in a step.
pub(super) struct Seen {
    /// One less than the bits, so that a zero is the greatest.
    least: [u32; SPLIT_STEP],
    most: [u32; SPLIT_STEP],
}

impl Seen {
    pub(super) const NOTHING: Self = Self {
        least: [u32::MAX; SPLIT_STEP],
        most: [0; SPLIT_STEP],
    };

    /// The range of all positions.
    #[inline(always)]
    pub(super) fn found(&self) -> Found {
        let least = self.least.iter().fold(u32::MAX, |least, &x| least.min(x));
        Found {
            least: least.saturating_add(1),
            most: self.most.iter().fold(0, |most, &x| most.max(x)),
        }
    }
}

#[inline(always)]
unsafe fn split_rows<const PARTS: usize>(t: &Rows) -> Found {
    let mut seen = Seen::NOTHING;
    let zeros = ZEROS.as_ptr();
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
                    let values = from.cast::<[f32; SPLIT_STEP]>().read_unaligned();
                    split_line::<PARTS, { 2 * TILE_BYTES }>(values, &mut seen, to(step, r));
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
                    split_line::<PARTS, { 2 * TILE_BYTES }>(values, &mut seen, to(step, r));
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

/// Writes the parts of one row in one step, `APART` bytes from one to the next: each word holds an
/// element of the first half of the step and, in its upper bits, one of the second, so that no lane
/// changes place.
///
/// # Safety
/// There is room for a line of each part.
#[inline(always)]
pub(super) unsafe fn split_line<const PARTS: usize, const APART: usize>(
    mut values: [f32; SPLIT_STEP],
    seen: &mut Seen,
    to: *mut u8,
) {
    if PARTS > 1 {
        for (i, x) in values.iter().enumerate() {
            let bits = x.to_bits() & 0x7fff_ffff;
            seen.most[i] = seen.most[i].max(bits);
            seen.least[i] = seen.least[i].min(bits.wrapping_sub(1));
        }
    }
    let (first, second) = values.split_at_mut(SPLIT_STEP / 2);
    for part in 0..PARTS {
        let mut line = [0u32; SPLIT_STEP / 2];
        for ((slot, x), y) in line.iter_mut().zip(&mut *first).zip(&mut *second) {
            let [low, high] = [x, y].map(|x| match PARTS {
                1 => round_any(*x),
                _ => take_part(x),
            });
            *slot = low >> 16 | high;
        }
        // SAFETY: the caller's; lines are aligned as the scratch is.
        unsafe {
            to.add(part * APART)
                .cast::<[u32; SPLIT_STEP / 2]>()
                .write(line);
        };
    }
}

/// The values of one row in one step; zeros past the last tap.
#[inline(always)]
unsafe fn gather(
    t: &Rows,
    row: usize,
    mut tap: usize,
    mut k: usize,
    zeros: *const f32,
) -> [f32; SPLIT_STEP] {
    let mut values = [0f32; SPLIT_STEP];
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

/// The function for a family and a number of parts.
pub(super) fn splitter(isa: Isa, parts: usize) -> SplitRows {
    unsafe fn plain<const PARTS: usize>(t: &Rows) -> Found {
        // SAFETY: the caller's.
        unsafe { split_rows::<PARTS>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    unsafe fn wide<const PARTS: usize>(t: &Rows) -> Found {
        // SAFETY: the caller's.
        unsafe { split_rows::<PARTS>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, Isa::Avx512 | Isa::Amx) {
        return [wide::<1>, wide::<2>, wide::<3>][parts - 1];
    }
    let _ = isa;
    [plain::<1> as SplitRows, plain::<2>, plain::<3>][parts - 1]
}

/// Rows of a register tile.
pub(super) const STRIP: usize = SIDE;
