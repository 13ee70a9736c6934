//! Copies rows of A whose taps are few bytes each: images of few channels whose columns are
//! neighbours, a row of a window at once.
//!
//! Lines are made in registers and stored whole. What is loaded in one piece must not have been
//! stored in several just before: the load would wait until they are in the cache.

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_mask_loadu_epi8, _mm256_maskz_loadu_epi8, _mm256_set1_epi8,
    _mm512_castsi256_si512, _mm512_load_si512, _mm512_mask_permutexvar_epi8, _mm512_maskz_mov_epi8,
    _mm512_set1_epi8, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_xor_si512,
};

use super::{
    plan::IntGemm,
    run::{IntGemmOperands, Scratch},
    tiles::{GROUPS, KBlock},
};
use crate::{
    amx::TILE_LINE,
    gemm::{ARows, Blocks, GemmSpec},
    isa::Isa,
};

/// Most bytes of a row of a window.
const BYTES_MAX: usize = size_of::<__m256i>();

/// A row of a window, or what of it goes to one line.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Cut {
    /// Of each byte of the line, which of the row it is.
    order: [u8; TILE_LINE],
    /// Bytes of the line that it fills.
    there: u64,
    /// First and last tap of the row of the window.
    ends: [usize; 2],
}

/// What lines are made of.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    /// Cuts of each line.
    lines: Vec<Vec<Cut>>,
}

impl Runs {
    /// For a product by tiles, if the taps of a row of a window are neighbours and fit a vector,
    /// and all of taps and K is one block.
    pub(super) fn new(spec: &GemmSpec, blocks: &Blocks) -> Option<Self> {
        let ARows::Window(w) = &spec.a_rows else {
            return None;
        };
        let (k, width, taps) = (spec.k, w.kernel[1], spec.taps());
        let are_neighbours = spec.a_k_stride == 1
            && (w.dilation[1] as isize).checked_mul(w.strides[2]) == Some(k as isize);
        let fits = (1..=4).contains(&k) && (2..=BYTES_MAX / k).contains(&width);
        let is_served = matches!(spec.isa, Isa::Avx512 | Isa::Amx)
            && std::arch::is_x86_feature_detected!("avx512vbmi");
        let lines = taps.div_ceil(GROUPS);
        if !is_served || !are_neighbours || !fits || lines * TILE_LINE > blocks.k {
            return None;
        }
        let cut = |line: usize, first: usize| {
            let mut cut = Cut {
                order: [0; TILE_LINE],
                there: 0,
                ends: [first, first + width - 1],
            };
            for at in 0..TILE_LINE {
                let (tap, byte) = (line * GROUPS + at / 4, at % 4);
                if (first..first + width).contains(&tap) && byte < k {
                    cut.order[at] = (k * (tap - first) + byte) as u8;
                    cut.there |= 1 << at;
                }
            }
            cut
        };
        let cuts = |line: usize| {
            let first = line * GROUPS / width * width;
            let end = taps.min((line + 1) * GROUPS);
            let firsts = (first..end).step_by(width);
            firsts.map(|tap| cut(line, tap)).collect()
        };
        Some(Self {
            lines: (0..lines).map(cuts).collect(),
        })
    }
}

impl IntGemm {
    /// Copies up to sixteen rows, those from row `local` of the block on.
    ///
    /// # Safety
    /// As [`IntGemm::copy_tile`]; the runs are those of this product.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) unsafe fn copy_runs(
        &self,
        o: &IntGemmOperands,
        scratch: &Scratch,
        [local, rows]: [usize; 2],
        part: KBlock,
        runs: &Runs,
    ) {
        let flip = _mm512_set1_epi8(self.flip() as i8);
        let zeros = _mm256_set1_epi8(o.a_zero as i8);
        for r in 0..rows {
            for (step, cuts) in runs.lines.iter().enumerate() {
                let (mut line, mut filled) = (_mm512_setzero_si512(), 0);
                for cut in cuts {
                    // SAFETY: the caller's; a cut's order is as long and aligned as a register.
                    let (bytes, order) = unsafe {
                        let bytes = self.window_row(scratch, [local, rows], r, cut.ends, zeros);
                        (bytes, _mm512_load_si512(cut.order.as_ptr().cast()))
                    };
                    line = _mm512_mask_permutexvar_epi8(line, cut.there, order, bytes);
                    filled |= cut.there;
                }
                let line = _mm512_xor_si512(line, _mm512_maskz_mov_epi8(filled, flip));
                // SAFETY: the caller's.
                unsafe {
                    let to = self.line(scratch, local, part, step, r);
                    _mm512_storeu_si512(to.cast(), line);
                }
            }
        }
    }

    /// The bytes of a row of a window from one tap to another, zero points outside of the image.
    ///
    /// # Safety
    /// As [`IntGemm::copy_runs`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn window_row(
        &self,
        scratch: &Scratch,
        at: [usize; 2],
        r: usize,
        [first, last]: [usize; 2],
        zeros: __m256i,
    ) -> __m512i {
        let (k, outside) = (self.spec.k, scratch.outside.cast_const());
        // SAFETY: the caller's; taps between two that are inside of an image are so, too, and masks
        // end with them.
        let bytes = unsafe {
            let start = self.start(scratch, at, first, r);
            if start != outside && self.start(scratch, at, last, r) != outside {
                let there = u32::MAX >> (BYTES_MAX - k * (last - first + 1));
                _mm256_maskz_loadu_epi8(there, start.cast())
            } else {
                let (mut there, mut from) = (0u32, outside);
                for tap in first..=last {
                    let start = self.start(scratch, at, tap, r);
                    if start != outside {
                        let before = k * (tap - first);
                        there |= u32::MAX >> (BYTES_MAX - k) << before;
                        from = start.wrapping_sub(before);
                    }
                }
                _mm256_mask_loadu_epi8(zeros, there, from.cast())
            }
        };
        _mm512_castsi256_si512(bytes)
    }
}
