//! The driver of integer products: walks the blocks of one task and calls the register tiles.

use std::{ops::Range, ptr};

use super::{
    kernel::{Finish, Tile},
    plan::{ByteSign, IntGemm},
};
use crate::{
    epilogue::{EpilogueTile, Hook},
    error::KernelError,
    gemm::{Bias, CStore, GROUP_MAX, Init, ROWS_MAX, SharedScratch, cutter, fill_starts},
    pool::Pool,
};

/// Columns of the widest panel.
const COLS_MAX: usize = 32;

/// The memory of one run: pointers, each with its length in elements.
#[derive(Clone, Copy, Debug)]
pub struct IntGemmOperands {
    /// A, bytes of the plan's sign.
    pub a: (*const u8, usize),
    /// Packed B and its length in bytes.
    pub b: (*const u8, usize),
    /// C.
    pub c: (*mut i32, usize),
    /// Bias, if the descriptor has one.
    pub bias: (*const i32, usize),
    /// Zero point of A.
    pub a_zero: i32,
    /// Zero points of B: none (null, 0), one for all columns, or one for each of the n columns.
    pub b_zero: (*const i32, usize),
    /// Called for each finished tile.
    pub hook: Option<Hook<i32>>,
}

// SAFETY: plain pointers; `IntGemm::run` states who may touch what.
unsafe impl Send for IntGemmOperands {}
// SAFETY: as above.
unsafe impl Sync for IntGemmOperands {}

impl IntGemmOperands {
    /// Operands without bias, zero points and hook.
    pub fn new(a: &[u8], b: &[u8], c: &mut [i32]) -> Self {
        Self {
            a: (a.as_ptr(), a.len()),
            b: (b.as_ptr(), b.len()),
            c: (c.as_mut_ptr(), c.len()),
            bias: (ptr::null(), 0),
            a_zero: 0,
            b_zero: (ptr::null(), 0),
            hook: None,
        }
    }

    /// With this bias.
    pub fn with_bias(self, bias: &[i32]) -> Self {
        Self {
            bias: (bias.as_ptr(), bias.len()),
            ..self
        }
    }

    /// With these zero points.
    pub fn with_zeros(self, a_zero: i32, b_zero: &[i32]) -> Self {
        Self {
            a_zero,
            b_zero: (b_zero.as_ptr(), b_zero.len()),
            ..self
        }
    }

    /// With this hook.
    pub fn with_hook(self, hook: Hook<i32>) -> Self {
        Self {
            hook: Some(hook),
            ..self
        }
    }
}

pub(super) struct Scratch {
    pub(super) pointers: *mut *const u8,
    pub(super) c_rows: *mut isize,
    pub(super) tile_rows: *mut isize,
    pub(super) sums: *mut i32,
    pub(super) pack: *mut u8,
    pub(super) tile: *mut i32,
    pub(super) outside: *mut u8,
    pub(super) words: *mut i32,
}

pub(super) struct Block {
    pub(super) batch: usize,
    pub(super) tiles: Range<usize>,
    pub(super) panels: Range<usize>,
}

/// What the columns of one panel add to each row, and their zero points.
#[derive(Clone, Copy, Default)]
pub(super) struct Columns {
    add: [i32; COLS_MAX],
    b_zero: [i32; COLS_MAX],
}

impl Columns {
    /// What is added to each column, as many words as a panel has.
    pub(super) fn added(&self) -> *const i32 {
        self.add.as_ptr()
    }

    /// With what each row contributes, null if B has no zero point.
    pub(super) fn finish(&self, rows: *const i32) -> Finish {
        Finish {
            columns: self.add.as_ptr(),
            rows,
            b_zero: self.b_zero.as_ptr(),
        }
    }
}

struct KPart {
    taps: Range<usize>,
    k: Range<usize>,
}

impl IntGemm {
    /// Runs `tasks` (out of `0..self.tasks()`) on this thread. Allocates nothing.
    ///
    /// # Errors
    /// As [`crate::BatchReduceGemm::run`].
    ///
    /// # Safety
    /// As [`crate::BatchReduceGemm::run`], with the zero points of B among what is read.
    pub unsafe fn run(
        &self,
        operands: &IntGemmOperands,
        tasks: Range<usize>,
        scratch: &mut [u8],
    ) -> Result<(), KernelError> {
        self.check_run(operands, &tasks)?;
        KernelError::check_len("scratch", self.scratch_bytes(), scratch.len())?;
        let scratch = self.split(scratch.as_mut_ptr());
        for task in tasks {
            // SAFETY: lengths were checked against the plan's extents; the rest is the caller's.
            unsafe { self.run_block(operands, &self.block(task), &scratch) };
        }
        Ok(())
    }

