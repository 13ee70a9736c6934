//! Depthwise convolution of bytes, of any family: bytes less their zero points, multiplied in i32.

use super::{depthwise::IntDepthwiseOperands, part::Blocks, plan::ByteSign};
use crate::{
    depthwise::{ChannelOrder, DepthwiseSpec, inside},
    epilogue::EpilogueTile,
    isa::Isa,
};

/// Channels that are summed at a time.
pub(super) const CHANNELS: usize = 64;

/// One worker's scratch.
pub(super) struct Scratch<'s> {
    pub(super) sums: &'s mut [i32],
    pub(super) filters: &'s mut [i16],
    pub(super) rows: &'s mut [isize],
    pub(super) out_rows: &'s mut [isize],
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(job: &Job<'_>, task: usize, scratch: &mut Scratch<'_>) {
    // SAFETY: the caller's.
    unsafe { job.task(task, scratch) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(job: &Job<'_>, task: usize, scratch: &mut Scratch<'_>) {
    // SAFETY: the caller's.
    unsafe { job.task(task, scratch) }
}

/// A convolution and its operands.
pub(super) struct Job<'j> {
    pub(super) spec: &'j DepthwiseSpec,
    pub(super) blocks: &'j Blocks,
    pub(super) signs: [ByteSign; 2],
    pub(super) o: &'j IntDepthwiseOperands,
}

/// A byte less its zero point.
#[inline(always)]
fn centred<const SIGNED: bool>(byte: u8, zero: i16) -> i16 {
    let value = if SIGNED {
        i16::from(byte as i8)
    } else {
        i16::from(byte)
    };
    value.wrapping_sub(zero)
}

impl Job<'_> {
    /// Runs a task by the instructions of the family.
    ///
    /// # Safety
    /// As `IntDepthwise::run`, after its checks; the family is there.
    pub(super) unsafe fn run(&self, task: usize, s: &mut Scratch<'_>) {
        // SAFETY: the caller's.
        unsafe {
            match self.spec.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Amx => avx512(self, task, s),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(self, task, s),
                #[allow(
                    unreachable_patterns,
                    reason = "which families exist depends on the target"
                )]
                Isa::Portable | Isa::Neon | Isa::Avx2 | Isa::Avx512 | Isa::Amx => {
                    self.task(task, s);
                }
            }
        }
    }

    /// # Safety
    /// As `IntDepthwise::run`, after its checks.
    #[inline(always)]
    unsafe fn task(&self, task: usize, s: &mut Scratch<'_>) {
        // SAFETY: the caller's.
        unsafe {
            match (self.spec.order, self.signs[0]) {
                (ChannelOrder::Last, ByteSign::Signed) => self.last::<true>(task, s),
                (ChannelOrder::Last, ByteSign::Unsigned) => self.last::<false>(task, s),
                (ChannelOrder::First { x, y }, ByteSign::Signed) => {
                    self.first::<true>(task, [x, y], s);
                }
                (ChannelOrder::First { x, y }, ByteSign::Unsigned) => {
                    self.first::<false>(task, [x, y], s);
                }
            }
        }
    }

    /// Byte `at` of the filters less the zero point.
    ///
    /// # Safety
    /// It exists.
    #[inline(always)]
    unsafe fn filter(&self, at: usize) -> i16 {
        // SAFETY: the caller's.
        let byte = unsafe { self.o.w.0.add(at).read() };
        let zero = self.o.zeros[1] as i16;
        match self.signs[1] {
            ByteSign::Signed => centred::<true>(byte, zero),
            ByteSign::Unsigned => centred::<false>(byte, zero),
        }
    }

    /// Rows and channels of one image, channels innermost.
    ///
    /// # Safety
    /// As `IntDepthwise::run`, after its checks.
    #[inline(always)]
    unsafe fn last<const SIGNED: bool>(&self, task: usize, s: &mut Scratch<'_>) {
        let (spec, w) = (self.spec, &self.spec.window);
        let part = self.blocks.part(spec, task);
        let taps = w.kernel[0] * w.kernel[1];
        for (ow, (row, out)) in s.rows.iter_mut().zip(s.out_rows.iter_mut()).enumerate() {
            *row = (ow * CHANNELS) as isize;
            *out = ow as isize * spec.y_strides[2];
        }
        for c in part.channels.clone().step_by(CHANNELS) {
            let lanes = (part.channels.end - c).min(CHANNELS);
            for tap in 0..taps {
                let row = &mut s.filters[tap * CHANNELS..][..lanes];
                for (lane, slot) in row.iter_mut().enumerate() {
                    // SAFETY: filters are `[taps, channels]`.
                    *slot = unsafe { self.filter(tap * spec.channels + c + lane) };
                }
            }
            for oh in part.rows.clone() {
                // SAFETY: the caller's; the row and the channels are of the image.
                unsafe { self.last_row::<SIGNED>([part.image, oh], [c, lanes], s) };
            }
        }
    }

    /// Channels (first, count) of one output row of an image.
    ///
    /// # Safety
    /// As `IntDepthwise::run`, after its checks; the filters of the channels are in the scratch.
    #[inline(always)]
    unsafe fn last_row<const SIGNED: bool>(
        &self,
        [image, oh]: [usize; 2],
        [c, lanes]: [usize; 2],
        s: &mut Scratch<'_>,
    ) {
        let (spec, w) = (self.spec, &self.spec.window);
        let top = (oh * w.stride[0]) as isize - w.pad[0] as isize;
        let taps_h = inside(top, w.kernel[0], w.dilation[0], w.input[0]);
        let zero = self.o.zeros[0] as i16;
        for (ow, sums) in s.sums.chunks_exact_mut(CHANNELS).enumerate() {
            let left = (ow * w.stride[1]) as isize - w.pad[1] as isize;
            let taps_w = inside(left, w.kernel[1], w.dilation[1], w.input[1]);
            let mut acc = [0i32; CHANNELS];
            for kh in taps_h[0]..taps_h[1] {
                let h = top + (kh * w.dilation[0]) as isize;
                for kw in taps_w[0]..taps_w[1] {
                    let v = left + (kw * w.dilation[1]) as isize;
                    let at = image as isize * w.strides[0]
                        + h * w.strides[1]
                        + v * w.strides[2]
                        + c as isize;
                    let filter = &s.filters[(kh * w.kernel[1] + kw) * CHANNELS..][..CHANNELS];
                    // SAFETY: the tap is inside of the image.
                    let x = unsafe { std::slice::from_raw_parts(self.o.x.0.offset(at), lanes) };
                    multiply::<SIGNED>(&mut acc, x, filter, zero);
                }
            }
            sums[..CHANNELS].copy_from_slice(&acc);
        }
        let out = image as isize * spec.y_strides[0] + oh as isize * spec.y_strides[1];
        let first = (image * w.out[0] + oh) * w.out[1];
        // SAFETY: the rows were just written.
        unsafe { self.store(s, [first, w.out[1]], [c, lanes], out) };
    }

    /// Every output row of one plane, columns innermost.
    ///
    /// # Safety
    /// As `IntDepthwise::run`, after its checks.
    #[inline(always)]
    unsafe fn first<const SIGNED: bool>(
        &self,
        task: usize,
        [x_step, y_step]: [isize; 2],
        s: &mut Scratch<'_>,
    ) {
        let (spec, w) = (self.spec, &self.spec.window);
        let (image, c) = (task / spec.channels, task % spec.channels);
        let taps = w.kernel[0] * w.kernel[1];
        for tap in 0..taps {
            // SAFETY: filters are `[channels, taps]`.
            s.filters[tap] = unsafe { self.filter(c * taps + tap) };
        }
        let plane = image as isize * w.strides[0] + c as isize * x_step;
        for oh in 0..w.out[0] {
            let top = (oh * w.stride[0]) as isize - w.pad[0] as isize;
            s.sums.fill(0);
            let taps_h = inside(top, w.kernel[0], w.dilation[0], w.input[0]);
            for kh in taps_h[0]..taps_h[1] {
                let h = top + (kh * w.dilation[0]) as isize;
                for kw in 0..w.kernel[1] {
                    let tap = (kw * w.dilation[1]) as isize - w.pad[1] as isize;
                    // Output columns whose column of the image exists.
                    let cols = inside(tap, w.out[1], w.stride[1], w.input[1]);
                    let filter = s.filters[kh * w.kernel[1] + kw];
                    let v = tap + (cols[0] * w.stride[1]) as isize;
                    let sums = &mut s.sums[cols[0]..cols[1]];
                    if sums.is_empty() {
                        continue;
                    }
                    let len = (sums.len() - 1) * w.stride[1] + 1;
                    // SAFETY: first and last column are inside of the image; columns are adjacent.
                    let x = unsafe {
                        let at = self.o.x.0.offset(plane + h * w.strides[1] + v);
                        std::slice::from_raw_parts(at, len)
                    };
                    slide::<SIGNED>(sums, x, w.stride[1], filter, self.o.zeros[0] as i16);
                }
            }
            let out = image as isize * spec.y_strides[0]
                + c as isize * y_step
                + oh as isize * spec.y_strides[1];
            // SAFETY: the row was just written.
            unsafe { self.store(s, [task * w.out[0] + oh, 1], [0, w.out[1]], out) };
        }
    }

    /// Hands rows of sums to the hook.
    ///
    /// # Safety
    /// As `IntDepthwise::run`, after its checks.
    #[inline(always)]
    unsafe fn store(
        &self,
        s: &mut Scratch<'_>,
        [m0, rows]: [usize; 2],
        [n0, cols]: [usize; 2],
        out: isize,
    ) {
        let tile = EpilogueTile {
            c: s.sums.as_mut_ptr(),
            row_offsets: s.rows.as_ptr(),
            m0,
            rows,
            n0,
            cols,
            batch: 0,
            out,
            out_rows: s.out_rows.as_ptr(),
            user: self.o.hook.user,
        };
        // SAFETY: the caller vouches for the hook; the tile is ours.
        unsafe { (self.o.hook.function)(&raw const tile) };
    }
}

