//! Rows and panels that parts do not serve, multiplied as f32.

use std::ops::Range;

use super::run::{KBlock, Scratch};
use crate::{
    amx::TILE_ROWS,
    gemm::{
        kernel::{Tile, family},
        pack_a::{ZEROS, pack_rows},
        plan::BatchReduceGemm,
        rows::fill_starts,
        run::{Block, GemmOperands},
        spec::Stored,
    },
    isa::Isa,
    layout::{SPLIT_COLS, SPLIT_STEP},
};

/// Rows that are multiplied as f32 at a time.
const WHOLE_ROWS: usize = 8;

impl BatchReduceGemm {
    /// The rows of a register tile that are multiplied as f32 at a time: eight of one tile.
    fn eights(&self, rows: usize) -> impl Iterator<Item = Range<usize>> {
        let of_tile = self.lines.map_or(TILE_ROWS, |lines| lines.rows);
        (0..rows).step_by(of_tile).flat_map(move |tile| {
            let end = (tile + of_tile).min(rows);
            (tile..end)
                .step_by(WHOLE_ROWS)
                .map(move |first| first..(first + WHOLE_ROWS).min(end))
        })
    }

    /// Copies the rows of one register tile as f32, eight at a time: `[k][row]`.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run_split_part`].
    pub(super) unsafe fn copy_strip(
        &self,
        o: &GemmOperands,
        block: &Block,
        scratch: &Scratch,
        (local, rows): (usize, usize),
        part: KBlock,
    ) {
        if self.spec.a_stored == Stored::Bf16 {
            // SAFETY: the caller's. Others than few rows are never multiplied as f32.
            return unsafe { self.widen_few(scratch, rows, part) };
        }
        let k = self.spec.k;
        let begin = part.first_step * SPLIT_STEP;
        let end = begin + part.depth;
        let of_tile = self.lines.map_or(TILE_ROWS, |lines| lines.rows);
        for eight in self.eights(rows) {
            let (first, here) = (eight.start, eight.len());
            let tile = first / of_tile * of_tile;
            let tile_rows = (rows - tile).min(of_tile);
            // SAFETY: the starts of the tile are filled, and the strip has room for its rows.
            unsafe {
                let starts = match &self.lines {
                    Some(_) => {
                        let a = o.a.0.cast::<f32>();
                        let a = a.wrapping_offset(self.spec.batch.a.at(block.batch));
                        let row = block.tiles.start * self.strip() + local + tile;
                        let zeros = ZEROS.as_ptr();
                        let to = scratch.pointers;
                        fill_starts(&self.spec.a_rows, a, row, tile_rows, zeros, to);
                        scratch.pointers
                    }
                    None => scratch.pointers.add((local + tile) * self.taps),
                };
                let mut out = scratch.whole.add((local + first) * self.blocks.k);
                let mut at = begin;
                while at < end {
                    let (tap, from) = (at / k, at % k);
                    let to = k.min(from + end - at);
                    let starts = starts.add(tap * tile_rows + first - tile).cast_const();
                    let starts = std::slice::from_raw_parts(starts, here);
                    pack_rows(
                        self.spec.isa,
                        starts,
                        self.spec.a_k_stride,
                        &(from..to),
                        out,
                    );
                    out = out.add((to - from) * here);
                    at += to - from;
                }
            }
        }
    }

    /// Copies few rows of bf16 as f32: `[k][row]`.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run_split_part`].
    unsafe fn widen_few(&self, scratch: &Scratch, rows: usize, part: KBlock) {
        let (begin, k) = (part.first_step * SPLIT_STEP, self.spec.k);
        let starts = scratch.pointers.cast::<*const u16>();
        for at in 0..part.depth {
            let (tap, from) = ((begin + at) / k, (begin + at) % k);
            for r in 0..rows {
                // SAFETY: the starts of the tile are filled, and there is room for its rows.
                unsafe {
                    let start = starts.add(tap * rows + r).read();
                    let x = match start == ZEROS.as_ptr().cast() {
                        true => 0,
                        false => start.offset(from as isize * self.spec.a_k_stride).read(),
                    };
                    let x = f32::from_bits(u32::from(x) << 16);
                    scratch.whole.add(at * rows + r).write(x);
                }
            }
        }
    }

    /// Multiplies the copied rows of one register tile with `[depth][32]` of B.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run_split_part`].
    pub(super) unsafe fn multiply_whole(
        &self,
        scratch: &Scratch,
        local: usize,
        rows: usize,
        depth: usize,
        b: *const f32,
    ) {
        for eight in self.eights(rows) {
            let (first, here) = (eight.start, eight.len());
            // SAFETY: the rows were copied; there is room for 32 rows of sums.
            unsafe {
                let a = scratch
                    .whole
                    .add((local + first) * self.blocks.k)
                    .cast_const();
                let out = scratch.sums.add(first * SPLIT_COLS);
                if self.spec.isa.without_tiles() != Isa::Avx512 {
                    multiply_plainly(a, here, depth, b, out);
                    continue;
                }
                let starts: [*const f32; WHOLE_ROWS] = std::array::from_fn(|r| a.wrapping_add(r));
                let offsets: [isize; WHOLE_ROWS] =
                    std::array::from_fn(|r| (r * SPLIT_COLS) as isize);
                let t = Tile {
                    a: starts.as_ptr(),
                    tap_rows: here,
                    a_k_stride: here as isize,
                    taps: 1,
                    k: depth,
                    b,
                    c: out,
                    c_rows: offsets.as_ptr(),
                    cols: SPLIT_COLS,
                    ..Tile::empty()
                };
                family(self.spec.isa).tile(here, SPLIT_COLS, false)(&t);
            }
        }
    }
}

/// As the register tile of a family whose panels are 32 wide.
///
/// # Safety
/// A is `[k][rows]`, B `[k][32]`, and `out` has room for the rows.
unsafe fn multiply_plainly(a: *const f32, rows: usize, k: usize, b: *const f32, out: *mut f32) {
    for r in 0..rows {
        for n in 0..SPLIT_COLS {
            // SAFETY: the caller's.
            unsafe {
                let product =
                    |k: usize| a.add(k * rows + r).read() * b.add(k * SPLIT_COLS + n).read();
                out.add(r * SPLIT_COLS + n).write((0..k).map(product).sum());
            }
        }
    }
}
