//! Sums of up to 64 channels of an output row, from products of four bytes.

use std::arch::x86_64::{
    __m512i, __mmask64, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_mask_loadu_epi8,
    _mm512_permutexvar_epi32, _mm512_set1_epi8, _mm512_setr_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16, _mm512_unpacklo_epi8,
    _mm512_unpacklo_epi16, _mm512_xor_si512,
};

use super::part::LANES;
use crate::gemm::Window;

/// Taps that one instruction takes.
pub(super) const TAPS: usize = 4;
/// Bytes of four interleaved taps of 64 channels.
pub(super) const GROUP: usize = TAPS * LANES;

/// Columns from the first tap to the last.
pub(super) fn reach(w: &Window) -> usize {
    (w.kernel[1] - 1) * w.dilation[1] + 1
}

/// Interleaved columns that are kept: a power of two, of which a column's number is cut off.
pub(super) fn ring(w: &Window) -> usize {
    reach(w).next_power_of_two()
}

/// Bytes of four taps, interleaved: of each channel four neighbours. Register `j` has channels
/// `16 * j..`, which interleaving within lanes of 128 bits does if words were transposed before.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn interleaved(rows: [__m512i; TAPS]) -> [__m512i; 4] {
    let low = [
        _mm512_unpacklo_epi8(rows[0], rows[1]),
        _mm512_unpacklo_epi8(rows[2], rows[3]),
    ];
    let high = [
        _mm512_unpackhi_epi8(rows[0], rows[1]),
        _mm512_unpackhi_epi8(rows[2], rows[3]),
    ];
    [
        _mm512_unpacklo_epi16(low[0], low[1]),
        _mm512_unpackhi_epi16(low[0], low[1]),
        _mm512_unpacklo_epi16(high[0], high[1]),
        _mm512_unpackhi_epi16(high[0], high[1]),
    ]
}

/// The bytes of a tap for each strip, words transposed.
///
/// # Safety
/// Bytes under the mask exist from each address on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn load<const STRIPS: usize>(
    there: __mmask64,
    from: [*const u8; STRIPS],
) -> __m512i {
    let mut bytes = _mm512_setzero_si512();
    for (strip, from) in from.into_iter().enumerate() {
        let lane = strip * (LANES / STRIPS);
        // SAFETY: the caller's; the mask and the address move together.
        bytes =
            unsafe { _mm512_mask_loadu_epi8(bytes, there << lane, from.wrapping_sub(lane).cast()) };
    }
    let words = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_epi32(words, bytes)
}

/// A row of the image that a window sees: where its channels begin in the first column, and bytes
/// between columns; zero points, over and over, outside of the image.
pub(super) struct Line {
    pub(super) start: *const u8,
    pub(super) step: isize,
}

/// Where sums of up to 64 channels of an output row are made.
pub(super) struct Chunk<'c> {
    pub(super) window: &'c Window,
    /// Which of the channels there are, of one strip.
    pub(super) there: __mmask64,
    pub(super) lines: &'c [Line],
    /// 64 zero points.
    pub(super) outside: *const u8,
    /// `[KW][KH / 4][4]` registers.
    pub(super) filters: *const u8,
    /// As many registers for each of the columns that are kept.
    pub(super) ring: *mut u8,
    /// Every sum begins here.
    pub(super) begin: [__m512i; 4],
    pub(super) flip: u8,
    pub(super) sums: *mut i32,
    /// Sums between columns.
    pub(super) apart: usize,
}