/// `acc[c] += (x[c] - zero) * filter[c]` for as many channels as there are.
#[inline(always)]
fn multiply<const SIGNED: bool>(acc: &mut [i32; CHANNELS], x: &[u8], filter: &[i16], zero: i16) {
    let mut add = |x: &[u8], from: usize| {
        let (acc, filter) = (&mut acc[from..][..x.len()], &filter[from..][..x.len()]);
        for ((acc, &x), &filter) in acc.iter_mut().zip(x).zip(filter) {
            *acc += i32::from(centred::<SIGNED>(x, zero)) * i32::from(filter);
        }
    };
    if x.len() == CHANNELS {
        // The length is known here, which spares the vector loop its rest.
        add(&x[..CHANNELS], 0);
    } else {
        add(x, 0);
    }
}

/// `sums[i] += (x[i * stride] - zero) * filter`.
#[inline(always)]
fn slide<const SIGNED: bool>(sums: &mut [i32], x: &[u8], stride: usize, filter: i16, zero: i16) {
    let term = |x: u8| i32::from(centred::<SIGNED>(x, zero)) * i32::from(filter);
    if stride == 1 {
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum += term(x);
        }
    } else {
        for (sum, &x) in sums.iter_mut().zip(x.iter().step_by(stride)) {
            *sum += term(x);
        }
    }
}
