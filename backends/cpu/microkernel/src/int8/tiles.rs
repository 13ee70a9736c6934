//! The driver of products by tiles of bytes: 32 by 32 sums at a time, 64 of K at once, by tile
//! instructions or by vectors of sixteen words.
//!
//! Packed B is what the other kernels read: four of K are neighbours in it, and a tile takes
//! sixteen such groups of sixteen columns. Taps follow each other without a gap, so that they and K
//! are one axis. A is copied, as unsigned bytes, in the order in which tiles are loaded.

use std::ptr;

use super::{
    kernel::Tile,
    plan::IntGemm,
    run::{Block, Columns, IntGemmOperands, Scratch},
};
use crate::{
    amx::{
        SIDE, TILE_BYTES, TILE_LINE, TILE_ROWS,
        bytes::{self, ByteOperands},
    },
    gemm::{Blocks, GROUP_MAX, Init, STRIP, TileSizes, fill_starts},
    isa::Isa,
};

/// Groups of four K that a tile takes at once.
pub(super) const GROUPS: usize = TILE_LINE / 4;
/// Steps to a block of K at most.
const STEPS_MAX: usize = 32;
/// Register tiles along M to a block at most: A stays in the second-level cache.
const STRIPS_MAX: usize = 4;
/// Bytes of one step of a panel of 32 columns.
pub(super) const STEP_BYTES: usize = GROUPS * SIDE * 4;
/// Sums that are finished at once, about: they come back from the first two levels of cache.
const FINISHED: usize = 1 << 15;
/// What sums begin with that nothing is added to.
static NOTHING: [i32; SIDE] = [0; SIDE];
/// Least rows, and bytes along taps and K, that are worth tiles.
const LEAST: [usize; 2] = [4, 9];

/// Whether tiles serve a product of this size.
pub(super) fn is_worth(rows: usize, depth: usize) -> bool {
    rows >= LEAST[0] && depth >= LEAST[1]
}

/// One block of K.
#[derive(Clone, Copy)]
pub(super) struct KBlock {
    pub(super) first_step: usize,
    pub(super) steps: usize,
    is_first: bool,
    is_last: bool,
}

