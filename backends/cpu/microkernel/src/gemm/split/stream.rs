//! Few rows times panels of parts: what they cost is to read the panels, so that several are read
//! side by side (see `gemm::stream`) and put together to f32 in registers.

use std::arch::x86_64::{
    __m512, _MM_HINT_T0, _mm_prefetch, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_ps,
    _mm512_fmadd_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_slli_epi32, _mm512_storeu_ps,
};

use std::ptr;

use super::{
    Form,
    pack::trailer,
    plan::PANELS_MAX,
    rows::STRIP,
    run::{KBlock, Scratch},
    waiting::Waiting,
};
use crate::{
    gemm::{
        plan::BatchReduceGemm,
        run::{Block, GemmOperands},
    },
    layout::{SPLIT_COLS, SPLIT_STEP, SPLIT_WORDS},
};

/// Panels of one block of K, and what they are multiplied by.
struct Streams {
    /// `[k][row]`, zeros after the last K.
    a: *const f32,
    rows: usize,
    /// First step of the first panel; words from one panel to the next; panels: 1, 2 or 4.
    b: *const f32,
    panel_len: usize,
    panels: usize,
    steps: usize,
    /// `[panel][32 rows][32]`, of which as many rows are written as there are.
    sums: *mut f32,
}

impl BatchReduceGemm {
    /// One block of K of a product of few rows.
    ///
    /// # Safety
    /// As [`BatchReduceGemm::run_split`]; the scratch is filled for the block.
    pub(super) unsafe fn run_few(
        &self,
        o: &GemmOperands,
        block: &Block,
        scratch: &Scratch,
        part: KBlock,
    ) {
        let layout = self.spec.b_layout();
        let (parts, panel_len) = (self.spec.products.parts(), layout.panel_len());
        let rows = self.spec.m;
        // SAFETY: offsets below stay inside of the checked extents; scratch was sized for them.
        unsafe {
            self.copy_strip(o, block, scratch, (0, rows), part);
            let filled = part.depth * rows;
            let missing = part.steps * SPLIT_STEP * rows - filled;
            ptr::write_bytes(scratch.whole.add(filled), 0, missing);
            let b = o.b.0.offset(self.spec.batch.b.at(block.batch));
            let is_split = |panel: usize| match parts {
                1 => true,
                _ => trailer(&layout, b.add(panel * panel_len)).0 == Form::Parts,
            };
            let mut rest = block.panels.clone();
            while let Some(panel) = rest.next() {
                if crate::pool::is_over() {
                    return;
                }
                let from = b.add(panel * panel_len);
                let mut panels = 1;
                if part.steps == 0 {
                    ptr::write_bytes(scratch.sums, 0, STRIP * SPLIT_COLS);
                } else if is_split(panel) {
                    let next = rest.clone().take(PANELS_MAX - 1);
                    panels += next.take_while(|&panel| is_split(panel)).count();
                    panels = 1 << panels.ilog2();
                    let t = Streams {
                        a: scratch.whole,
                        rows,
                        b: from.add(part.first_step * parts * SPLIT_WORDS),
                        panel_len,
                        panels,
                        steps: part.steps,
                        sums: scratch.sums,
                    };
                    stream(parts, &t);
                    rest.start += panels - 1;
                } else {
                    let whole = from.add(part.first_step * SPLIT_STEP * SPLIT_COLS);
                    self.multiply_whole(scratch, 0, rows, part.depth, whole);
                }
                let sums = |at: usize| scratch.sums.add(at * STRIP * SPLIT_COLS).cast_const();
                for (at, panel) in (panel..panel + panels).enumerate() {
                    let tile = Waiting {
                        rows: 0..rows,
                        panel,
                        sums: sums(at),
                    };
                    self.store_sums(o, block, scratch, part, tile);
                }
            }
        }
    }
}

