//! The driver of products of bf16 parts: walks the blocks of one task.

use std::ptr;

use super::{
    Form, Found, is_safe,
    pack::{restore, trailer},
    rows::{Rows, STRIP, splitter},
    window::{Records, TAPS_MAX, WINDOW_STRIPS_MAX},
};
use crate::{
    amx::{Operands, Run, TILE_ROWS, WindowOperands, emulate},
    gemm::{
        kernel::{Tile, family},
        pack_a::ZEROS,
        plan::{BatchReduceGemm, cutter},
        rows::fill_starts,
        run::{Block, GemmOperands, TileAt},
        spec::Init,
    },
    isa::Isa,
    layout::{SPLIT_COLS, SPLIT_STEP, SPLIT_WORDS},
};

/// Bytes of parts of both sides that stay in the second-level cache together.
const NEAR_BYTES: usize = 1 << 20;

/// Register tiles that fetch the next panel between them; others find it near.
const SHARES: usize = 4;

/// One worker's scratch, cut into its parts.
pub(super) struct Scratch {
    pub(super) pointers: *mut *const f32,
    records: *mut u8,
    c_rows: *mut isize,
    tile_rows: *mut isize,
    parts: *mut u8,
    pub(super) whole: *mut f32,
    panel: *mut f32,
    pub(super) sums: *mut f32,
    tile: *mut f32,
}

/// One block of K: steps, and the taps and K in them.
#[derive(Clone, Copy)]
pub(super) struct KBlock {
    pub(super) first_step: usize,
    pub(super) steps: usize,
    /// Taps times K in it, without the zeros that fill up the last step.
    pub(super) depth: usize,
    is_first: bool,
    is_last: bool,
    /// The split pixels of a window.
    records: Option<Records>,
}

impl BatchReduceGemm {
    /// # Safety
    /// As [`BatchReduceGemm::run`], after its checks; `scratch` is as long as this plan wants.
    pub(in crate::gemm) unsafe fn run_split(
        &self,
        o: &GemmOperands,
        block: &Block,
        scratch: *mut u8,
    ) {
        let scratch = &self.cut(scratch);
        #[cfg(target_arch = "x86_64")]
        let _tiles = (self.spec.isa == Isa::Amx).then(|| {
            let rows = self.lines.map_or(TILE_ROWS, |lines| lines.rows);
            // SAFETY: the family is available.
            unsafe { crate::amx::Tiles::of_rows(rows) }
        });
        let first_row = block.tiles.start * self.strip();
        let rows = (block.tiles.end * self.strip()).min(self.spec.m) - first_row;
        let ld = block.panels.len() * SPLIT_COLS;
        // SAFETY: the scratch parts were sized for the tallest block.
        let records = unsafe {
            let c_rows = std::slice::from_raw_parts_mut(scratch.c_rows, rows);
            self.spec.c_rows.fill(first_row, c_rows);
            let tile_rows = std::slice::from_raw_parts_mut(scratch.tile_rows, rows);
            for (r, slot) in tile_rows.iter_mut().enumerate() {
                *slot = (r * ld) as isize;
            }
            let a = o.a.0.wrapping_offset(self.spec.batch.a.at(block.batch));
            if let Some(lines) = &self.lines {
                let under = first_row..first_row + rows;
                Some(lines.split(self.spec.isa, a, under, scratch.records))
            } else {
                for row in (0..rows).step_by(TILE_ROWS) {
                    let here = (rows - row).min(TILE_ROWS);
                    let starts = scratch.pointers.add(row * self.taps);
                    let zeros = ZEROS.as_ptr();
                    fill_starts(&self.spec.a_rows, a, first_row + row, here, zeros, starts);
                }
                None
            }
        };
        let (steps, each) = (self.split_steps(), self.blocks.k / SPLIT_STEP);
        let depth = self.taps * self.spec.k;
        for first_step in (0..steps.max(1)).step_by(each) {
            let steps_here = (steps - first_step).min(each);
            let part = KBlock {
                first_step,
                steps: steps_here,
                depth: (depth - first_step * SPLIT_STEP).min(steps_here * SPLIT_STEP),
                is_first: first_step == 0,
                is_last: first_step + steps_here >= steps,
                records,
            };
            #[cfg(target_arch = "x86_64")]
            if self.has_few_rows() {
                // SAFETY: as this function.
                unsafe { self.run_few(o, block, scratch, part) };
                continue;
            }
            // SAFETY: as this function.
            unsafe { self.run_split_part(o, block, scratch, part) };
        }
    }