    /// Runs every task on `pool`; `scratch` holds `pool.threads() * self.scratch_bytes()` bytes.
    ///
    /// # Errors
    /// As [`IntGemm::run`], and [`KernelError::Panicked`].
    ///
    /// # Safety
    /// As [`IntGemm::run`] for all tasks.
    pub unsafe fn run_on(
        &self,
        pool: &Pool,
        operands: &IntGemmOperands,
        scratch: &mut [u8],
    ) -> Result<(), KernelError> {
        let each = self.scratch_bytes();
        self.check_run(operands, &(0..self.tasks()))?;
        KernelError::check_len("scratch", each * pool.threads(), scratch.len())?;
        let base = SharedScratch(scratch.as_mut_ptr());
        pool.run(self.tasks(), |task, worker| {
            let scratch = self.split(base.at(worker * each));
            // SAFETY: lengths were checked, parts of the scratch are disjoint by worker.
            unsafe { self.run_block(operands, &self.block(task), &scratch) };
        })
    }

    fn check_run(&self, o: &IntGemmOperands, tasks: &Range<usize>) -> Result<(), KernelError> {
        if tasks.end > self.tasks() {
            let detail = format!("{tasks:?} of {}", self.tasks());
            return Err(KernelError::spec("tasks", detail));
        }
        KernelError::check_len("a", self.needed.a, o.a.1)?;
        KernelError::check_len("b", self.needed.b, o.b.1)?;
        KernelError::check_len("bias", self.needed.bias, o.bias.1)?;
        if o.b_zero.1 > 1 {
            KernelError::check_len("b_zero", self.spec.n, o.b_zero.1)?;
        }
        if self.spec.c_store != CStore::ByHook {
            KernelError::check_len("c", self.needed.c, o.c.1)?;
        } else if o.hook.is_none() {
            return Err(KernelError::spec(
                "hook",
                "c_store is ByHook, but there is no hook",
            ));
        }
        Ok(())
    }

    fn block(&self, task: usize) -> Block {
        let b = &self.blocks;
        let (rest, m_block) = (task / b.m_blocks, task % b.m_blocks);
        let (batch, n_block) = (rest / b.n_blocks, rest % b.n_blocks);
        let cut = |count: usize, parts: usize, i: usize| count * i / parts..count * (i + 1) / parts;
        Block {
            batch,
            tiles: cut(b.m_tiles, b.m_blocks, m_block),
            panels: cut(self.panels, b.n_blocks, n_block),
        }
    }

    fn tile_row(&self, tile: usize) -> usize {
        self.spec.m * tile / self.blocks.m_tiles
    }

    /// Cuts one worker's scratch, `scratch_bytes` long.
    fn split(&self, scratch: *mut u8) -> Scratch {
        let sizes = self.scratch();
        let mut take = cutter(scratch);
        Scratch {
            words: take(sizes.words).cast(),
            pointers: take(sizes.pointers).cast(),
            c_rows: take(sizes.rows).cast(),
            tile_rows: take(sizes.rows).cast(),
            sums: take(sizes.sums).cast(),
            pack: take(sizes.pack),
            tile: take(sizes.tile).cast(),
            outside: take(sizes.outside),
        }
    }

    /// Fills what all tiles of a block share: where rows lie in C and in the tile, and what is read
    /// outside of images.
    ///
    /// # Safety
    /// The scratch is cut for blocks of at least as many rows.
    pub(super) unsafe fn begin_block(
        &self,
        o: &IntGemmOperands,
        block: &Block,
        scratch: &Scratch,
        first_row: usize,
        rows: usize,
    ) {
        let ld = self.panels_in_scratch(block.panels.len()) * self.layout.nr;
        // SAFETY: the scratch has as many rows, and as many bytes outside as this plan asks for.
        unsafe {
            let c_rows = std::slice::from_raw_parts_mut(scratch.c_rows, rows);
            self.spec.c_rows.fill(first_row, c_rows);
            let tile_rows = std::slice::from_raw_parts_mut(scratch.tile_rows, rows);
            for (r, slot) in tile_rows.iter_mut().enumerate() {
                *slot = (r * ld) as isize;
            }
            // What lies outside of an image counts as the zero point: it contributes nothing.
            ptr::write_bytes(scratch.outside, o.a_zero as u8, self.scratch().outside);
        }
    }

