//! The driver of products of bf16 parts: walks the blocks of one task.

use std::ptr;

use super::{
    Form, Found, is_safe,
    pack::{restore, trailer},
    rows::{Rows, STRIP, copier, splitter},
    waiting::{Waiting, multiply},
    window::{Records, TAPS_MAX, WINDOW_STRIPS_MAX},
};
use crate::{
    amx::{Run, TILE_LINE, TILE_ROWS, WindowOperands},
    gemm::{
        pack_a::ZEROS,
        plan::{BatchReduceGemm, cutter},
        rows::fill_starts,
        run::{Block, GemmOperands},
        spec::Stored,
    },
    layout::{SPLIT_COLS, SPLIT_STEP, SPLIT_WORDS},
};

/// Bytes of parts of both sides that stay in the second-level cache together.
const NEAR_BYTES: usize = 1 << 20;

/// Register tiles that fetch the next panel between them; others find it near.
const SHARES: usize = 4;

/// One worker's scratch, cut into its parts.
#[derive(Clone, Copy)]
pub(super) struct Scratch {
    pub(super) pointers: *mut *const f32,
    records: *mut u8,
    pub(super) c_rows: *mut isize,
    pub(super) tile_rows: *mut isize,
    parts: *mut u8,
    pub(super) whole: *mut f32,
    panel: *mut f32,
    pub(super) sums: *mut f32,
    pub(super) tile: *mut f32,
}