    /// # Safety
    /// As [`BatchReduceGemm::run_split`]; the scratch is filled for the block.
    unsafe fn run_split_part(
        &self,
        o: &GemmOperands,
        block: &Block,
        scratch: &Scratch,
        part: KBlock,
    ) {
        let layout = self.spec.b_layout();
        let (parts, panel_len) = (self.spec.products.parts(), layout.panel_len());
        let strip_rows = self.strip();
        let first_row = block.tiles.start * strip_rows;
        let end_row = (block.tiles.end * strip_rows).min(self.spec.m);
        let rows = end_row - first_row;
        let mut found = [Found::NOTHING; WINDOW_STRIPS_MAX];
        let mut is_whole = [false; WINDOW_STRIPS_MAX];
        // SAFETY: offsets below stay inside of the checked extents; scratch was sized for them.
        unsafe {
            for (strip, found) in (first_row..end_row).step_by(strip_rows).zip(&mut found) {
                let rows = (end_row - strip).min(strip_rows);
                *found = match (&self.lines, &part.records) {
                    (Some(lines), Some(records)) => {
                        let steps = (part.first_step, part.steps);
                        lines.found(records, (strip, rows), steps)
                    }
                    _ => self.split_strip(scratch, strip - first_row, rows, part),
                };
            }
            let b = o.b.0.offset(self.spec.batch.b.at(block.batch));
            let (strips, panels) = (rows.div_ceil(strip_rows), block.panels.len());
            // A panel is used by all rows while it is near. Where all panels are near, each row is
            // written from its beginning to its end.
            let bytes = |tiles: usize| tiles * part.steps * parts * SPLIT_WORDS * 4;
            let is_by_rows = match &self.lines {
                Some(_) => bytes(panels) <= NEAR_BYTES / 2,
                None => bytes(strips + panels) <= NEAR_BYTES,
            };
            // The panel that is in scratch as f32.
            let mut restored = None;
            for pair in 0..strips * panels {
                if crate::pool::is_over() {
                    return;
                }
                let (strip, panel) = match is_by_rows {
                    true => (pair / panels, pair % panels),
                    false => (pair % strips, pair / strips),
                };
                let panel = block.panels.start + panel;
                let from = b.add(panel * panel_len);
                let (form, of_panel) = match parts {
                    1 => (Form::Parts, Found::NOTHING),
                    _ => trailer(&layout, from),
                };
                let data = from.add(part.first_step * parts * SPLIT_WORDS);
                let col = panel * SPLIT_COLS;
                let cols = (self.spec.n - col).min(SPLIT_COLS);
                let local = strip * strip_rows;
                let row = first_row + local;
                let rows = (end_row - row).min(strip_rows);
                let is_split = form == Form::Parts
                    && (parts == 1 || is_safe(found[strip], of_panel, self.depth()));
                if part.steps == 0 {
                    ptr::write_bytes(scratch.sums, 0, STRIP * SPLIT_COLS);
                } else if let (true, Some(lines), Some(records)) =
                    (is_split, &self.lines, &part.records)
                {
                    let steps = (part.first_step, part.steps);
                    let mut runs = [Run::NONE; TAPS_MAX];
                    let count = lines.runs(records, row, steps, &mut runs);
                    let next = data.wrapping_add(panel_len).cast::<u8>();
                    let quarter = part.steps * parts * SPLIT_WORDS;
                    let t = WindowOperands {
                        runs: &runs[..count],
                        rows: lines.rows,
                        line: lines.line(),
                        b: data.cast(),
                        rows_past: rows > lines.rows,
                        cols_past: cols > SPLIT_COLS / 2,
                        next: next.wrapping_add(strip % SHARES * quarter),
                        out: scratch.sums.cast(),
                    };
                    multiply_window(self.spec.isa, parts, &t);
                } else if is_split {
                    let next = data.wrapping_add(panel_len).cast::<u8>();
                    let quarter = part.steps * parts * SPLIT_WORDS;
                    let t = Operands {
                        a: scratch
                            .parts
                            .add(local * part.steps * parts * SPLIT_STEP * 2),
                        b: data.cast(),
                        steps: part.steps,
                        rows_past: rows > TILE_ROWS,
                        cols_past: cols > SPLIT_COLS / 2,
                        next: next.wrapping_add(strip % SHARES * quarter),
                        out: scratch.sums.cast(),
                    };
                    multiply(self.spec.isa, parts, &t);
                } else {
                    let whole = match form {
                        Form::Whole => from.add(part.first_step * SPLIT_STEP * SPLIT_COLS),
                        Form::Parts => {
                            if restored != Some(panel) {
                                restored = Some(panel);
                                restore(parts, data, part.steps, scratch.panel);
                            }
                            scratch.panel
                        }
                    };
                    if !is_whole[strip] {
                        is_whole[strip] = true;
                        self.copy_strip(o, block, scratch, (local, rows), part);
                    }
                    self.multiply_whole(scratch, local, rows, part.depth, whole);
                }
                self.store_sums(o, block, scratch, part, (row, panel), scratch.sums);
            }
        }
    }

