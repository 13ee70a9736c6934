//! The driver of products by tiles of bytes: 32 by 32 sums at a time, 64 of K at once.
//!
//! Packed B is what the other kernels read: four of K are neighbours in it, and a tile takes
//! sixteen such groups of sixteen columns. Taps follow each other without a gap, so that they and K
//! are one axis. A is copied, as unsigned bytes, in the order in which tiles are loaded.

use std::ptr;

use super::{
    kernel::Tile,
    plan::{ByteSign, IntGemm},
    run::{Block, Columns, IntGemmOperands, Scratch},
};
use crate::{
    amx::{Operands, SIDE, TILE_BYTES, TILE_LINE, TILE_ROWS, emulate},
    gemm::{Blocks, Init, fill_starts},
    isa::Isa,
};

/// Groups of four K that a tile takes at once.
const GROUPS: usize = TILE_LINE / 4;
/// Steps to a block of K at most.
const STEPS_MAX: usize = 32;
/// Bytes of one step of a panel of 32 columns.
pub(super) const STEP_BYTES: usize = GROUPS * SIDE * 4;
/// Least rows, and bytes along taps and K, that are worth tiles.
const LEAST: [usize; 2] = [4, 32];

/// Whether tiles serve a product of this size.
pub(super) fn is_worth(rows: usize, depth: usize) -> bool {
    rows >= LEAST[0] && depth >= LEAST[1]
}

/// One block of K.
#[derive(Clone, Copy)]
struct KBlock {
    first_step: usize,
    steps: usize,
    is_first: bool,
    is_last: bool,
}

impl IntGemm {
    /// Blocks for products by tiles; `k` counts bytes.
    pub(super) fn choose_tiles(
        m: usize,
        groups: usize,
        panels: usize,
        batch: usize,
        threads: usize,
    ) -> Blocks {
        let bytes = groups.div_ceil(GROUPS) * TILE_LINE;
        let mut blocks = Blocks::choose_split(m, groups * 2, panels, batch, threads);
        let steps = (bytes / TILE_LINE).max(1);
        blocks.k = steps.div_ceil(steps.div_ceil(STEPS_MAX)) * TILE_LINE;
        blocks
    }

    /// Groups of four along taps and K.
    fn groups(&self) -> usize {
        self.taps * self.spec.k.div_ceil(4)
    }

