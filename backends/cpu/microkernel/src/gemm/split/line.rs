//! A line: the elements of one row in one step, as a tile is loaded from them.

use super::{Found, take_part, to_bf16};
use crate::layout::SPLIT_STEP;

/// How A is stored.
pub(super) trait Element: Copy {
    /// A zero.
    const ZERO: Self;

    /// Writes the parts of the elements of one row in one step, `APART` bytes from one part to the
    /// next. `NATIVE` says that the processor rounds to bf16.
    ///
    /// # Safety
    /// The elements are valid, and there is room for a line of each part.
    unsafe fn write<const PARTS: usize, const APART: usize, const NATIVE: bool>(
        from: *const Self,
        seen: &mut Seen,
        to: *mut u8,
    );
}

/// bf16: lines as they are.
impl Element for u16 {
    const ZERO: u16 = 0;

    #[inline(always)]
    unsafe fn write<const PARTS: usize, const APART: usize, const NATIVE: bool>(
        from: *const u16,
        _: &mut Seen,
        to: *mut u8,
    ) {
        const { assert!(PARTS == 1, "bf16 has one part") };
        // SAFETY: the caller's; lines are aligned as the scratch is.
        unsafe {
            let line = from.cast::<[u16; SPLIT_STEP]>().read_unaligned();
            to.cast::<[u16; SPLIT_STEP]>().write(line);
        }
    }
}

impl Element for f32 {
    const ZERO: f32 = 0.0;

    #[inline(always)]
    unsafe fn write<const PARTS: usize, const APART: usize, const NATIVE: bool>(
        from: *const f32,
        seen: &mut Seen,
        to: *mut u8,
    ) {
        // SAFETY: the caller's.
        unsafe {
            if PARTS > 1 {
                let values = from.cast::<[f32; SPLIT_STEP]>().read_unaligned();
                return split::<PARTS, APART>(values, seen, to);
            }
            #[cfg(target_arch = "x86_64")]
            if NATIVE {
                return round_natively(from, to);
            }
            let values = from.cast::<[f32; SPLIT_STEP]>().read_unaligned();
            to.cast::<[u16; SPLIT_STEP]>().write(values.map(to_bf16));
        }
    }
}

/// As [`to_bf16`].
///
/// # Safety
/// That of [`Element::write`]; the processor has the instruction.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn round_natively(from: *const f32, to: *mut u8) {
    use std::arch::x86_64::{__m512bh, _mm512_cvtne2ps_pbh, _mm512_loadu_ps};
    // SAFETY: the caller's.
    unsafe {
        let [low, high] = [0, SPLIT_STEP / 2].map(|at| _mm512_loadu_ps(from.add(at)));
        to.cast::<__m512bh>().write(_mm512_cvtne2ps_pbh(high, low));
    }
}

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

/// The parts of some elements: each word holds an element of the first half of the step and, in its
/// upper bits, one of the second, so that no lane changes place.
///
/// # Safety
/// There is room for a line of each part.
#[inline(always)]
unsafe fn split<const PARTS: usize, const APART: usize>(
    mut values: [f32; SPLIT_STEP],
    seen: &mut Seen,
    to: *mut u8,
) {
    for (i, x) in values.iter().enumerate() {
        let bits = x.to_bits() & 0x7fff_ffff;
        seen.most[i] = seen.most[i].max(bits);
        seen.least[i] = seen.least[i].min(bits.wrapping_sub(1));
    }
    let (first, second) = values.split_at_mut(SPLIT_STEP / 2);
    for part in 0..PARTS {
        let mut line = [0u32; SPLIT_STEP / 2];
        for ((slot, x), y) in line.iter_mut().zip(&mut *first).zip(&mut *second) {
            let [low, high] = [x, y].map(take_part);
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
