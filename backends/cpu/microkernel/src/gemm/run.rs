//! The driver: walks the blocks of one task and calls the register tiles.

use std::{ops::Range, ptr};

use crate::{
    epilogue::{EpilogueTile, Hook},
    error::KernelError,
    gemm::{
        kernel::{Family, Finish, Tile, family},
        narrow::{Narrow, narrower},
        pack_a::{ZEROS, pack_rows},
        pack_window::{WindowRows, packer},
        plan::{BatchReduceGemm, cutter},
        rows::{ROWS_MAX, fill_starts},
        spec::{ARows, Bias, CStore, Init, Products, Window},
        stream::STREAMS,
    },
    pool::Pool,
    transpose::transpose_block,
};

/// The memory of one run. Lengths are in elements and are checked against the plan; the pointers
/// must be valid for them. B is packed; a bias or residual that the descriptor does not name is
/// ignored.
#[derive(Clone, Copy, Debug)]
pub struct GemmOperands {
    /// A and its length, stored as the descriptor says.
    pub a: (*const u8, usize),
    /// Packed B and its length.
    pub b: (*const f32, usize),
    /// C and its length, stored as the descriptor says.
    pub c: (*mut u8, usize),
    /// Bias and its length.
    pub bias: (*const f32, usize),
    /// Residual and its length, stored as the descriptor says; offsets are those of C.
    pub residual: (*const u8, usize),
    /// Called for each finished tile.
    pub hook: Option<Hook>,
}

// SAFETY: plain pointers; `BatchReduceGemm::run` states who may touch what.
unsafe impl Send for GemmOperands {}
// SAFETY: as above.
unsafe impl Sync for GemmOperands {}

impl GemmOperands {
    /// Operands of f32 without bias, residual and hook.
    pub fn new(a: &[f32], b: &[f32], c: &mut [f32]) -> Self {
        Self {
            a: (a.as_ptr().cast(), a.len()),
            b: (b.as_ptr(), b.len()),
            c: (c.as_mut_ptr().cast(), c.len()),
            bias: (ptr::null(), 0),
            residual: (ptr::null(), 0),
            hook: None,
        }
    }

    /// With this bias.
    pub fn with_bias(self, bias: &[f32]) -> Self {
        Self {
            bias: (bias.as_ptr(), bias.len()),
            ..self
        }
    }

    /// With this residual of f32.
    pub fn with_residual(self, residual: &[f32]) -> Self {
        Self {
            residual: (residual.as_ptr().cast(), residual.len()),
            ..self
        }
    }

    /// With this hook.
    pub fn with_hook(self, hook: Hook) -> Self {
        Self {
            hook: Some(hook),
            ..self
        }
    }
}

/// One worker's scratch, cut into its parts.
struct Scratch {
    pointers: *mut *const f32,
    c_rows: *mut isize,
    tile_rows: *mut isize,
    pack: *mut f32,
    tile: *mut f32,
}

/// One K block: whole taps, or a part of one tap.
struct KPart {
    taps: Range<usize>,
    k: Range<usize>,
}

/// Which tile is finished, and where its rows lie in C.
pub(super) struct TileAt {
    pub(super) batch: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) col: usize,
    pub(super) final_rows: *const isize,
}

/// One task: a block of rows by a block of panels of one batch entry.
pub(super) struct Block {
    pub(super) batch: usize,
    pub(super) tiles: Range<usize>,
    pub(super) panels: Range<usize>,
}

impl BatchReduceGemm {
    /// Runs `tasks` (out of `0..self.tasks()`) on this thread. Allocates nothing.
    ///
    /// # Errors
    /// [`KernelError::Short`] if an operand or the scratch is shorter than the plan reaches, or
    /// [`KernelError::Spec`] if tasks do not exist, a hook that must store is missing or the
    /// residual is C where it must not be. Nothing has been written then.
    ///
    /// # Safety
    /// The pointers of `operands` are valid for their lengths for the time of the call: A, B, bias
    /// and residual for reads while nobody writes them, C for writes while nobody else touches the
    /// part that these tasks write (different tasks of one plan write disjoint parts, provided that
    /// `c_rows` and the batch offsets of C map to disjoint elements). C overlaps no other operand,
    /// except a residual at the same address.
    pub unsafe fn run(
        &self,
        operands: &GemmOperands,
        tasks: Range<usize>,
        scratch: &mut [u8],
    ) -> Result<(), KernelError> {
        self.check_run(operands, &tasks)?;
        KernelError::check_len("scratch", self.scratch_bytes(), scratch.len())?;
        let scratch = scratch.as_mut_ptr();
        for task in tasks {
            // SAFETY: lengths were checked against the plan's extents; the rest is the caller's.
            unsafe { self.run_block(operands, self.block(task), scratch) };
        }
        Ok(())
    }