/// One block of K: steps, and the taps and K in them.
#[derive(Clone, Copy)]
pub(super) struct KBlock {
    pub(super) first_step: usize,
    pub(super) steps: usize,
    /// Taps times K in it, without the zeros that fill up the last step.
    pub(super) depth: usize,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
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
        let _tiles = (self.spec.isa == crate::isa::Isa::Amx).then(|| {
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
            let bytes = self.spec.a_stored.bytes() as isize;
            let a =
                o.a.0
                    .wrapping_offset(self.spec.batch.a.at(block.batch) * bytes);
            if let Some(lines) = &self.lines {
                let under = first_row..first_row + rows;
                Some(lines.split(self.spec.isa, a, under, scratch.records))
            } else {
                for row in (0..rows).step_by(TILE_ROWS) {
                    let here = (rows - row).min(TILE_ROWS);
                    let starts = scratch.pointers.add(row * self.taps);
                    let (from, zeros) = (&self.spec.a_rows, ZEROS.as_ptr());
                    let row = first_row + row;
                    match self.spec.a_stored {
                        Stored::F32 => fill_starts(from, a.cast(), row, here, zeros, starts),
                        Stored::Bf16 => {
                            let (zeros, starts) = (zeros.cast::<u16>(), starts.cast());
                            fill_starts(from, a.cast(), row, here, zeros, starts);
                        }
                    }
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
                    _ if self.reads_in_place(rows) => Found::NOTHING,
                    _ => self.split_strip(o, scratch, (strip - first_row, rows), part),
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
            // Where tiles of A are loaded from.
            let mut runs = [Run::NONE; TAPS_MAX];
            // The register tile that is still to be finished.
            let mut waiting: Option<Waiting> = None;
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
                // The sums that wait keep theirs.
                let is_second = waiting
                    .as_ref()
                    .is_some_and(|tile| tile.sums == scratch.sums.cast_const());
                let scratch = &Scratch {
                    sums: match is_second {
                        true => scratch.sums.add(STRIP * SPLIT_COLS),
                        false => scratch.sums,
                    },
                    ..*scratch
                };
                let tile = Waiting {
                    rows: row..row + rows,
                    panel,
                    sums: scratch.sums,
                };
                if part.steps == 0 {
                    ptr::write_bytes(scratch.sums, 0, STRIP * SPLIT_COLS);
                } else if is_split {
                    let steps = (part.first_step, part.steps);
                    let (count, tile_rows, line) = match (&self.lines, &part.records) {
                        (Some(lines), Some(records)) => {
                            let count = lines.runs(records, row, steps, &mut runs);
                            (count, lines.rows, lines.line())
                        }
                        _ if self.reads_in_place(rows) => {
                            let line = self.in_place.unwrap_or_default() * 2;
                            let start = scratch.pointers.add(local).read().cast::<u8>();
                            let start = start.wrapping_add(part.first_step * TILE_LINE);
                            runs[0] = Run {
                                starts: [start, start.wrapping_add(TILE_ROWS * line)],
                                steps: part.steps,
                            };
                            (1, TILE_ROWS, line)
                        }
                        _ => {
                            let a = local * part.steps * parts * SPLIT_STEP * 2;
                            runs[0] = Run::packed(scratch.parts.add(a), part.steps);
                            (1, TILE_ROWS, TILE_LINE)
                        }
                    };
                    let is_packed = self.lines.is_none() && !self.reads_in_place(rows);
                    let next = data.wrapping_add(panel_len).cast::<u8>();
                    let quarter = part.steps * parts * SPLIT_WORDS;
                    let t = WindowOperands {
                        runs: &runs[..count],
                        rows: tile_rows,
                        line,
                        b: data.cast(),
                        rows_past: rows > tile_rows,
                        cols_past: cols > SPLIT_COLS / 2,
                        next: next.wrapping_add(strip % SHARES * quarter),
                        out: scratch.sums.cast(),
                    };
                    if is_packed
                        && (rows, cols) == (strip_rows, SPLIT_COLS)
                        && let Some(stored) = self.stored(o, block, part, &tile, &t)
                    {
                        multiply(self.spec.isa, parts, &stored);
                        continue;
                    }
                    self.multiply_with(o, block, scratch, part, (&t, is_packed), &mut waiting);
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
                if let Some(before) = waiting.take() {
                    self.store_sums(o, block, scratch, part, before);
                }
                match cols == SPLIT_COLS && self.may_wait(part) {
                    true => waiting = Some(tile),
                    false => self.store_sums(o, block, scratch, part, tile),
                }
            }
            if let Some(last) = waiting {
                self.store_sums(o, block, scratch, part, last);
            }
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
        o: &GemmOperands,
        scratch: &Scratch,
        (local, rows): (usize, usize),
        part: KBlock,
    ) -> Found {
        let parts = self.spec.products.parts();
        let mut found = Found::NOTHING;
        if part.steps == 0 {
            return found;
        }
        for first in (0..rows).step_by(TILE_ROWS) {
            let strip = local * part.steps * parts * SPLIT_STEP * 2;
            // SAFETY: the starts of the tile are filled, and the strip has room.
            unsafe {
                let starts = scratch.pointers.add((local + first) * self.taps);
                let out = scratch.parts.add(strip + first * TILE_LINE);
                let rows = (rows - first).min(TILE_ROWS);
                let end = o.a.0.wrapping_add(o.a.1 * self.spec.a_stored.bytes());
                found = found.join(match self.spec.a_stored {
                    Stored::F32 => {
                        let split = splitter(self.spec.isa, parts);
                        split(&self.rows((starts.cast_const(), end.cast()), rows, part, out))
                    }
                    Stored::Bf16 => {
                        let copy = copier(self.spec.isa);
                        copy(&self.rows((starts.cast_const().cast(), end.cast()), rows, part, out))
                    }
                });
            }
        }
        found
    }

    /// Rows of A that begin at `starts`, for one block of K.
    fn rows<T>(
        &self,
        (starts, end): (*const *const T, *const T),
        rows: usize,
        part: KBlock,
        out: *mut u8,
    ) -> Rows<T> {
        Rows {
            starts,
            rows,
            taps: self.taps,
            k: self.spec.k,
            k_stride: self.spec.a_k_stride,
            first_step: part.first_step,
            steps: part.steps,
            end,
            out,
        }
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