    /// # Safety
    /// As [`IntGemm::run`], after its checks.
    unsafe fn run_block(&self, o: &IntGemmOperands, block: &Block, scratch: &Scratch) {
        if self.by_tiles {
            // SAFETY: as this function.
            unsafe { self.run_tiles(o, block, scratch) };
            return;
        }
        let first_row = self.tile_row(block.tiles.start);
        let rows = self.tile_row(block.tiles.end) - first_row;
        // SAFETY: the scratch parts were sized for the tallest block.
        unsafe {
            self.begin_block(o, block, scratch, first_row, rows);
            let a = o.a.0.wrapping_offset(self.spec.batch.a.at(block.batch));
            let mut out = scratch.pointers;
            for tile in block.tiles.clone() {
                let row = self.tile_row(tile);
                let rows = self.tile_row(tile + 1) - row;
                fill_starts(&self.spec.a_rows, a, row, rows, scratch.outside, out);
                if o.b_zero.1 > 0 {
                    self.sum_rows(o, scratch, out, rows, scratch.sums.add(row - first_row));
                }
                out = out.add(rows * self.taps);
            }
        }
        let tap_step = self.blocks.taps.max(1);
        for taps in (0..self.taps.max(1)).step_by(tap_step) {
            for k in (0..self.spec.k.max(1)).step_by(self.blocks.k) {
                let part = KPart {
                    taps: taps..(taps + tap_step).min(self.taps),
                    k: k..(k + self.blocks.k).min(self.spec.k),
                };
                // SAFETY: as this function.
                unsafe { self.run_k_part(o, block, scratch, &part) };
            }
        }
    }

    /// Writes what multiplies the zero point of B: `taps * k * a_zero - sum of the row of A`.
    ///
    /// # Safety
    /// The starts of the tile are filled; `out` has room for its rows.
    pub(super) unsafe fn sum_rows(
        &self,
        o: &IntGemmOperands,
        scratch: &Scratch,
        starts: *const *const u8,
        rows: usize,
        out: *mut i32,
    ) {
        let stride = self.spec.a_k_stride;
        let whole = ((self.taps * self.spec.k) as i32).wrapping_mul(o.a_zero);
        for r in 0..rows {
            let mut sum = 0i32;
            for tap in 0..self.taps {
                // SAFETY: valid rows reach `k` within the checked extent of A.
                unsafe {
                    let start = starts.add(tap * rows + r).read();
                    let outside = ptr::eq(start, scratch.outside);
                    if stride == 1 || outside && !self.pack_a {
                        let row = std::slice::from_raw_parts(start, self.spec.k);
                        sum = sum.wrapping_add(sum_bytes(row, self.sign));
                        continue;
                    }
                    let stride = if outside { 0 } else { stride };
                    for k in 0..self.spec.k as isize {
                        let byte = start.offset(k * stride).read();
                        sum = sum.wrapping_add(match self.sign {
                            ByteSign::Unsigned => i32::from(byte),
                            ByteSign::Signed => i32::from(byte as i8),
                        });
                    }
                }
            }
            // SAFETY: the caller vouches for the room.
            unsafe { out.add(r).write(whole.wrapping_sub(sum)) };
        }
    }

