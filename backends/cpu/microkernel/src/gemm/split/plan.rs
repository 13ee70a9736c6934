//! How a product of bf16 parts is cut, and what scratch it takes.

use super::rows::STRIP;
use crate::{
    amx::TILE_ROWS,
    gemm::{
        blocks::{Blocks, in_turns},
        plan::{ALIGN, BatchReduceGemm},
        spec::{ARows, GemmSpec, Stored},
    },
    isa::Isa,
    layout::{SPLIT_COLS, SPLIT_STEP, SPLIT_WORDS},
    offsets::Offsets,
};

/// Steps to a block of K at most: 1024 elements. Sums of blocks are added in f32.
const STEPS_MAX: usize = 32;
/// Those of a single part, which is half or a third as long: most products are one block, and each
/// element of C is stored once.
const STEPS_ONE_MAX: usize = 160;
/// Register tiles along M to a block at most, however short K is.
const STRIPS_MAX: usize = 12;
/// Register tiles along M that blocks may have, however long K is.
const STRIPS_LEAST: usize = 4;
/// Bytes of the parts of A of a block about: they stay in the second-level cache.
const NEAR_A_BYTES: usize = 768 << 10;
/// Elements between rows all of which fall into one set of the first-level cache.
const CONFLICT: usize = 2048;
/// Panels that rows of bf16 are read for where they lie, at most. Measured, for four panels it
/// takes as long to copy rows once, for eight a third longer not to.
const IN_PLACE_PANELS_MAX: usize = 2;
/// What a product of two by two tiles takes, from the second-level cache.
const PRODUCT_NS: usize = 24;
/// Bytes of rows of f32 that are split, or copied, in a nanosecond at most.
const SPLIT_RATE: usize = 16;
/// Bytes of packed B that stay in the second-level cache from one block of rows to the next.
const NEAR_B_BYTES: usize = 1 << 20;
/// Bytes of packed B from behind the second-level cache, in a nanosecond.
const FAR_RATE: usize = 12;
/// Bytes of C in a nanosecond where columns are divided between cores: lines that other cores wrote
/// last, now and when C is read. Measured on expansions of 32 channels to 192, which took as long
/// on two cores as on one; blocks of rows are where they were before, mostly, in this core.
const AWAY_RATE: usize = 12;
/// Of a task, what others wait for at the end, as its inverse.
const TAIL: usize = 8;
/// Rows that are too few for tiles: vectors read the parts of the right side for them.
pub const FEW_ROWS: usize = 3;
/// Panels that are streamed at a time for few rows, at most.
pub(super) const PANELS_MAX: usize = 4;

/// Sizes of the parts of one worker's scratch, in bytes.
pub(in crate::gemm) struct ScratchBytes {
    /// `[tile of sixteen rows][tap][row]` row starts; of a window over split pixels those
    /// of one tile.
    pub(super) pointers: usize,
    /// Records of pixels, see `window`.
    pub(super) records: usize,
    /// Offsets of rows in C, and once more for rows in scratch.
    pub(super) rows: usize,
    /// Parts of A: `[strip][step][part][2][16][64 bytes]`.
    pub(super) parts: usize,
    /// Rows of A as f32, `[strip][four times eight rows][k][row]`, where they are multiplied so.
    pub(super) whole: usize,
    /// One block of a panel of B as f32.
    pub(super) panel: usize,
    /// Sums of a register tile, and of one before it.
    pub(super) sums: usize,
    pub(super) tile: usize,
}

impl BatchReduceGemm {
    /// Steps along taps and K.
    pub(super) fn split_steps(&self) -> usize {
        (self.taps * self.spec.k).div_ceil(SPLIT_STEP)
    }

    /// Rows of a register tile.
    pub(super) fn strip(&self) -> usize {
        self.lines.map_or(STRIP, |lines| lines.strip())
    }

    /// Whether panels are streamed, see `stream`: the same whatever the tasks and the values.
    pub(super) fn has_few_rows(&self) -> bool {
        matches!(self.spec.isa, Isa::Avx512 | Isa::Amx) && self.spec.m <= FEW_ROWS
    }

    /// Whether these rows of a register tile are read where they lie: its tiles are whole.
    pub(super) fn reads_in_place(&self, rows: usize) -> bool {
        self.in_place.is_some() && rows > 0 && rows.is_multiple_of(TILE_ROWS)
    }

    pub(in crate::gemm) fn split_scratch(&self) -> ScratchBytes {
        let round = |bytes: usize| bytes.next_multiple_of(ALIGN);
        let parts = self.spec.products.parts();
        let strips = self.blocks.m_tiles.div_ceil(self.blocks.m_blocks);
        let rows = strips * self.strip();
        let cols = self.panels.div_ceil(self.blocks.n_blocks) * SPLIT_COLS;
        let steps = self.blocks.k / SPLIT_STEP;
        let is_guarded = parts > 1;
        let guarded = |bytes: usize| if is_guarded { bytes } else { 0 };
        let starts = match &self.lines {
            Some(_) => TILE_ROWS,
            None => rows,
        };
        ScratchBytes {
            pointers: round(starts * self.taps * size_of::<*const f32>()),
            records: round(self.lines.map_or(0, |lines| lines.records_bytes())),
            rows: round(rows * size_of::<isize>()),
            parts: match &self.lines {
                Some(_) => 0,
                None => strips * steps * parts * SPLIT_WORDS * 4,
            },
            whole: match self.has_few_rows() {
                true => round(FEW_ROWS * self.blocks.k * 4),
                false => guarded(rows * self.blocks.k * 4),
            },
            panel: guarded(self.blocks.k * SPLIT_COLS * 4),
            sums: match self.has_few_rows() {
                true => PANELS_MAX * STRIP * SPLIT_COLS * 4,
                false => 2 * STRIP * SPLIT_COLS * 4,
            },
            tile: if self.tiles_in_scratch() {
                round(rows * cols * 4)
            } else {
                0
            },
        }
    }
}

