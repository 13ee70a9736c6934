//! Depthwise convolution of bytes whose channels are neighbours, by products of four bytes: 64
//! channels of four taps at a time.
//!
//! Bytes of four taps, one below the other, are interleaved by channel, those of the filters alike,
//! so that one instruction multiplies and adds them for sixteen channels. A column of the image is
//! interleaved once for all the output columns of a row that see it. The instruction wants unsigned
//! bytes: signed ones become so by their top bit, 128 higher. What that and the zero point add to a
//! sum is the same for every position, since taps outside of an image read zero points.
//!
//! Where at most 32 or 16 channels are left, registers hold those of two or four output columns:
//! a row is cut into as many strips, side by side.

use std::arch::x86_64::{
    __m512i, __mmask64, _mm512_dpbusd_epi32, _mm512_mullo_epi32, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
};

use super::{
    chunk::{Chunk, GROUP, Line, TAPS, interleaved, load, reach, ring},
    depthwise::IntDepthwiseOperands,
    part::{Blocks, LANES, Part},
    plan::ByteSign,
};
use crate::{
    depthwise::DepthwiseSpec,
    epilogue::EpilogueTile,
    gemm::{Window, cutter},
    isa::Isa,
};

/// Most taps of a filter.
const TAPS_MAX: usize = 64;
/// Most bytes of interleaved columns: windows that reach further are not served.
const RING_MAX: usize = 1 << 18;
/// Most strips of a row.
const STRIPS_MAX: usize = 4;
const ALIGN: usize = 64;

/// Whether this machine and these filters are served.
pub(super) fn serves(spec: &DepthwiseSpec, filters: ByteSign) -> bool {
    let taps = spec.window.kernel[0].saturating_mul(spec.window.kernel[1]);
    matches!(spec.isa, Isa::Avx512 | Isa::Amx)
        && std::arch::is_x86_feature_detected!("avx512vnni")
        && filters == ByteSign::Signed
        && matches!(spec.order, crate::depthwise::ChannelOrder::Last)
        && (1..=TAPS_MAX).contains(&taps)
        && reach(&spec.window) <= RING_MAX
        && ring(&spec.window) * column_bytes(&spec.window) <= RING_MAX
        && spec.channels > 0
}

/// Bytes of an interleaved column.
fn column_bytes(w: &Window) -> usize {
    w.kernel[0].div_ceil(TAPS) * GROUP
}

/// Strips of a row for so many channels.
fn strips(channels: usize) -> usize {
    match channels {
        0..=16 => 4,
        17..=32 => 2,
        _ => 1,
    }
}

/// Distance of the sums of neighbouring columns: what registers of the last channels fill.
fn apart(channels: usize) -> usize {
    let rest = channels % LANES;
    channels - rest + if rest > 0 { LANES / strips(rest) } else { 0 }
}

/// Sums of one output row; the strips of a row may be longer than it together.
fn row_sums(spec: &DepthwiseSpec, blocks: &Blocks) -> usize {
    (spec.window.out[1] + STRIPS_MAX - 1) * blocks.largest[1]
}

/// Bytes of each part of the scratch: sums, where their rows lie and belong, filters, interleaved
/// columns, lines of a window.
fn parts(spec: &DepthwiseSpec, blocks: &Blocks) -> [usize; 6] {
    let w = &spec.window;
    [
        blocks.largest[0] * row_sums(spec, blocks) * size_of::<i32>(),
        w.out[1] * size_of::<isize>(),
        w.out[1] * size_of::<isize>(),
        w.kernel[1] * column_bytes(w),
        ring(w) * column_bytes(w),
        w.kernel[0] * size_of::<Line>(),
    ]
    .map(|bytes| bytes.next_multiple_of(ALIGN))
}

/// Bytes of scratch; no alignment is asked for.
pub(super) fn scratch_bytes(spec: &DepthwiseSpec, blocks: &Blocks) -> usize {
    parts(spec, blocks).iter().sum::<usize>() + ALIGN
}

/// What one task computes.
struct Job<'j> {
    spec: &'j DepthwiseSpec,
    o: &'j IntDepthwiseOperands,
    part: &'j Part,
    flip: u8,
    sums: *mut i32,
    /// Sums between rows, and between columns.
    apart: [usize; 2],
    filters: *mut u8,
    ring: *mut u8,
    lines: *mut Line,
}

