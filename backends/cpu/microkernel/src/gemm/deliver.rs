//! Sums of parts that lie in memory: finished, and stored to C.

use crate::{
    gemm::{
        kernel::{Finish, Tile, by_column, write},
        spec::Stored,
    },
    layout::SPLIT_COLS,
    simd::Simd,
};

/// Finishes and stores sums that lie in memory, `[row][32]`; of the tile only what follows the
/// products is read.
pub(super) type DeliverFn = unsafe fn(&Tile, *const f32, usize);

/// [`DeliverFn`].
#[inline(always)]
pub(super) unsafe fn deliver<S: Simd>(t: &Tile, sums: *const f32, rows: usize) {
    let wide = 2 * S::LANES;
    let residual = t.finish.map_or(std::ptr::null(), |finish| finish.residual);
    let is_plain = t.finish.is_none_or(|finish| {
        let is_row = finish.residual_stored == Stored::F32 && finish.residual_n == 1;
        finish.bias_m.is_null() && (residual.is_null() || is_row)
    });
    for first in (0..t.cols).step_by(wide) {
        if is_plain && t.cols - first >= wide {
            // SAFETY: as this function.
            unsafe {
                match (t.add, residual.is_null()) {
                    (false, true) => deliver_cols::<S, false, false>(t, sums, rows, first),
                    (false, false) => deliver_cols::<S, false, true>(t, sums, rows, first),
                    (true, true) => deliver_cols::<S, true, false>(t, sums, rows, first),
                    (true, false) => deliver_cols::<S, true, true>(t, sums, rows, first),
                }
            }
            continue;
        }
        for r in 0..rows {
            // SAFETY: the caller vouches for the sums and for what the tile points to.
            unsafe {
                let mut acc = [[S::splat(0.0); 2]; 1];
                for (v, slot) in acc[0].iter_mut().enumerate() {
                    *slot = S::load(sums.add(r * SPLIT_COLS + first + v * S::LANES));
                }
                let finish = t.finish.map(|finish| finish.at(r, first));
                let row = Tile {
                    c: t.c.wrapping_add(first),
                    c_rows: t.c_rows.wrapping_add(r),
                    cols: (t.cols - first).min(wide),
                    add: t.add,
                    finish,
                    ..Tile::empty()
                };
                write::<S, 1, 2>(&row, acc);
            }
        }
    }
}

/// Two whole vectors of each row: what is in C is added if so, then bias and residual.
///
/// # Safety
/// As [`DeliverFn`], with a residual in rows of f32 if so, and no bias for each row.
#[inline(always)]
unsafe fn deliver_cols<S: Simd, const ADD: bool, const RESIDUAL: bool>(
    t: &Tile,
    sums: *const f32,
    rows: usize,
    first: usize,
) {
    // SAFETY: the caller vouches for the sums and for what the tile points to.
    unsafe {
        let (bias, low, high) = by_column::<S, 2>(t.finish.as_ref(), first);
        let (residual, residual_rows) = match &t.finish {
            Some(finish) if RESIDUAL => (finish.residual.add(first), finish.residual_rows),
            _ => (std::ptr::null(), std::ptr::null()),
        };
        for r in 0..rows {
            let c = t.c.offset(t.c_rows.add(r).read()).add(first);
            for (v, &bias) in bias.iter().enumerate() {
                let mut x = S::load(sums.add(r * SPLIT_COLS + first + v * S::LANES));
                if ADD {
                    x = S::add(S::load(c.add(v * S::LANES)), x);
                }
                x = S::add(x, bias);
                if RESIDUAL {
                    let row = residual.offset(residual_rows.add(r).read());
                    x = S::add(x, S::load(row.add(v * S::LANES)));
                }
                S::store(c.add(v * S::LANES), S::min(high, S::max(low, x)));
            }
        }
    }
}

impl Finish {
    /// That of the part of a tile that begins at this row and column.
    #[inline(always)]
    fn at(self, row: usize, col: usize) -> Self {
        let part = |p: *const f32, at: usize| if p.is_null() { p } else { p.wrapping_add(at) };
        let residual = self.residual;
        Self {
            bias_n: part(self.bias_n, col),
            bias_m: part(self.bias_m, row),
            residual: if residual.is_null() {
                residual
            } else {
                let by = col as isize * self.residual_n * self.residual_stored.bytes() as isize;
                residual.wrapping_byte_offset(by)
            },
            residual_rows: self.residual_rows.wrapping_add(row),
            ..self
        }
    }
}