impl IntGemm {
    /// Blocks for products by tiles, each of which takes as long as `products` of tile
    /// instructions; `k` counts bytes.
    pub(super) fn choose_tiles(
        m: usize,
        groups: usize,
        panels: usize,
        batch: usize,
        threads: usize,
        products: usize,
    ) -> Blocks {
        let bytes = groups.div_ceil(GROUPS) * TILE_LINE;
        let sizes = TileSizes {
            m,
            depth: groups * 2,
            panels,
            batch,
            strip: STRIP,
            strips_max: STRIPS_MAX,
            panels_max: usize::MAX,
            parts: 1,
            products,
            c_bytes: 1,
        };
        let mut blocks = Blocks::choose_split(&sizes, threads);
        let steps = (bytes / TILE_LINE).max(1);
        blocks.k = steps.div_ceil(steps.div_ceil(STEPS_MAX)) * TILE_LINE;
        let rows = blocks.m_tiles.div_ceil(blocks.m_blocks).max(1) * SIDE;
        blocks.group = (FINISHED / (rows * SIDE)).clamp(1, GROUP_MAX);
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
        // Scratch has room for whole register tiles, which are made where they belong if nothing
        // depends on their rows.
        let direct = self.tiles_in_scratch() && o.b_zero.1 == 0;
        let ld = self.panels_in_scratch(block.panels.len()) * nr;
        let shares = (end_row - first_row).div_ceil(SIDE).clamp(1, 4);
        // SAFETY: offsets below stay inside of the checked extents; scratch was sized for them.
        unsafe {
            for row in (0..end_row - first_row).step_by(TILE_ROWS) {
                let rows = (end_row - first_row - row).min(TILE_ROWS);
                self.copy_tile(o, scratch, row, rows, part);
            }
            let groups = self.groups() - part.first_step * GROUPS;
            let b_batch = self.spec.batch.b.at(block.batch);
            let b = o.b.0.offset(b_batch);
            for group in block.panels.clone().step_by(self.blocks.group) {
                let group = group..(group + self.blocks.group).min(block.panels.end);
                let (c, c_rows) = self.sums_of(o, block, scratch, &group);
                for panel in group.clone() {
                    if crate::pool::is_over() {
                        return;
                    }
                    let col = panel * nr;
                    let cols = (self.spec.n - col).min(nr);
                    let columns = match part.is_first && direct || part.is_last && !direct {
                        true => self.columns(o, block.batch, b, panel),
                        false => Columns::default(),
                    };
                    let at = panel * panel_len + part.first_step * STEP_BYTES;
                    // The last step reads on, if need be into what zeros of A meet; not past the
                    // end.
                    let left = o.b.1 - (b_batch as usize + at);
                    let whole = part.steps.min(left / STEP_BYTES);
                    let c = c.add((panel - group.start) * nr);
                    for (strip, row) in (first_row..end_row).step_by(SIDE).enumerate() {
                        let rows = (end_row - row).min(SIDE);
                        let local = row - first_row;
                        let from = b.add(at);
                        let next = panel_len + strip * part.steps * STEP_BYTES / shares;
                        let mut t = ByteOperands {
                            a: scratch.pack.add(local * part.steps * TILE_LINE),
                            b: from,
                            steps: whole,
                            groups,
                            rows,
                            cols,
                            next: from.wrapping_add(next),
                            shares,
                            begin: columns.added(),
                            begin_apart: 0,
                            out: scratch.words,
                            out_apart: SIDE * 4,
                        };
                        if direct {
                            t.out = c.offset(c_rows.add(local).read());
                            t.out_apart = ld * 4;
                            if !part.is_first {
                                (t.begin, t.begin_apart) = (t.out.cast_const(), t.out_apart);
                            }
                        } else {
                            t.begin = NOTHING.as_ptr();
                        }
                        self.multiply(&t, part.steps - whole, left % STEP_BYTES, scratch);
                        if direct {
                            continue;
                        }
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
                    }
                }
                if part.is_last {
                    let col = group.start * nr;
                    let t = Tile {
                        c,
                        c_rows: c_rows.cast_const(),
                        cols: (self.spec.n - col).min(group.len() * nr),
                        ..Tile::empty()
                    };
                    let (rows, final_rows) = (end_row - first_row, scratch.c_rows);
                    self.deliver(o, block.batch, &t, [first_row, col], rows, final_rows);
                }
            }
        }
    }

    /// Multiplies a register tile: the steps that `t` has, and one more of which B holds `tail`
    /// bytes if there is one `past`.
    ///
    /// # Safety
    /// The operands are valid; the scratch has room for a step.
    unsafe fn multiply(&self, t: &ByteOperands, past: usize, tail: usize, scratch: &Scratch) {
        assert!(past <= 1, "only the last step ends past the panels");
        // SAFETY: the caller's; what is read past the steps of `t` is copied.
        unsafe {
            let mut t = *t;
            if t.steps > 0 {
                self.multiply_tile(&t);
            } else if past == 0 {
                for row in 0..SIDE {
                    let from = t.begin.cast::<u8>().wrapping_add(row * t.begin_apart);
                    let to = t.out.cast::<u8>().wrapping_add(row * t.out_apart);
                    ptr::copy_nonoverlapping(from, to, SIDE * 4);
                }
            }
            if past == 0 {
                return;
            }
            let step = scratch.words.add(SIDE * SIDE).cast::<u8>();
            ptr::copy_nonoverlapping(t.b.add(t.steps * STEP_BYTES), step, tail);
            ptr::write_bytes(step.add(tail), 0, STEP_BYTES - tail);
            if t.steps > 0 {
                (t.begin, t.begin_apart) = (t.out.cast_const(), t.out_apart);
            }
            t.a = t.a.add(t.steps * 2 * TILE_BYTES);
            t.groups -= t.steps * GROUPS;
            (t.b, t.steps, t.next, t.shares) = (step, 1, step, 4);
            self.multiply_tile(&t);
        }
    }

    /// Multiplies a register tile.
    ///
    /// # Safety
    /// The operands are valid; tiles are configured where the family has them.
    unsafe fn multiply_tile(&self, t: &ByteOperands) {
        // SAFETY: the caller's; the strip is of this family, which is available.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if self.spec.isa == Isa::Amx {
                return bytes::multiply(t);
            }
            match self.strip {
                Some(strip) => strip(t),
                None => bytes::emulate(t),
            }
        }
    }
}
