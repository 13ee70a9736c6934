//! Depthwise convolution of bytes whose channels are neighbours, by products of four bytes: 64
//! channels of four taps at a time.
//!
//! Bytes of four taps are interleaved by channel, those of the filters alike, so that one
//! instruction multiplies and adds them for sixteen channels. It wants unsigned bytes: signed ones
//! become so by their top bit, 128 higher. What that and the zero point add to a sum is the same
//! for every position, since taps outside of an image read zero points.

use std::arch::x86_64::{
    __m512i, __mmask64, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_maskz_loadu_epi8,
    _mm512_mullo_epi32, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16,
    _mm512_unpacklo_epi8, _mm512_unpacklo_epi16, _mm512_xor_si512,
};

use super::{depthwise::IntDepthwiseOperands, plan::ByteSign};
use crate::{depthwise::DepthwiseSpec, epilogue::EpilogueTile, gemm::cutter, isa::Isa};

/// Channels of four registers.
const LANES: usize = 64;
/// Taps that one instruction takes.
const TAPS: usize = 4;
/// Sums that are handed over at once, about: they stay in the first levels of cache.
const SUMS: usize = 1 << 14;
/// Most taps of a filter.
const TAPS_MAX: usize = 64;
const ALIGN: usize = 64;

/// Whether this machine and these filters are served.
pub(super) fn serves(spec: &DepthwiseSpec, filters: ByteSign) -> bool {
    let taps = spec.window.kernel[0].saturating_mul(spec.window.kernel[1]);
    matches!(spec.isa, Isa::Avx512 | Isa::Amx)
        && std::arch::is_x86_feature_detected!("avx512vnni")
        && filters == ByteSign::Signed
        && matches!(spec.order, crate::depthwise::ChannelOrder::Last)
        && (1..=TAPS_MAX).contains(&taps)
        && spec.channels > 0
}

/// Channels whose sums are handed over at once; a whole number of registers.
fn block(spec: &DepthwiseSpec) -> usize {
    let most = SUMS / spec.window.out[1].max(1) / LANES * LANES;
    spec.channels.next_multiple_of(LANES).min(most.max(LANES))
}

/// Bytes of each part of the scratch: sums, starts, rows twice, filters, a row of zero points.
fn parts(spec: &DepthwiseSpec) -> [usize; 5] {
    let (width, taps) = (
        spec.window.out[1],
        spec.window.kernel[0] * spec.window.kernel[1],
    );
    [
        width * block(spec) * size_of::<i32>(),
        width * taps * size_of::<*const u8>(),
        width * size_of::<isize>(),
        taps.div_ceil(TAPS) * 4 * LANES,
        spec.channels,
    ]
    .map(|bytes| bytes.next_multiple_of(ALIGN))
}

/// Bytes of scratch; no alignment is asked for.
pub(super) fn scratch_bytes(spec: &DepthwiseSpec) -> usize {
    let parts = parts(spec);
    parts.iter().sum::<usize>() + parts[2] + ALIGN
}

/// Bytes of four taps, interleaved: of each channel four neighbours. Register `j` has channels
/// `16 * lane + 4 * j..` of each of its lanes of 128 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleaved(rows: [__m512i; TAPS]) -> [__m512i; 4] {
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

/// Sums in the order of channels.
#[inline]
#[target_feature(enable = "avx512f")]
fn ordered([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab, cd) = (
        _mm512_shuffle_i32x4::<0x88>(a, b),
        _mm512_shuffle_i32x4::<0x88>(c, d),
    );
    let (ab_odd, cd_odd) = (
        _mm512_shuffle_i32x4::<0xdd>(a, b),
        _mm512_shuffle_i32x4::<0xdd>(c, d),
    );
    [
        _mm512_shuffle_i32x4::<0x88>(ab, cd),
        _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd),
        _mm512_shuffle_i32x4::<0xdd>(ab, cd),
        _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd),
    ]
}

/// Where sums of 64 channels are made.
struct Chunk<'c> {
    /// The first channel, and which of 64 there are.
    first: usize,
    there: __mmask64,
    /// `[column][tap]` first byte of each position.
    starts: &'c [*const u8],
    taps: usize,
    /// Interleaved filters, `[taps / 4][4]` registers.
    filters: *const u8,
    /// Every sum begins here.
    begin: [__m512i; 4],
    flip: u8,
    sums: *mut i32,
    /// Sums between columns.
    apart: usize,
}

impl Chunk<'_> {
    /// Sums of every column; `GROUPS` is the number of registers of taps, or 0 for any.
    ///
    /// # Safety
    /// The pointers are valid, and the instructions are there.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn run<const GROUPS: usize>(&self) {
        let groups = match GROUPS {
            0 => self.taps.div_ceil(TAPS),
            groups => groups,
        };
        let flip = _mm512_set1_epi8(self.flip as i8);
        for (column, starts) in self.starts.chunks_exact(self.taps).enumerate() {
            let mut sums = self.begin;
            for group in 0..groups {
                // SAFETY: bytes under the mask exist, and there are four registers for each group.
                unsafe {
                    let mut rows = [flip; TAPS];
                    for (i, row) in rows.iter_mut().enumerate() {
                        // Filters of taps that there are not are zeros.
                        let tap = (group * TAPS + i).min(self.taps - 1);
                        let from = starts.get_unchecked(tap).add(self.first);
                        let bytes = _mm512_maskz_loadu_epi8(self.there, from.cast());
                        *row = _mm512_xor_si512(bytes, flip);
                    }
                    let filters = self.filters.add(group * 4 * LANES);
                    for (j, x) in interleaved(rows).into_iter().enumerate() {
                        let filter = _mm512_loadu_si512(filters.add(j * LANES).cast());
                        sums[j] = _mm512_dpbusd_epi32(sums[j], x, filter);
                    }
                }
            }
            for (j, sum) in ordered(sums).into_iter().enumerate() {
                // SAFETY: rows have room for whole registers.
                unsafe {
                    let to = self.sums.add(column * self.apart + j * 16);
                    _mm512_storeu_si512(to.cast(), sum);
                }
            }
        }
    }
}

