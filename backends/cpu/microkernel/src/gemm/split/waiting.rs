//! What becomes of the sums of a register tile: they are stored at once, or wait to be finished
//! between the tile instructions of the next one.

use std::{ops::Range, ptr};

use super::run::{KBlock, Scratch};
#[cfg(target_arch = "x86_64")]
use crate::amx::rider::{self, Residual, Rider};
use crate::{
    amx::{Operands, WindowOperands, emulate},
    gemm::{
        kernel::{Tile, family},
        narrow::Narrow,
        plan::BatchReduceGemm,
        run::{Block, GemmOperands, TileAt},
        spec::{Bias, CStore, Init, Products, Stored},
    },
    isa::Isa,
    layout::SPLIT_COLS,
    offsets::Offsets,
};

/// Sums of a register tile or of some rows of it, `[row][32]`, that are to be stored.
pub(super) struct Waiting {
    /// Rows of the product.
    pub(super) rows: Range<usize>,
    pub(super) panel: usize,
    pub(super) sums: *const f32,
}

/// Added in place of a bias: changes nothing, not even a zero's sign.
#[cfg(target_arch = "x86_64")]
static NO_BIAS: [f32; SPLIT_COLS] = [-0.0; SPLIT_COLS];

impl BatchReduceGemm {
    /// Multiplies a register tile, of rows that are packed or not, and finishes one that waits.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run_split_part`].
    pub(super) unsafe fn multiply_with(
        &self,
        o: &GemmOperands,
        block: &Block,
        scratch: &Scratch,
        part: KBlock,
        (t, is_packed): (&WindowOperands<'_>, bool),
        waiting: &mut Option<Waiting>,
    ) {
        let parts = self.spec.products.parts();
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (o, block, scratch, part, waiting);
        // SAFETY: the caller's.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if let Some(tile) = waiting.take_if(|tile| {
                let is_whole = t.rows_past && t.cols_past;
                is_whole && tile.rows.len() >= rider::ROWS
            }) {
                let rider = self.rider(o, block, scratch, &tile);
                let done = rider::multiply(is_packed, t, &rider);
                if done < tile.rows.len() {
                    let rest = Waiting {
                        rows: tile.rows.start + done..tile.rows.end,
                        panel: tile.panel,
                        sums: tile.sums.add(done * SPLIT_COLS),
                    };
                    self.store_sums(o, block, scratch, part, rest);
                }
                return;
            }
            match is_packed {
                false => multiply_window(self.spec.isa, parts, t),
                true => multiply(self.spec.isa, parts, &packed(t)),
            }
        }
    }

    /// A register tile of packed rows that the tile instructions store where it belongs, if they
    /// can: sums of one bf16 product in rows of f32 that are evenly apart, with a bias for each
    /// column, or a residual, or what is in C, which sums begin with.
    pub(super) fn stored(
        &self,
        o: &GemmOperands,
        block: &Block,
        part: KBlock,
        tile: &Waiting,
        t: &WindowOperands<'_>,
    ) -> Option<Operands> {
        let spec = &self.spec;
        let Offsets::Uniform(stride) = spec.c_rows else {
            return None;
        };
        let is_plain = spec.products == Products::One
            && spec.c_store == CStore::Rows
            && spec.clip.is_none()
            && o.hook.is_none();
        let has_bias = match spec.bias {
            Bias::None => false,
            Bias::PerN => true,
            Bias::PerM => return None,
        };
        let accumulates = spec.init == Init::Accumulate;
        let begins = [has_bias, spec.residual, accumulates];
        let is_one = begins.into_iter().filter(|begins| *begins).count() <= 1;
        let is_f32 = !spec.residual || spec.residual_stored == Stored::F32;
        let line = usize::try_from(stride).ok()?.checked_mul(4)?;
        if !is_plain || !is_one || !is_f32 {
            return None;
        }
        let at = spec.batch.c.at(block.batch) + tile.rows.start as isize * stride;
        let at = at + (tile.panel * SPLIT_COLS) as isize;
        let out = o.c.0.cast::<f32>().wrapping_offset(at);
        let begin = if !part.is_first || accumulates {
            Some((out.cast_const(), line))
        } else if spec.residual {
            let residual = o.residual.0.cast::<f32>().wrapping_offset(at);
            Some((residual, line))
        } else if has_bias {
            let bias = o.bias.0.wrapping_offset(spec.batch.bias.at(block.batch));
            Some((bias.wrapping_add(tile.panel * SPLIT_COLS), 0))
        } else {
            None
        };
        Some(Operands {
            out: out.cast(),
            out_line: line,
            begin,
            ..packed(t)
        })
    }

    /// Whether sums may be finished while the next ones are made.
    pub(super) fn may_wait(&self, part: KBlock) -> bool {
        let spec = &self.spec;
        let is_once = part.is_first && part.is_last;
        let is_plain = spec.products == Products::One && spec.bias != Bias::PerM;
        let is_narrow = spec.c_store == CStore::Bf16;
        spec.isa == Isa::Amx && is_once && is_plain && is_narrow
    }

    /// A register tile as one that rides along.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run_split_part`].
    #[cfg(target_arch = "x86_64")]
    unsafe fn rider(
        &self,
        o: &GemmOperands,
        block: &Block,
        scratch: &Scratch,
        tile: &Waiting,
    ) -> Rider {
        let (at, _) = self.tile_at(block, scratch, tile);
        let spec = &self.spec;
        let first = spec.batch.c.at(at.batch) + at.col as isize;
        // SAFETY: offsets stay inside of the checked extents.
        let finish = unsafe { self.finish(o, &at) };
        let bias = finish.map_or(ptr::null(), |finish| finish.bias_n);
        let residual = finish.map_or(ptr::null(), |finish| finish.residual);
        let (low, high) = spec.clip.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        Rider {
            sums: tile.sums,
            c: o.c.0.cast::<u16>().wrapping_offset(first),
            residual: match (spec.residual, spec.residual_stored) {
                (false, _) => Residual::None,
                (true, Stored::F32) => Residual::F32(residual),
                (true, Stored::Bf16) => Residual::Bf16(residual.cast()),
            },
            offsets: at.final_rows,
            rows: at.rows,
            bias: match bias.is_null() {
                true => NO_BIAS.as_ptr(),
                false => bias,
            },
            low,
            high,
        }
    }

    /// Where a register tile is, and its columns.
    fn tile_at(&self, block: &Block, scratch: &Scratch, tile: &Waiting) -> (TileAt, usize) {
        let local = tile.rows.start - block.tiles.start * self.strip();
        let col = tile.panel * SPLIT_COLS;
        let at = TileAt {
            batch: block.batch,
            row: tile.rows.start,
            rows: tile.rows.len(),
            col,
            final_rows: scratch.c_rows.wrapping_add(local).cast_const(),
        };
        (at, (self.spec.n - col).min(SPLIT_COLS))
    }

    /// Stores sums, `[row][32]`: onto what is in C after the first block of K, finished after the
    /// last.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run_split_part`].
    pub(super) unsafe fn store_sums(
        &self,
        o: &GemmOperands,
        block: &Block,
        scratch: &Scratch,
        part: KBlock,
        tile: Waiting,
    ) {
        let (at, cols) = self.tile_at(block, scratch, &tile);
        let (rows, sums) = (at.rows, tile.sums);
        let local = at.row - block.tiles.start * self.strip();
        let deliver = family(self.spec.isa).deliver;
        // SAFETY: offsets stay inside of the checked extents; scratch was sized for the block.
        unsafe {
            let (c, c_rows) = if self.tiles_in_scratch() {
                let local_col = (tile.panel - block.panels.start) * SPLIT_COLS;
                (scratch.tile.wrapping_add(local_col), scratch.tile_rows)
            } else {
                let batch = self.spec.batch.c.at(block.batch);
                let c = o.c.0.cast::<f32>();
                (
                    c.wrapping_offset(batch).wrapping_add(at.col),
                    scratch.c_rows,
                )
            };
            let accumulates = self.spec.init == Init::Accumulate && !self.tiles_in_scratch();
            let mut t = Tile {
                c,
                c_rows: c_rows.add(local).cast_const(),
                cols,
                add: !part.is_first || accumulates,
                ..Tile::empty()
            };
            if !part.is_last {
                deliver(&t, sums, rows);
                return;
            }
            let finish = self.finish(o, &at);
            if self.spec.c_store == CStore::Bf16 {
                let before = if t.add { t.c } else { ptr::null_mut() };
                let of_tile = Narrow::of((sums, SPLIT_COLS), &t, finish);
                self.narrow(o, &at, Narrow { before, ..of_tile });
                return;
            }
            t.finish = finish;
            deliver(&t, sums, rows);
            self.deliver(o, &at, &t);
        }
    }
}

/// Packed rows of A in the form that has kernels of its own.
fn packed(t: &WindowOperands<'_>) -> Operands {
    let run = &t.runs[0];
    Operands {
        a: run.starts[0],
        b: t.b,
        steps: run.steps,
        rows_past: t.rows_past,
        cols_past: t.cols_past,
        next: t.next,
        out: t.out,
        out_line: SPLIT_COLS * 4,
        begin: None,
    }
}

/// Multiplies a register tile of parts.
///
/// # Safety
/// The operands are valid; tiles are configured where the family has them.
pub(super) unsafe fn multiply(isa: Isa, parts: usize, t: &Operands) {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Amx {
            return crate::amx::kernel::multiply_bf16(parts, t);
        }
        let _ = isa;
        emulate::multiply_bf16(parts, t);
    }
}

/// Multiplies a register tile of a window.
///
/// # Safety
/// As [`multiply`].
unsafe fn multiply_window(isa: Isa, parts: usize, t: &WindowOperands<'_>) {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Amx {
            return crate::amx::window::multiply(parts, t);
        }
        let _ = isa;
        emulate::multiply_window(parts, t);
    }
}