    /// # Safety
    /// As [`IntGemm::run`], after its checks.
    pub(super) unsafe fn run_tiles(&self, o: &IntGemmOperands, block: &Block, scratch: &Scratch) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the family is available.
        let _tiles = (self.spec.isa == Isa::Amx).then(|| unsafe { crate::amx::Tiles::configure() });
        let first_row = block.tiles.start * SIDE;
        let rows = (block.tiles.end * SIDE).min(self.spec.m) - first_row;
        // SAFETY: the scratch parts were sized for the tallest block.
        unsafe {
            self.begin_block(o, block, scratch, first_row, rows);
            let a = o.a.0.wrapping_offset(self.spec.batch.a.at(block.batch));
            for row in (0..rows).step_by(TILE_ROWS) {
                let here = (rows - row).min(TILE_ROWS);
                let starts = scratch.pointers.add(row * self.taps);
                let rows_of = &self.spec.a_rows;
                fill_starts(rows_of, a, first_row + row, here, scratch.outside, starts);
                if o.b_zero.1 > 0 {
                    self.sum_rows(o, scratch, starts, here, scratch.sums.add(row));
                }
            }
        }
        let steps = self.groups().div_ceil(GROUPS);
        let each = self.blocks.k / TILE_LINE;
        for first_step in (0..steps.max(1)).step_by(each) {
            let here = (steps - first_step).min(each);
            let part = KBlock {
                first_step,
                steps: here,
                is_first: first_step == 0,
                is_last: first_step + here >= steps,
            };
            // SAFETY: as this function.
            unsafe { self.run_tiles_part(o, block, scratch, part) };
        }
    }

    /// # Safety
    /// As [`IntGemm::run`], after its checks; the scratch is filled for the block.
    unsafe fn run_tiles_part(
        &self,
        o: &IntGemmOperands,
        block: &Block,
        scratch: &Scratch,
        part: KBlock,
    ) {
        let (nr, panel_len) = (self.layout.nr, self.layout.panel_len());
        let first_row = block.tiles.start * SIDE;
        let end_row = (block.tiles.end * SIDE).min(self.spec.m);
        let add = !part.is_first || self.spec.init == Init::Accumulate;
        // SAFETY: offsets below stay inside of the checked extents; scratch was sized for them.
        unsafe {
            for row in (0..end_row - first_row).step_by(TILE_ROWS) {
                let rows = (end_row - first_row - row).min(TILE_ROWS);
                self.copy_tile(scratch, row, rows, part);
            }
            let b_batch = self.spec.batch.b.at(block.batch);
            let b = o.b.0.offset(b_batch);
            for panel in block.panels.clone() {
                if crate::pool::is_over() {
                    return;
                }
                let col = panel * nr;
                let cols = (self.spec.n - col).min(nr);
                let columns = match part.is_last {
                    true => self.columns(o, block.batch, b, panel),
                    false => Columns::default(),
                };
                let at = panel * panel_len + part.first_step * STEP_BYTES;
                // The last step reads on, if need be into what zeros of A meet; not past the end.
                let left = o.b.1 - (b_batch as usize + at);
                let direct = part.steps.min(left / STEP_BYTES);
                for (strip, row) in (first_row..end_row).step_by(SIDE).enumerate() {
                    let rows = (end_row - row).min(SIDE);
                    let local = row - first_row;
                    let from = b.add(at);
                    let t = Operands {
                        a: scratch.pack.add(local * part.steps * TILE_LINE),
                        b: from,
                        steps: direct,
                        rows_past: rows > TILE_ROWS,
                        cols_past: cols > TILE_ROWS,
                        next: from.wrapping_add(panel_len + strip * part.steps * STEP_BYTES / 4),
                        out: scratch.words.cast(),
                    };
                    self.multiply(&t, part.steps - direct, left % STEP_BYTES, scratch);
                    let (c, c_rows) = if self.tiles_in_scratch() {
                        let local_col = (panel - block.panels.start) * nr;
                        (scratch.tile.add(local_col), scratch.tile_rows)
                    } else {
                        let batch = self.spec.batch.c.at(block.batch);
                        (o.c.0.offset(batch).add(col), scratch.c_rows)
                    };
                    let finish = part.is_last.then(|| {
                        let sums = scratch.sums.wrapping_add(local).cast_const();
                        columns.finish(if o.b_zero.1 > 0 { sums } else { ptr::null() })
                    });
                    let t = Tile {
                        c,
                        c_rows: c_rows.add(local).cast_const(),
                        cols,
                        add,
                        finish,
                        ..Tile::empty()
                    };
                    (self.deliver_words)(&t, scratch.words, rows);
                    if part.is_last {
                        let final_rows = scratch.c_rows.add(local);
                        self.deliver(o, block.batch, &t, [row, col], rows, final_rows);
                    }
                }
            }
        }
    }

    /// Multiplies a register tile: the steps that `t` has, and one more of which B holds `tail`
    /// bytes if there is one `past`.
    ///
    /// # Safety
    /// The operands are valid; the scratch has room for a step and twice the sums.
    unsafe fn multiply(&self, t: &Operands, past: usize, tail: usize, scratch: &Scratch) {
        assert!(past <= 1, "only the last step ends past the panels");
        // SAFETY: the caller's; what is read past the steps of `t` is copied.
        unsafe {
            if t.steps > 0 {
                multiply(self.spec.isa, t);
            } else {
                ptr::write_bytes(t.out, 0, SIDE * SIDE * 4);
            }
            if past == 0 {
                return;
            }
            let step = scratch.words.add(2 * SIDE * SIDE).cast::<u8>();
            ptr::copy_nonoverlapping(t.b.add(t.steps * STEP_BYTES), step, tail);
            ptr::write_bytes(step.add(tail), 0, STEP_BYTES - tail);
            let more = scratch.words.add(SIDE * SIDE);
            let last = Operands {
                a: t.a.add(t.steps * 2 * TILE_BYTES),
                b: step,
                steps: 1,
                next: step,
                out: more.cast(),
                ..*t
            };
            multiply(self.spec.isa, &last);
            for i in 0..SIDE * SIDE {
                let sum = scratch.words.add(i);
                sum.write(sum.read().wrapping_add(more.add(i).read()));
            }
        }
    }

    /// Copies up to sixteen rows of A, `[step][2][row][64]`, zeros where there is no K.
    ///
    /// # Safety
    /// The starts of the tile are filled, and the scratch has room.
    unsafe fn copy_tile(&self, scratch: &Scratch, local: usize, rows: usize, part: KBlock) {
        let strip = local / SIDE * SIDE;
        let k = self.spec.k;
        let of_tap = k.div_ceil(4);
        let flip = match self.sign {
            ByteSign::Unsigned => 0,
            ByteSign::Signed => 0x80,
        };
        let to = |step: usize, r: usize| {
            let at = strip * part.steps + step * SIDE + (local - strip) + r;
            scratch
                .pack
                .wrapping_add(at * TILE_LINE)
                .cast::<[u8; TILE_LINE]>()
        };
        if self.spec.a_k_stride == 1 && k.is_multiple_of(TILE_LINE) {
            // Steps lie within a tap, and their bytes next to each other.
            for step in 0..part.steps {
                let at = (part.first_step + step) * TILE_LINE;
                let (tap, first) = (at / k, at % k);
                for r in 0..rows {
                    // SAFETY: valid rows, and that of zero points, reach `k`.
                    unsafe {
                        let start = scratch.pointers.add(local * self.taps + tap * rows + r);
                        let from = start.read().add(first).cast::<[u8; TILE_LINE]>();
                        to(step, r).write(from.read().map(|byte| byte ^ flip));
                    }
                }
            }
            return;
        }
        for r in 0..rows {
            let group = part.first_step * GROUPS;
            let (mut tap, mut group) = (group / of_tap.max(1), group % of_tap.max(1));
            for step in 0..part.steps {
                let mut line = [0u8; TILE_LINE];
                let mut done = 0;
                while done < GROUPS && tap < self.taps {
                    let here = (of_tap - group).min(GROUPS - done);
                    let first = 4 * group;
                    let bytes = (k - first).min(4 * here);
                    // SAFETY: valid rows reach `k` within the checked extent of A.
                    unsafe {
                        let start = scratch
                            .pointers
                            .add(local * self.taps + tap * rows + r)
                            .read();
                        let outside = ptr::eq(start, scratch.outside);
                        let line = &mut line[4 * done..][..bytes];
                        self.copy_bytes(start, outside, first, line);
                        line.iter_mut().for_each(|byte| *byte ^= flip);
                    }
                    done += here;
                    group += here;
                    if group == of_tap {
                        (tap, group) = (tap + 1, 0);
                    }
                }
                // SAFETY: the strip has room for its steps.
                unsafe { to(step, r).write(line) };
            }
        }
    }

    /// Copies bytes of one row of one tap from the `first` on.
    ///
    /// # Safety
    /// The row is valid for them; one outside of the image is a row of zero points.
    unsafe fn copy_bytes(&self, start: *const u8, outside: bool, first: usize, line: &mut [u8]) {
        // SAFETY: the caller's.
        unsafe {
            if outside {
                line.fill(start.read());
            } else if self.spec.a_k_stride == 1 {
                ptr::copy_nonoverlapping(start.add(first), line.as_mut_ptr(), line.len());
            } else {
                for (i, byte) in line.iter_mut().enumerate() {
                    let at = (first + i) as isize * self.spec.a_k_stride;
                    *byte = start.offset(at).read();
                }
            }
        }
    }
}

/// Multiplies a register tile of bytes.
///
/// # Safety
/// The operands are valid; tiles are configured where the family has them.
unsafe fn multiply(isa: Isa, t: &Operands) {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Amx {
            return crate::amx::kernel::multiply_bytes(t);
        }
        let _ = isa;
        emulate::multiply_bytes(t);
    }
}