    /// Stores the sums of a register tile, the one that begins at a row of the product and is of a
    /// panel: onto what is in C after the first block of K, finished after the last.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run_split_part`]; the sums are `[row][32]`.
    pub(super) unsafe fn store_sums(
        &self,
        o: &GemmOperands,
        block: &Block,
        scratch: &Scratch,
        part: KBlock,
        (row, panel): (usize, usize),
        sums: *const f32,
    ) {
        let strip = self.strip();
        let local = row - block.tiles.start * strip;
        let rows = ((block.tiles.end * strip).min(self.spec.m) - row).min(strip);
        let col = panel * SPLIT_COLS;
        let deliver = family(self.spec.isa).deliver;
        // SAFETY: offsets stay inside of the checked extents; scratch was sized for the block.
        unsafe {
            let (c, c_rows) = if self.tiles_in_scratch() {
                let local_col = (panel - block.panels.start) * SPLIT_COLS;
                (scratch.tile.add(local_col), scratch.tile_rows)
            } else {
                let batch = self.spec.batch.c.at(block.batch);
                (o.c.0.offset(batch).add(col), scratch.c_rows)
            };
            let accumulates = self.spec.init == Init::Accumulate && !self.tiles_in_scratch();
            let mut t = Tile {
                c,
                c_rows: c_rows.add(local).cast_const(),
                cols: (self.spec.n - col).min(SPLIT_COLS),
                add: !part.is_first || accumulates,
                ..Tile::empty()
            };
            if !part.is_last {
                deliver(&t, sums, rows);
                return;
            }
            let at = TileAt {
                batch: block.batch,
                row,
                rows,
                col,
                final_rows: scratch.c_rows.add(local).cast_const(),
            };
            t.finish = self.finish(o, &at);
            deliver(&t, sums, rows);
            self.deliver(o, &at, &t);
        }
    }

    /// Taps times K.
    fn depth(&self) -> usize {
        self.taps * self.spec.k
    }

    /// Splits the rows of one register tile.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run_split_part`].
    unsafe fn split_strip(
        &self,
        scratch: &Scratch,
        local: usize,
        rows: usize,
        part: KBlock,
    ) -> Found {
        let parts = self.spec.products.parts();
        let split = splitter(self.spec.isa, parts);
        let mut found = Found::NOTHING;
        if part.steps == 0 {
            return found;
        }
        for first in (0..rows).step_by(TILE_ROWS) {
            let strip = local * part.steps * parts * SPLIT_STEP * 2;
            // SAFETY: the starts of the tile are filled, and the strip has room.
            unsafe {
                let t = Rows {
                    starts: scratch
                        .pointers
                        .add((local + first) * self.taps)
                        .cast_const(),
                    rows: (rows - first).min(TILE_ROWS),
                    taps: self.taps,
                    k: self.spec.k,
                    k_stride: self.spec.a_k_stride,
                    first_step: part.first_step,
                    steps: part.steps,
                    out: scratch.parts.add(strip + first * 64),
                };
                found = found.join(split(&t));
            }
        }
        found
    }

    fn cut(&self, scratch: *mut u8) -> Scratch {
        let sizes = self.split_scratch();
        let mut take = cutter(scratch);
        Scratch {
            parts: take(sizes.parts),
            whole: take(sizes.whole).cast(),
            panel: take(sizes.panel).cast(),
            sums: take(sizes.sums).cast(),
            pointers: take(sizes.pointers).cast(),
            records: take(sizes.records),
            c_rows: take(sizes.rows).cast(),
            tile_rows: take(sizes.rows).cast(),
            tile: take(sizes.tile).cast(),
        }
    }
}

/// Multiplies a register tile of parts.
///
/// # Safety
/// The operands are valid; tiles are configured where the family has them.
unsafe fn multiply(isa: Isa, parts: usize, t: &Operands) {
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