/// The sums of each element are added in one order, however many panels there are.
///
/// # Safety
/// The pointers are valid for what their fields say, and the CPU has AVX-512.
unsafe fn stream(parts: usize, t: &Streams) {
    // SAFETY: the caller's.
    unsafe {
        match parts {
            1 => by_rows::<1>(t),
            2 => by_rows::<2>(t),
            _ => by_rows::<3>(t),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn by_rows<const PARTS: usize>(t: &Streams) {
    // SAFETY: the caller's; the set is enabled for this function.
    unsafe {
        match (t.rows, t.panels) {
            (1, 1) => run::<PARTS, 1, 1>(t),
            (1, 2) => run::<PARTS, 1, 2>(t),
            (1, _) => run::<PARTS, 1, PANELS_MAX>(t),
            (2, 1) => run::<PARTS, 2, 1>(t),
            (2, 2) => run::<PARTS, 2, 2>(t),
            (2, _) => run::<PARTS, 2, PANELS_MAX>(t),
            (_, 1) => run::<PARTS, 3, 1>(t),
            (_, 2) => run::<PARTS, 3, 2>(t),
            (_, _) => run::<PARTS, 3, PANELS_MAX>(t),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn run<const PARTS: usize, const ROWS: usize, const PANELS: usize>(t: &Streams) {
    // SAFETY: the caller's; the set is enabled for this function.
    unsafe {
        let mut acc = [[[_mm512_setzero_ps(); 2]; PANELS]; ROWS];
        for step in 0..t.steps {
            let b = t.b.add(step * PARTS * SPLIT_WORDS);
            for pair in 0..SPLIT_STEP / 2 {
                let (k, apart) = match PARTS {
                    1 => (2 * pair, 1),
                    _ => (pair, SPLIT_STEP / 2),
                };
                let a = t.a.add((step * SPLIT_STEP + k) * ROWS);
                let second = apart * ROWS;
                for panel in 0..PANELS {
                    for half in 0..2 {
                        let at = panel * t.panel_len + half * SPLIT_WORDS / 2 + pair * 16;
                        let [low, high] = restored::<PARTS>(b.add(at));
                        for (row, acc) in acc.iter_mut().enumerate() {
                            let sum = &mut acc[panel][half];
                            let [x, y] = [a.add(row).read(), a.add(second + row).read()];
                            *sum = _mm512_fmadd_ps(_mm512_set1_ps(x), low, *sum);
                            *sum = _mm512_fmadd_ps(_mm512_set1_ps(y), high, *sum);
                        }
                    }
                }
            }
        }
        for (row, acc) in acc.iter().enumerate() {
            for (panel, acc) in acc.iter().enumerate() {
                for (half, &sum) in acc.iter().enumerate() {
                    let at = (panel * SPLIT_COLS + row) * SPLIT_COLS + half * 16;
                    _mm512_storeu_ps(t.sums.add(at), sum);
                }
            }
        }
    }
}

/// Two elements along K that are neighbours in a line, of 16 columns, put together from the
/// smallest part on.
///
/// # Safety
/// `b` is a line of the first part; the CPU has AVX-512.
#[inline(always)]
unsafe fn restored<const PARTS: usize>(b: *const f32) -> [__m512; 2] {
    // SAFETY: the caller's; a prefetch reads nothing.
    unsafe {
        let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
        let mut sum = [_mm512_setzero_ps(); 2];
        for part in (0..PARTS).rev() {
            let line = b.add(part * SPLIT_WORDS);
            // The same of the next step.
            _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(PARTS * SPLIT_WORDS).cast());
            let words = _mm512_loadu_si512(line.cast());
            let low = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words));
            let high = _mm512_castsi512_ps(_mm512_and_si512(words, upper));
            sum = match part + 1 == PARTS {
                true => [low, high],
                false => [_mm512_add_ps(sum[0], low), _mm512_add_ps(sum[1], high)],
            };
        }
        sum
    }
}