    /// # Safety
    /// As [`IntGemm::run`], after its checks; the scratch is filled for the block.
    unsafe fn run_k_part(
        &self,
        o: &IntGemmOperands,
        block: &Block,
        scratch: &Scratch,
        part: &KPart,
    ) {
        let layout = self.b_layout();
        let nr = layout.nr;
        let k_whole = self.spec.k.next_multiple_of(4);
        let first_row = self.tile_row(block.tiles.start);
        let depth = part.taps.len() * part.k.len().next_multiple_of(4);
        let last = part.taps.end >= self.taps && part.k.end >= self.spec.k;
        let first = part.taps.start == 0 && part.k.start == 0;
        let add = !first || self.spec.init == Init::Accumulate;
        // SAFETY: offsets below stay inside of the checked extents; scratch was sized for them.
        unsafe {
            let b = o.b.0.offset(self.spec.batch.b.at(block.batch));
            if self.pack_a {
                self.pack_block(block, scratch, part);
            }
            for group in block.panels.clone().step_by(self.blocks.group) {
                if crate::pool::is_over() {
                    return;
                }
                let group = group..(group + self.blocks.group).min(block.panels.end);
                let mut columns = [Columns::default(); GROUP_MAX];
                if last {
                    for (panel, slot) in group.clone().zip(&mut columns) {
                        *slot = self.columns(o, block.batch, b, panel);
                    }
                }
                let (c, c_rows) = self.sums_of(o, block, scratch, &group);
                for tile in block.tiles.clone() {
                    let row = self.tile_row(tile);
                    let rows = self.tile_row(tile + 1) - row;
                    let local = row - first_row;
                    let starts = scratch
                        .pointers
                        .add(local * self.taps + part.taps.start * rows);
                    let mut packed = [ptr::null::<u8>(); ROWS_MAX];
                    for (r, slot) in packed.iter_mut().enumerate().take(rows) {
                        *slot = scratch.pack.wrapping_add(local * depth + 4 * r);
                    }
                    let c_rows = c_rows.add(local).cast_const();
                    for panel in group.clone() {
                        let b = b.add(panel * layout.panel_len());
                        let mut t = Tile {
                            a: starts.cast_const(),
                            tap_rows: rows,
                            a_first: part.k.start as isize,
                            a_group: 4,
                            taps: part.taps.len(),
                            k: part.k.len(),
                            b: b.add((part.taps.start * k_whole + part.k.start) * nr),
                            b_tap: k_whole * nr,
                            c: c.add((panel - group.start) * nr),
                            c_rows,
                            cols: (self.spec.n - panel * nr).min(nr),
                            add,
                            finish: None,
                        };
                        if self.pack_a {
                            t.a = packed.as_ptr();
                            t.a_first = 0;
                            t.a_group = 4 * rows as isize;
                            t.taps = 1;
                            t.k = depth;
                        }
                        if last {
                            let sums = match o.b_zero.1 > 0 {
                                true => scratch.sums.add(local),
                                false => ptr::null_mut(),
                            };
                            t.finish = Some(columns[panel - group.start].finish(sums));
                        }
                        self.kernels[rows - 1](&t);
                    }
                    if last {
                        let col = group.start * nr;
                        let t = Tile {
                            c,
                            c_rows,
                            cols: (self.spec.n - col).min(group.len() * nr),
                            ..Tile::empty()
                        };
                        let final_rows = scratch.c_rows.add(local);
                        self.deliver(o, block.batch, &t, [row, col], rows, final_rows);
                    }
                }
            }
        }
    }

    /// Where the sums of a group of panels go while they are made, and where their rows begin.
    ///
    /// # Safety
    /// As [`IntGemm::run`], after its checks; the scratch is filled for the block.
    pub(super) unsafe fn sums_of(
        &self,
        o: &IntGemmOperands,
        block: &Block,
        scratch: &Scratch,
        group: &Range<usize>,
    ) -> (*mut i32, *mut isize) {
        let nr = self.layout.nr;
        // SAFETY: panels are those of the block, and the scratch has room for them.
        unsafe {
            if !self.tiles_in_scratch() {
                let batch = self.spec.batch.c.at(block.batch);
                return (o.c.0.offset(batch).add(group.start * nr), scratch.c_rows);
            }
            let panel = match self.is_one_part() {
                true => 0,
                false => group.start - block.panels.start,
            };
            (scratch.tile.add(panel * nr), scratch.tile_rows)
        }
    }

    /// What each column of a panel adds: bias, and the zero point of A times the column sum.
    ///
    /// # Safety
    /// `b` is the packed B of the entry; bias and zero points of B were checked.
    pub(super) unsafe fn columns(
        &self,
        o: &IntGemmOperands,
        batch: usize,
        b: *const u8,
        panel: usize,
    ) -> Columns {
        let layout = self.b_layout();
        let raised = if self.sign == ByteSign::Signed {
            128
        } else {
            0
        };
        let a_zero = o.a_zero.wrapping_add(raised);
        let bias = o.bias.0.wrapping_offset(self.spec.batch.bias.at(batch));
        let first = panel * layout.nr;
        let step = usize::from(o.b_zero.1 > 1);
        let mut out = Columns::default();
        for j in 0..(self.spec.n - first).min(layout.nr) {
            // SAFETY: the sums are the last `nr` words of the panel; the others cover `n`.
            unsafe {
                let sums = b.add((panel + 1) * layout.panel_len() - 4 * layout.nr);
                let sum = i32::from_le(sums.cast::<i32>().add(j).read_unaligned());
                out.add[j] = a_zero.wrapping_mul(sum).wrapping_neg();
                if self.spec.bias == Bias::PerN {
                    out.add[j] = out.add[j].wrapping_add(bias.add(first + j).read());
                }
                if o.b_zero.1 > 0 {
                    out.b_zero[j] = o.b_zero.0.add((first + j) * step).read();
                }
            }
        }
        out
    }

