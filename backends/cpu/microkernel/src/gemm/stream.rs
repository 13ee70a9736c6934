//! Products of so few rows that reading packed B is what they cost: several panels at once, each a
//! stream of its own for the prefetchers, which follow one stream at little more than half of what
//! memory gives.

use crate::{
    gemm::kernel::{Tile, advanced, step, write},
    simd::Simd,
};

/// Panels that are read side by side, at most.
pub(super) const STREAMS: usize = 4;
/// K (over all taps) that is summed before it joins the sums so far.
const K_SUM: usize = 512;
/// Elements of a panel that are asked for ahead: half a page.
const AHEAD: usize = 512;

/// Neighbouring tiles of `MR` rows, over all taps and K, one for each two of the `V` vectors of a
/// row. Each element is summed in the same order, however many there are.
///
/// # Safety
/// As a [`super::kernel::TileFn`], with `b_panel` elements from one panel to the next.
#[inline(always)]
pub(super) unsafe fn stream<S: Simd, const MR: usize, const V: usize>(t: &Tile) {
    // SAFETY: the caller vouches for every pointer in the tile and for the instruction set.
    unsafe {
        let nr = 2 * S::LANES;
        let mut sums = [[S::splat(0.0); V]; MR];
        for tap in 0..t.taps {
            let starts = t.a.add(tap * t.tap_rows);
            let mut rows = [std::ptr::null::<f32>(); MR];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = starts.add(r).read();
            }
            let mut b = t.b.add(tap * t.b_tap);
            let mut index = t.a_first;
            for first in (0..t.k).step_by(K_SUM) {
                let mut acc = [[S::splat(0.0); V]; MR];
                for _ in first..(first + K_SUM).min(t.k) {
                    for line in (0..nr).step_by(16) {
                        for panel in 0..V / 2 {
                            S::prefetch(b.wrapping_add(panel * t.b_panel + AHEAD + line));
                        }
                    }
                    step::<S, MR, V>(&mut acc, &rows, index, |v| {
                        b.add(v / 2 * t.b_panel + v % 2 * S::LANES)
                    });
                    b = b.add(nr);
                    index = advanced(index, t.a_k_stride);
                }
                for (sums, acc) in sums.iter_mut().zip(&acc) {
                    for (sum, &part) in sums.iter_mut().zip(acc) {
                        *sum = S::add(*sum, part);
                    }
                }
            }
        }
        write::<S, MR, V>(t, sums);
    }
}