impl Job<'_> {
    /// Sums of up to 64 channels from `c` on, for every row.
    ///
    /// # Safety
    /// As [`run`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn channels<const STRIPS: usize>(&self, c: usize) {
        let (w, channels) = (&self.spec.window, &self.part.channels);
        let there = u64::MAX >> (LANES - (channels.end - c).min(LANES));
        let zero = self.o.zeros[0].wrapping_add(i32::from(self.flip));
        // SAFETY: the caller's.
        let totals = unsafe { self.interleave_filters::<STRIPS>(c, there) };
        let less = _mm512_set1_epi32(zero.wrapping_neg());
        let begin = totals.map(|total| _mm512_mullo_epi32(total, less));
        let outside = [self.o.zeros[0] as u8; LANES];
        let x = self.o.x.0.wrapping_add(c);
        let x = x.wrapping_offset(self.part.image as isize * w.strides[0]);
        for (row, oh) in self.part.rows.clone().enumerate() {
            let top = (oh * w.stride[0]).wrapping_sub(w.pad[0]);
            // SAFETY: there is a line for each row of the window, and there are sums for each row
            // and channel; lines of the image are named after a test.
            unsafe {
                for kh in 0..w.kernel[0] {
                    // Positions before the image wrap to huge ones.
                    let h = top.wrapping_add(kh * w.dilation[0]);
                    self.lines.add(kh).write(match h < w.input[0] {
                        true => Line {
                            start: x.wrapping_offset(h as isize * w.strides[1]),
                            step: w.strides[2],
                        },
                        false => Line {
                            start: outside.as_ptr(),
                            step: 0,
                        },
                    });
                }
                let chunk = Chunk {
                    window: w,
                    there,
                    lines: std::slice::from_raw_parts(self.lines, w.kernel[0]),
                    outside: outside.as_ptr(),
                    filters: self.filters,
                    ring: self.ring,
                    begin,
                    flip: self.flip,
                    sums: self.sums.add(row * self.apart[0] + c - channels.start),
                    apart: self.apart[1],
                };
                chunk.run::<STRIPS>();
            }
        }
    }

    /// Interleaves the filters of channels, and gives the sum of each.
    ///
    /// # Safety
    /// As [`run`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn interleave_filters<const STRIPS: usize>(
        &self,
        c: usize,
        there: __mmask64,
    ) -> [__m512i; 4] {
        let [height, width] = self.spec.window.kernel;
        let ones = _mm512_set1_epi8(1);
        let mut totals = [_mm512_setzero_si512(); 4];
        let mut to = self.filters;
        for kw in 0..width {
            for group in 0..height.div_ceil(TAPS) {
                let mut rows = [_mm512_setzero_si512(); TAPS];
                for (row, kh) in rows.iter_mut().zip(group * TAPS..height) {
                    // SAFETY: filters are `[KH, KW, channels]`; the mask ends with the channels.
                    unsafe {
                        let from = self.o.w.0.add((kh * width + kw) * self.spec.channels + c);
                        *row = load(there, [from; STRIPS]);
                    }
                }
                for (total, filter) in totals.iter_mut().zip(interleaved(rows)) {
                    *total = _mm512_dpbusd_epi32(*total, ones, filter);
                    // SAFETY: there are four registers for each group of each column of taps.
                    unsafe {
                        _mm512_storeu_si512(to.cast(), filter);
                        to = to.add(LANES);
                    }
                }
            }
        }
        totals
    }
}

/// Rows and channels of one image.
///
/// # Safety
/// As `IntDepthwise::run`, after its checks; [`serves`] holds, the zero point of filters is 0, and
/// there are [`scratch_bytes`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
pub(super) unsafe fn run(
    (spec, blocks): (&DepthwiseSpec, &Blocks),
    sign: ByteSign,
    o: &IntDepthwiseOperands,
    task: usize,
    scratch: *mut u8,
) {
    let w = &spec.window;
    let width = w.out[1];
    let part = blocks.part(spec, task);
    let [sums, sum_rows, out_rows, filters, ring, lines] = parts(spec, blocks);
    let mut take = cutter(scratch);
    let sums: *mut i32 = take(sums).cast();
    let (sum_rows, out_rows): (*mut isize, *mut isize) =
        (take(sum_rows).cast(), take(out_rows).cast());
    let apart = [row_sums(spec, blocks), apart(part.channels.len())];
    for ow in 0..width {
        // SAFETY: there is one of both for each output column.
        unsafe {
            sum_rows.add(ow).write((ow * apart[1]) as isize);
            out_rows.add(ow).write(ow as isize * spec.y_strides[2]);
        }
    }
    let job = Job {
        spec,
        o,
        part: &part,
        flip: match sign {
            ByteSign::Signed => 0x80,
            ByteSign::Unsigned => 0,
        },
        sums,
        apart,
        filters: take(filters),
        ring: take(ring),
        lines: take(lines).cast(),
    };
    for c in part.channels.clone().step_by(LANES) {
        // SAFETY: the caller's; no more channels are left than strips have lanes for.
        unsafe {
            match strips(part.channels.end - c) {
                1 => job.channels::<1>(c),
                2 => job.channels::<2>(c),
                _ => job.channels::<4>(c),
            }
        }
    }
    for (row, oh) in part.rows.clone().enumerate() {
        let tile = EpilogueTile {
            c: sums.wrapping_add(row * apart[0]),
            row_offsets: sum_rows,
            m0: (part.image * w.out[0] + oh) * width,
            rows: width,
            n0: part.channels.start,
            cols: part.channels.len(),
            batch: 0,
            out: part.image as isize * spec.y_strides[0] + oh as isize * spec.y_strides[1],
            out_rows,
            user: o.hook.user,
        };
        // SAFETY: the caller vouches for the hook; the tile is ours.
        unsafe { (o.hook.function)(&raw const tile) };
    }
}