    /// Runs every task on `pool`; `scratch` holds `pool.threads() * self.scratch_bytes()` bytes.
    ///
    /// # Errors
    /// As [`BatchReduceGemm::run`], and [`KernelError::Panicked`].
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run`] for all tasks.
    pub unsafe fn run_on(
        &self,
        pool: &Pool,
        operands: &GemmOperands,
        scratch: &mut [u8],
    ) -> Result<(), KernelError> {
        let each = self.scratch_bytes();
        self.check_run(operands, &(0..self.tasks()))?;
        KernelError::check_len("scratch", each * pool.threads(), scratch.len())?;
        let base = SharedScratch(scratch.as_mut_ptr());
        pool.run(self.tasks(), |task, worker| {
            // SAFETY: lengths were checked above, and each worker has its own part of the scratch;
            // the rest is the caller's.
            unsafe { self.run_block(operands, self.block(task), base.at(worker * each)) };
        })
    }

    fn check_run(&self, o: &GemmOperands, tasks: &Range<usize>) -> Result<(), KernelError> {
        if tasks.end > self.tasks() {
            let detail = format!("{tasks:?} of {}", self.tasks());
            return Err(KernelError::spec("tasks", detail));
        }
        KernelError::check_len("a", self.needed.a, o.a.1)?;
        KernelError::check_len("b", self.needed.b, o.b.1)?;
        KernelError::check_len("bias", self.needed.bias, o.bias.1)?;
        if self.spec.residual {
            KernelError::check_len("residual", self.needed.c, o.residual.1)?;
            let is_free = self.stores_once() || self.sums_onto(o);
            if ptr::eq(o.residual.0, o.c.0) && !is_free {
                let detail = "it is C, which holds partial sums".to_owned();
                return Err(KernelError::spec("residual", detail));
            }
        }
        if self.spec.c_store != CStore::ByHook {
            KernelError::check_len("c", self.needed.c, o.c.1)?;
        } else if o.hook.is_none() {
            return Err(KernelError::spec(
                "hook",
                "c_store is ByHook, but there is no hook",
            ));
        }
        if self.spec.c_store == CStore::Bf16 && o.hook.is_some() {
            return Err(KernelError::spec("hook", "c_store is Bf16"));
        }
        Ok(())
    }

    /// Whether sums start from a residual, because it is C, which holds partial sums: what it would
    /// be added to last is then added to it.
    fn sums_onto(&self, o: &GemmOperands) -> bool {
        let spec = &self.spec;
        let is_plain = spec.products == Products::Whole && spec.init == Init::Zero;
        let is_c = spec.residual && ptr::eq(o.residual.0, o.c.0);
        is_plain && is_c && spec.c_store == CStore::Rows && !self.stores_once()
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

    /// First row of a register tile (`m` for the one after the last).
    fn tile_row(&self, tile: usize) -> usize {
        self.spec.m * tile / self.blocks.m_tiles
    }

    fn split(&self, scratch: *mut u8) -> Scratch {
        let sizes = self.scratch();
        let mut take = cutter(scratch);
        Scratch {
            pointers: take(sizes.pointers).cast(),
            c_rows: take(sizes.rows).cast(),
            tile_rows: take(sizes.rows).cast(),
            pack: take(sizes.pack).cast(),
            tile: take(sizes.tile).cast(),
        }
    }

    /// # Safety
    /// As [`BatchReduceGemm::run`], after its checks; `scratch` is as long as this plan wants.
    unsafe fn run_block(&self, o: &GemmOperands, block: Block, scratch: *mut u8) {
        if self.spec.products != Products::Whole {
            // SAFETY: as this function.
            unsafe { self.run_split(o, &block, scratch) };
            return;
        }
        let scratch = &self.split(scratch);
        let kernels = family(self.spec.isa);
        let first_row = self.tile_row(block.tiles.start);
        let rows = self.tile_row(block.tiles.end) - first_row;
        let ld = block.panels.len() * self.spec.isa.tile_f32().1;
        // SAFETY: the scratch parts were sized for the tallest block.
        unsafe {
            let c_rows = std::slice::from_raw_parts_mut(scratch.c_rows, rows);
            self.spec.c_rows.fill(first_row, c_rows);
            let tile_rows = std::slice::from_raw_parts_mut(scratch.tile_rows, rows);
            for (r, slot) in tile_rows.iter_mut().enumerate() {
                *slot = (r * ld) as isize;
            }
            if self.planes().is_none() {
                self.fill_pointers(o, &block, scratch);
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
                unsafe { self.run_k_part(o, &block, scratch, kernels, &part) };
            }
        }
    }

    /// Writes where each row of each tap begins, tile by tile: `[tile][tap][row]`.
    ///
    /// # Safety
    /// The scratch was sized for the block.
    unsafe fn fill_pointers(&self, o: &GemmOperands, block: &Block, scratch: &Scratch) {
        let a = o.a.0.cast::<f32>();
        let a = a.wrapping_offset(self.spec.batch.a.at(block.batch));
        let mut out = scratch.pointers;
        for tile in block.tiles.clone() {
            let row = self.tile_row(tile);
            let rows = self.tile_row(tile + 1) - row;
            // SAFETY: `[tile][tap][row]` lies within the part.
            unsafe {
                fill_starts(&self.spec.a_rows, a, row, rows, ZEROS.as_ptr(), out);
                out = out.add(rows * self.taps);
            }
        }
    }

    /// # Safety
    /// As [`BatchReduceGemm::run`], after its checks; the scratch is filled for the block.
    unsafe fn run_k_part(
        &self,
        o: &GemmOperands,
        block: &Block,
        scratch: &Scratch,
        kernels: &Family,
        part: &KPart,
    ) {
        let nr = self.spec.isa.tile_f32().1;
        let first_row = self.tile_row(block.tiles.start);
        let depth = part.taps.len() * part.k.len();
        let last = part.taps.end >= self.taps && part.k.end >= self.spec.k;
        let first = part.taps.start == 0 && part.k.start == 0;
        let accumulates = self.spec.init == Init::Accumulate && !self.tiles_in_scratch();
        let add = !first || accumulates || self.sums_onto(o);
        let shallow = self.spec.m <= kernels.shallow_rows();
        let streaming = self.streaming();
        let kernel = |rows: usize, cols: usize, wide: usize| match streaming {
            Some(streams) => streams[wide],
            None => kernels.tile(rows, cols, shallow),
        };
        let panel_len = self.taps * self.spec.k * nr;
        // SAFETY: offsets below stay inside of the checked extents; scratch was sized for them.
        unsafe {
            let b = o.b.0.offset(self.spec.batch.b.at(block.batch));
            let b = b.add((part.taps.start * self.spec.k + part.k.start) * nr);
            match self.planes() {
                Some(window) => self.pack_planes(o, window, block, scratch, part),
                None if self.pack_a => self.pack_block(block, scratch, part),
                None => {}
            }
            // Of the next panels, each register tile has its share fetched; after the last ones the
            // next K of the first.
            let ahead = (nr * 4).div_ceil(block.tiles.len().max(1));
            let next = |turn: usize, panel: usize| {
                let at = match panel.checked_sub(block.panels.end) {
                    Some(past) => (block.panels.start + past) * panel_len + depth * nr,
                    None => panel * panel_len,
                };
                b.wrapping_add(at).wrapping_byte_add(turn * depth * ahead)
            };
            for group in block.panels.clone().step_by(self.blocks.group) {
                if crate::pool::is_over() {
                    return;
                }
                let group = group..(group + self.blocks.group).min(block.panels.end);
                for (turn, tile) in block.tiles.clone().enumerate() {
                    let row = self.tile_row(tile);
                    let rows = self.tile_row(tile + 1) - row;
                    let local = row - first_row;
                    let starts = scratch
                        .pointers
                        .add(local * self.taps + part.taps.start * rows);
                    let packed = scratch.pack.wrapping_add(local * depth).cast_const();
                    let mut packed_rows = [ptr::null::<f32>(); ROWS_MAX];
                    for (r, slot) in packed_rows.iter_mut().enumerate().take(rows) {
                        *slot = packed.wrapping_add(r);
                    }
                    let mut panel = group.start;
                    while panel < group.end {
                        let left = group.end - panel;
                        let wide = streaming.map_or(0, |_| left.min(STREAMS).ilog2() as usize);
                        let width = 1 << wide;
                        let col = panel * nr;
                        let cols = (self.spec.n - col).min(width * nr);
                        let (c, c_rows) = if self.tiles_in_scratch() {
                            let local_col = (panel - block.panels.start) * nr;
                            (scratch.tile.add(local_col), scratch.tile_rows)
                        } else {
                            let batch = self.spec.batch.c.at(block.batch);
                            (o.c.0.cast::<f32>().offset(batch).add(col), scratch.c_rows)
                        };
                        let c_rows = c_rows.add(local).cast_const();
                        let mut t = Tile {
                            a: starts.cast_const(),
                            tap_rows: rows,
                            a_first: part.k.start as isize * self.spec.a_k_stride,
                            a_k_stride: self.spec.a_k_stride,
                            taps: part.taps.len(),
                            k: part.k.len(),
                            b: b.add(panel * panel_len),
                            b_tap: self.spec.k * nr,
                            b_panel: panel_len,
                            next: next(turn, panel + group.len()),
                            ahead,
                            c,
                            c_rows,
                            cols,
                            add,
                            finish: None,
                        };
                        if self.pack_a {
                            t.a = packed_rows.as_ptr();
                            t.a_first = 0;
                            t.a_k_stride = rows as isize;
                            // A part is whole taps or lies in one tap: its K is contiguous in
                            // packed A and in packed B alike.
                            t.k = depth;
                            t.taps = 1;
                        }
                        if last {
                            let final_rows = scratch.c_rows.add(local).cast_const();
                            let at = TileAt {
                                batch: block.batch,
                                row,
                                rows,
                                col,
                                final_rows,
                            };
                            let finish = self.finish(o, &at);
                            if self.spec.c_store == CStore::Bf16 {
                                kernel(rows, cols, wide)(&t);
                                let ld = block.panels.len() * nr;
                                let sums = t.c.offset(t.c_rows.read()).cast_const();
                                self.narrow(o, &at, Narrow::of((sums, ld), &t, finish));
                            } else {
                                t.finish = finish;
                                kernel(rows, cols, wide)(&t);
                                self.deliver(o, &at, &t);
                            }
                        } else {
                            kernel(rows, cols, wide)(&t);
                        }
                        panel += width;
                    }
                }
            }
        }
    }
}

impl BatchReduceGemm {
    /// The built-in epilogue of one tile.
    ///
    /// Inlined, so that its fields are written where they stay: copied from a result on the stack,
    /// as wider words than they were written, they wait until all stores before are done, those of
    /// the last tile among them.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run`], after its checks.
    #[inline(always)]
    pub(super) unsafe fn finish(&self, o: &GemmOperands, at: &TileAt) -> Option<Finish> {
        let spec = &self.spec;
        let n_stride = match spec.c_store {
            CStore::Rows | CStore::Bf16 | CStore::ByHook => 1,
            CStore::Strided(stride) => stride,
        };
        // A tile in scratch takes what it accumulates onto as a residual: C itself.
        let source = if spec.residual && !self.sums_onto(o) {
            o.residual.0
        } else if spec.init == Init::Accumulate && self.tiles_in_scratch() {
            o.c.0.cast_const()
        } else {
            ptr::null()
        };
        let first = spec.batch.c.at(at.batch) + at.col as isize * n_stride;
        let first = first * spec.residual_stored.bytes() as isize;
        let bias = o.bias.0.wrapping_offset(spec.batch.bias.at(at.batch));
        let finish = Finish {
            bias_n: if spec.bias == Bias::PerN {
                bias.wrapping_add(at.col)
            } else {
                ptr::null()
            },
            bias_m: if spec.bias == Bias::PerM {
                bias.wrapping_add(at.row)
            } else {
                ptr::null()
            },
            residual: match source.is_null() {
                true => ptr::null(),
                false => source.wrapping_offset(first).cast(),
            },
            residual_stored: spec.residual_stored,
            residual_rows: at.final_rows,
            residual_n: n_stride,
            clip: spec.clip,
        };
        let idle = spec.bias == Bias::None && source.is_null() && spec.clip.is_none();
        (!idle).then_some(finish)
    }

    /// Finishes a tile of sums and stores it as bf16.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run`], after its checks.
    pub(super) unsafe fn narrow(&self, o: &GemmOperands, at: &TileAt, t: Narrow) {
        let batch = self.spec.batch.c.at(at.batch);
        // SAFETY: rows, columns and batch stay inside of the checked extent of C.
        unsafe {
            narrower(self.spec.isa)(&Narrow {
                rows: at.rows,
                c: o.c.0.cast::<u16>().offset(batch).add(at.col),
                c_rows: at.final_rows,
                ..t
            });
        }
    }

    /// Calls the hook on a finished tile, and moves it to C if it lies in scratch.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run`], after its checks.
    pub(super) unsafe fn deliver(&self, o: &GemmOperands, at: &TileAt, t: &Tile) {
        if let Some(hook) = &o.hook {
            let tile = EpilogueTile {
                c: t.c,
                row_offsets: t.c_rows,
                m0: at.row,
                rows: at.rows,
                n0: at.col,
                cols: t.cols,
                batch: at.batch,
                out: self.spec.batch.c.at(at.batch),
                out_rows: at.final_rows,
                user: hook.user,
            };
            // SAFETY: the caller vouches for the hook; the tile is live and exclusively ours.
            unsafe { (hook.function)(&raw const tile) };
        }
        if let CStore::Strided(stride) = self.spec.c_store {
            let batch = self.spec.batch.c.at(at.batch);
            // SAFETY: rows, columns and batch stay inside of the checked extent of C.
            unsafe {
                let c = o.c.0.cast::<f32>().offset(batch + at.col as isize * stride);
                let row = |r: usize| at.final_rows.add(r).read();
                let adjacent = (1..at.rows).all(|r| row(r) == row(0) + r as isize);
                if adjacent {
                    let from = t.c.offset(t.c_rows.read()).cast_const();
                    let ld = t.c_rows.add(usize::from(at.rows > 1)).read() - t.c_rows.read();
                    let size = [at.rows, t.cols];
                    transpose_block(self.spec.isa, from, ld, c.offset(row(0)), stride, size);
                    return;
                }
                for r in 0..at.rows {
                    let from = t.c.offset(t.c_rows.add(r).read()).cast_const();
                    let to = c.offset(row(r));
                    for n in 0..t.cols {
                        to.offset(n as isize * stride).write(from.add(n).read());
                    }
                }
            }
        }
    }

    /// The window, where it is over channels that are planes.
    fn planes(&self) -> Option<&Window> {
        match &self.spec.a_rows {
            ARows::Window(window) if self.pack_a && self.spec.a_k_stride != 1 => Some(window),
            ARows::Window(_) | ARows::Affine { .. } => None,
        }
    }

    /// As [`BatchReduceGemm::pack_block`], for planes.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run`], after its checks.
    unsafe fn pack_planes(
        &self,
        o: &GemmOperands,
        window: &Window,
        block: &Block,
        scratch: &Scratch,
        part: &KPart,
    ) {
        let (pack, a) = (packer(self.spec.isa), o.a.0.cast::<f32>());
        let mut out = scratch.pack;
        for tile in block.tiles.clone() {
            let first = self.tile_row(tile);
            let rows = self.tile_row(tile + 1) - first;
            // SAFETY: scratch was sized for the block, and the window lies within the checked
            // extent of A.
            unsafe {
                pack(&WindowRows {
                    window,
                    a: a.wrapping_offset(self.spec.batch.a.at(block.batch)),
                    k_stride: self.spec.a_k_stride,
                    first,
                    rows,
                    taps: part.taps.clone(),
                    k: part.k.clone(),
                    out,
                });
                out = out.add(rows * part.taps.len() * part.k.len());
            }
        }
    }

    /// Copies one K block of the block's rows of A to scratch: `[tile][tap][k][row]`.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run`], after its checks; the row starts are filled.
    unsafe fn pack_block(&self, block: &Block, scratch: &Scratch, part: &KPart) {
        let stride = self.spec.a_k_stride;
        let mut out = scratch.pack;
        let mut starts = scratch.pointers.cast_const();
        for tile in block.tiles.clone() {
            let rows = self.tile_row(tile + 1) - self.tile_row(tile);
            for tap in part.taps.clone() {
                // SAFETY: row starts and scratch were sized for the block; valid rows reach `k`
                // within the checked extent of A, others are `ZEROS`.
                unsafe {
                    let from = std::slice::from_raw_parts(starts.add(tap * rows), rows);
                    pack_rows(self.spec.isa, from, stride, &part.k, out);
                    out = out.add(rows * part.k.len());
                }
            }
            // SAFETY: as above.
            starts = unsafe { starts.add(rows * self.taps) };
        }
    }
}

/// The start of a scratch area that workers share by disjoint parts.
pub(crate) struct SharedScratch(pub(crate) *mut u8);

impl SharedScratch {
    pub(crate) fn at(&self, byte: usize) -> *mut u8 {
        self.0.wrapping_add(byte)
    }
}

// SAFETY: parts are disjoint by worker index.
unsafe impl Sync for SharedScratch {}