impl ScratchBytes {
    pub(in crate::gemm) fn total(&self) -> usize {
        self.pointers
            + self.records
            + 2 * self.rows
            + self.parts
            + self.whole
            + self.panel
            + self.sums
            + self.tile
            + ALIGN
    }
}

/// Elements between rows of A that tiles are loaded from as they are: bf16, in whole lines, evenly
/// apart. More panels want rows packed.
pub(in crate::gemm) fn rows_in_place(spec: &GemmSpec, panels: usize) -> Option<usize> {
    let ARows::Affine { rows, taps } = &spec.a_rows else {
        return None;
    };
    let Offsets::Uniform(stride) = rows else {
        return None;
    };
    let stride = usize::try_from(*stride).ok()?;
    let is_whole = spec.k > 0 && spec.k.is_multiple_of(SPLIT_STEP) && spec.a_k_stride == 1;
    let is_even = stride.is_multiple_of(SPLIT_STEP) && !stride.is_multiple_of(CONFLICT);
    let is_single = taps.len() == 1 && panels <= IN_PLACE_PANELS_MAX;
    let serves = spec.a_stored == Stored::Bf16 && is_single && is_whole && is_even;
    serves.then_some(stride)
}

/// Steps to a block of K; `depth` is taps times K.
fn block_steps(depth: usize, parts: usize) -> usize {
    let steps = depth.div_ceil(SPLIT_STEP).max(1);
    let most = if parts == 1 { STEPS_ONE_MAX } else { STEPS_MAX };
    steps.div_ceil(steps.div_ceil(most))
}

/// Register tiles along M to a block at most. The more there are, the less often B is read from
/// far away.
pub(in crate::gemm) fn strips_max(depth: usize, parts: usize) -> usize {
    let strip = block_steps(depth, parts) * parts * SPLIT_WORDS * 4;
    (NEAR_A_BYTES / strip).clamp(STRIPS_LEAST, STRIPS_MAX)
}

/// What decides how a product of tiles is cut.
pub(crate) struct TileSizes {
    pub(crate) m: usize,
    /// Taps times K, in elements of bf16.
    pub(crate) depth: usize,
    pub(crate) panels: usize,
    pub(crate) batch: usize,
    /// Rows of a register tile.
    pub(crate) strip: usize,
    /// Register tiles along M, and panels, to a block at most.
    pub(crate) strips_max: usize,
    pub(crate) panels_max: usize,
    /// Parts that an element is split in, and products of parts.
    pub(crate) parts: usize,
    pub(crate) products: usize,
    /// Bytes of an element of C.
    pub(crate) c_bytes: usize,
}

impl Blocks {
    /// Cuts a product of tiles. Costs are about nanoseconds.
    pub(crate) fn choose_split(sizes: &TileSizes, threads: usize) -> Self {
        let m_tiles = sizes.m.div_ceil(sizes.strip).max(1);
        let k = block_steps(sizes.depth, sizes.parts) * SPLIT_STEP;
        let (panels, batch) = (sizes.panels.max(1), sizes.batch.max(1));
        let m_least = m_tiles.div_ceil(sizes.strips_max);
        let n_least = panels.div_ceil(sizes.panels_max);
        let steps = sizes.depth.div_ceil(SPLIT_STEP).max(1);
        let tile = steps.saturating_mul(sizes.products * PRODUCT_NS);
        let split = tile.max(sizes.strip.saturating_mul(sizes.depth) / (SPLIT_RATE / 4));
        let panel_bytes = steps.saturating_mul(sizes.parts * SPLIT_WORDS * 4);
        let far = match panels.saturating_mul(panel_bytes) > NEAR_B_BYTES {
            true => panel_bytes / FAR_RATE,
            false => 0,
        };
        let away = sizes.strip * SPLIT_COLS * sizes.c_bytes / AWAY_RATE;
        let mut best = (usize::MAX, m_least, n_least);
        for n_blocks in n_least..=(n_least - 1 + 4 * threads).min(panels) {
            for m_blocks in m_least..=(m_least + 4 * threads).min(m_tiles) {
                // Rows are split once more for each block of columns; a panel comes from the next
                // cache, or while it is multiplied from far away, for each block of rows.
                let (strips, panels) = (m_tiles.div_ceil(m_blocks), panels.div_ceil(n_blocks));
                let near = strips.saturating_mul(tile);
                let mut task = panels.saturating_mul(near.max(far).saturating_add(tile / 2));
                task = task
                    .saturating_add(strips.saturating_mul(split))
                    .saturating_add(1);
                if n_blocks > 1 && threads > 1 {
                    task = task.saturating_add(strips.saturating_mul(panels * away));
                }
                let cost = in_turns(task, batch * m_blocks * n_blocks, threads, TAIL);
                if cost < best.0 {
                    best = (cost, m_blocks, n_blocks);
                }
            }
        }
        Self {
            m_tiles,
            m_blocks: best.1,
            n_blocks: best.2,
            group: 1,
            taps: 1,
            k,
        }
    }
}