    /// Calls the hook on a finished tile, and moves it to C if it lies in scratch.
    ///
    /// # Safety
    /// As [`IntGemm::run`], after its checks.
    pub(super) unsafe fn deliver(
        &self,
        o: &IntGemmOperands,
        batch: usize,
        t: &Tile,
        [row, col]: [usize; 2],
        rows: usize,
        final_rows: *const isize,
    ) {
        if let Some(hook) = &o.hook {
            let tile = EpilogueTile {
                c: t.c,
                row_offsets: t.c_rows,
                m0: row,
                rows,
                n0: col,
                cols: t.cols,
                batch,
                out: self.spec.batch.c.at(batch),
                out_rows: final_rows,
                user: hook.user,
            };
            // SAFETY: the caller vouches for the hook; the tile is live and exclusively ours.
            unsafe { (hook.function)(&raw const tile) };
        }
        if let CStore::Strided(stride) = self.spec.c_store {
            let batch = self.spec.batch.c.at(batch);
            // SAFETY: rows, columns and batch stay inside of the checked extent of C.
            unsafe {
                let c = o.c.0.offset(batch + col as isize * stride);
                for r in 0..rows {
                    let from = t.c.offset(t.c_rows.add(r).read()).cast_const();
                    let to = c.offset(final_rows.add(r).read());
                    for n in 0..t.cols {
                        to.offset(n as isize * stride).write(from.add(n).read());
                    }
                }
            }
        }
    }

    /// Copies one K block of the block's rows of A to scratch: `[tile][tap][k/4][row][4]`.
    ///
    /// # Safety
    /// As [`IntGemm::run`], after its checks; the row starts are filled.
    unsafe fn pack_block(&self, block: &Block, scratch: &Scratch, part: &KPart) {
        let mut out = scratch.pack;
        let mut starts = scratch.pointers.cast_const();
        let whole = part.k.len().next_multiple_of(4);
        for tile in block.tiles.clone() {
            let rows = self.tile_row(tile + 1) - self.tile_row(tile);
            for tap in part.taps.clone() {
                for r in 0..rows {
                    // SAFETY: row starts and scratch were sized for the block; valid rows reach
                    // `k` within the checked extent of A; all others are `outside`.
                    unsafe {
                        let start = starts.add(tap * rows + r).read();
                        let outside = ptr::eq(start, scratch.outside);
                        let stride = if outside { 0 } else { self.spec.a_k_stride };
                        let first = start.offset(part.k.start as isize * stride);
                        for i in (0..whole).step_by(4) {
                            let byte = |at: usize| first.offset((i + at) as isize * stride).read();
                            // A store for each four: bytes one by one take several times as long.
                            let four = match part.k.len() - i {
                                1 => [byte(0), 0, 0, 0],
                                2 => [byte(0), byte(1), 0, 0],
                                3 => [byte(0), byte(1), byte(2), 0],
                                _ => [byte(0), byte(1), byte(2), byte(3)],
                            };
                            out.add((i / 4 * rows + r) * 4)
                                .cast::<[u8; 4]>()
                                .write(four);
                        }
                    }
                }
                // SAFETY: as above.
                out = unsafe { out.add(rows * whole) };
            }
            // SAFETY: as above.
            starts = unsafe { starts.add(rows * self.taps) };
        }
    }
}

/// The sum of a row's bytes.
fn sum_bytes(row: &[u8], sign: ByteSign) -> i32 {
    match sign {
        ByteSign::Unsigned => row.iter().map(|&byte| i32::from(byte)).sum(),
        ByteSign::Signed => row.iter().map(|&byte| i32::from(byte as i8)).sum(),
    }
}