impl Chunk<'_> {
    /// Sums of a row.
    ///
    /// # Safety
    /// The pointers are valid, and the instructions are there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn run<const STRIPS: usize>(&self) {
        let w = self.window;
        // SAFETY: the caller's.
        unsafe {
            match (w.kernel, w.stride[1], w.dilation[1]) {
                ([3, 3], 1, 1) => self.run_near::<1, STRIPS>(),
                ([3, 3], 2, 1) => self.run_near::<2, STRIPS>(),
                ([5, 5], ..) => self.run_any::<5, 5, STRIPS>(),
                _ => self.run_any::<0, 0, STRIPS>(),
            }
        }
    }

    /// Sums of a row for windows of three by three neighbours, `STRIDE` columns apart, which stay
    /// in registers.
    ///
    /// # Safety
    /// As [`Chunk::run`].
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn run_near<const STRIDE: usize, const STRIPS: usize>(&self) {
        let columns = self.window.out[1].div_ceil(STRIPS);
        let shift = columns * STRIDE;
        // SAFETY: the caller's.
        unsafe {
            let mut filters = [[_mm512_setzero_si512(); 4]; 3];
            for (i, filter) in filters.as_flattened_mut().iter_mut().enumerate() {
                *filter = _mm512_loadu_si512(self.filters.add(i * LANES).cast());
            }
            let mut kept = [[_mm512_setzero_si512(); 4]; 3];
            for v in 0..3 - STRIDE {
                kept[v + STRIDE] = self.column::<3, STRIPS>(v, shift, 3, 0);
            }
            for column in 0..columns {
                for kw in 0..3 {
                    kept[kw] = match kw + STRIDE {
                        next @ 0..3 => kept[next],
                        _ => self.column::<3, STRIPS>(column * STRIDE + kw, shift, 3, 0),
                    };
                }
                let mut sums = self.begin;
                for (x, filter) in kept.iter().zip(&filters) {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_dpbusd_epi32(*sum, x[j], filter[j]);
                    }
                }
                self.store::<STRIPS>(column, columns, sums);
            }
        }
    }

    /// Sums of a row for windows of `HEIGHT` by `WIDTH` taps, or 0 for any.
    ///
    /// # Safety
    /// As [`Chunk::run`].
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn run_any<const HEIGHT: usize, const WIDTH: usize, const STRIPS: usize>(&self) {
        let w = self.window;
        let (height, width) = match HEIGHT {
            0 => (w.kernel[0], w.kernel[1]),
            height => (height, WIDTH),
        };
        let groups = height.div_ceil(TAPS);
        let (mask, reach) = (ring(w) - 1, reach(w));
        let columns = w.out[1].div_ceil(STRIPS);
        let mut made = 0;
        for column in 0..columns {
            let first = column * w.stride[1];
            for v in first.max(made)..first + reach {
                for group in 0..groups {
                    // SAFETY: the caller's; the number is cut to the columns that are kept.
                    unsafe {
                        let shift = columns * w.stride[1];
                        let x = self.column::<HEIGHT, STRIPS>(v, shift, height, group);
                        let to = self.ring.add(((v & mask) * groups + group) * GROUP);
                        for (j, x) in x.into_iter().enumerate() {
                            _mm512_storeu_si512(to.add(j * LANES).cast(), x);
                        }
                    }
                }
            }
            made = first + reach;
            let mut sums = self.begin;
            for kw in 0..width {
                let at = (first + kw * w.dilation[1]) & mask;
                for group in 0..groups {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: the columns of this window were made and are still kept; there
                        // are as many registers of filters.
                        unsafe {
                            let x = self.ring.add((at * groups + group) * GROUP + j * LANES);
                            let filter = (kw * groups + group) * GROUP + j * LANES;
                            let x = _mm512_loadu_si512(x.cast());
                            let filter = _mm512_loadu_si512(self.filters.add(filter).cast());
                            *sum = _mm512_dpbusd_epi32(*sum, x, filter);
                        }
                    }
                }
            }
            // SAFETY: the caller's.
            unsafe { self.store::<STRIPS>(column, columns, sums) };
        }
    }

    /// Stores the sums of a column, and of those `columns` further for each strip.
    ///
    /// # Safety
    /// As [`Chunk::run`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store<const STRIPS: usize>(&self, column: usize, columns: usize, sums: [__m512i; 4]) {
        for (j, sum) in sums.into_iter().enumerate() {
            let (strip, lane) = (j * STRIPS / 4, j % (4 / STRIPS) * 16);
            // SAFETY: rows have room for whole registers, and for as many columns of strips.
            unsafe {
                let to = (column + strip * columns) * self.apart + lane;
                _mm512_storeu_si512(self.sums.add(to).cast(), sum);
            }
        }
    }

    /// Four taps of column `v` of the padded image, and of those `shift` columns further for each
    /// strip, interleaved.
    ///
    /// # Safety
    /// As [`Chunk::run`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn column<const HEIGHT: usize, const STRIPS: usize>(
        &self,
        v: usize,
        shift: usize,
        height: usize,
        group: usize,
    ) -> [__m512i; 4] {
        let w = self.window;
        // Positions before the image wrap to huge ones.
        let columns: [usize; STRIPS] =
            std::array::from_fn(|strip| (v + strip * shift).wrapping_sub(w.pad[1]));
        let flip = _mm512_set1_epi8(self.flip as i8);
        let mut rows = [flip; TAPS];
        for (i, row) in rows.iter_mut().enumerate() {
            let kh = group * TAPS + i;
            if kh >= height {
                // Filters of taps that there are not are zeros.
                continue;
            }
            // SAFETY: bytes under the mask exist in columns of the image, and in zero points.
            unsafe {
                let line = self.lines.get_unchecked(kh);
                let from = columns.map(|v| match v < w.input[1] {
                    true => line.start.wrapping_offset(v as isize * line.step),
                    false => self.outside,
                });
                *row = _mm512_xor_si512(load(self.there, from), flip);
            }
        }
        interleaved(rows)
    }
}