/// One output row of one image.
///
/// # Safety
/// As `IntDepthwise::run`, after its checks; [`serves`] holds, the zero point of filters is 0, and
/// there are [`scratch_bytes`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
pub(super) unsafe fn run(
    spec: &DepthwiseSpec,
    sign: ByteSign,
    o: &IntDepthwiseOperands,
    task: usize,
    scratch: *mut u8,
) {
    let w = &spec.window;
    let (width, taps) = (w.out[1], w.kernel[0] * w.kernel[1]);
    let [sums, starts, rows, filters, outside] = parts(spec);
    let mut take = cutter(scratch);
    let sums: *mut i32 = take(sums).cast();
    let starts: *mut *const u8 = take(starts).cast();
    let (sum_rows, out_rows): (*mut isize, *mut isize) = (take(rows).cast(), take(rows).cast());
    let (filters, outside) = (take(filters), take(outside));
    let (image, oh) = (task / w.out[0], task % w.out[0]);
    let block = block(spec);
    // SAFETY: the parts are as long as what is written; taps are tested before they are named.
    let starts = unsafe {
        outside.write_bytes(o.zeros[0] as u8, spec.channels);
        let x = o.x.0.wrapping_offset(image as isize * w.strides[0]);
        let top = (oh * w.stride[0]).wrapping_sub(w.pad[0]);
        for ow in 0..width {
            sum_rows.add(ow).write((ow * block) as isize);
            out_rows.add(ow).write(ow as isize * spec.y_strides[2]);
            let left = (ow * w.stride[1]).wrapping_sub(w.pad[1]);
            let mut to = starts.add(ow * taps);
            for kh in 0..w.kernel[0] {
                // Positions before the image wrap to huge ones.
                let h = top.wrapping_add(kh * w.dilation[0]);
                let line = x.wrapping_offset((h as isize).wrapping_mul(w.strides[1]));
                for kw in 0..w.kernel[1] {
                    let v = left.wrapping_add(kw * w.dilation[1]);
                    to.write(match h < w.input[0] && v < w.input[1] {
                        true => line.wrapping_offset(v as isize * w.strides[2]),
                        false => outside,
                    });
                    to = to.add(1);
                }
            }
        }
        std::slice::from_raw_parts(starts, width * taps)
    };
    let flip = match sign {
        ByteSign::Signed => 0x80,
        ByteSign::Unsigned => 0,
    };
    let zero = o.zeros[0].wrapping_add(i32::from(flip));
    for c0 in (0..spec.channels).step_by(block) {
        let end = (c0 + block).min(spec.channels);
        for c in (c0..end).step_by(LANES) {
            let there = u64::MAX >> (LANES - (end - c).min(LANES));
            let ones = _mm512_set1_epi8(1);
            let mut totals = [_mm512_setzero_si512(); 4];
            for group in 0..taps.div_ceil(TAPS) {
                let mut rows = [_mm512_setzero_si512(); TAPS];
                for (row, tap) in rows.iter_mut().zip(group * TAPS..taps) {
                    // SAFETY: filters are `[taps, channels]`; the mask ends with the channels.
                    unsafe {
                        let from = o.w.0.add(tap * spec.channels + c);
                        *row = _mm512_maskz_loadu_epi8(there, from.cast());
                    }
                }
                for (j, filter) in interleaved(rows).into_iter().enumerate() {
                    totals[j] = _mm512_dpbusd_epi32(totals[j], ones, filter);
                    // SAFETY: there are four registers for each group.
                    unsafe {
                        let to = filters.add((group * 4 + j) * LANES);
                        _mm512_storeu_si512(to.cast(), filter);
                    }
                }
            }
            let less = _mm512_set1_epi32(zero.wrapping_neg());
            let chunk = Chunk {
                first: c,
                there,
                starts,
                taps,
                filters,
                begin: totals.map(|total| _mm512_mullo_epi32(total, less)),
                flip,
                sums: sums.wrapping_add(c - c0),
                apart: block,
            };
            // SAFETY: positions that are read exist, and so does the row of zero points.
            unsafe {
                match taps.div_ceil(TAPS) {
                    3 => chunk.run::<3>(),
                    7 => chunk.run::<7>(),
                    _ => chunk.run::<0>(),
                }
            }
        }
        let tile = EpilogueTile {
            c: sums,
            row_offsets: sum_rows,
            m0: task * width,
            rows: width,
            n0: c0,
            cols: end - c0,
            batch: 0,
            out: image as isize * spec.y_strides[0] + oh as isize * spec.y_strides[1],
            out_rows,
            user: o.hook.user,
        };
        // SAFETY: the caller vouches for the hook; the tile is ours.
        unsafe { (o.hook.function)(&raw const tile) };
    }
}
