//! Depthwise convolution of bytes, exact in i32, in either order of channels.
//!
//! A row of results (channels-last) or of columns (channels-first) is summed in scratch, a hook
//! stores it. Zero points are taken off before bytes are multiplied, so that taps outside of an
//! image simply contribute nothing.

#[cfg(target_arch = "x86_64")]
use super::channels;
use super::plan::ByteSign;
use crate::{
    depthwise::{ChannelOrder, DepthwiseSpec, inside},
    epilogue::{EpilogueTile, Hook},
    error::KernelError,
    gemm::{SharedScratch, check_window, reach},
    isa::Isa,
    offsets::span,
    pool::Pool,
};

/// Channels that are summed at a time.
const CHANNELS: usize = 64;
/// What scratch parts are aligned to.
const ALIGN: usize = 64;

/// A checked depthwise convolution of bytes. Immutable; share it between threads.
#[derive(Clone, Debug)]
pub struct IntDepthwise {
    spec: DepthwiseSpec,
    signs: [ByteSign; 2],
    x_needed: usize,
}

/// The memory of one run, each a pointer and a length in bytes.
#[derive(Clone, Copy, Debug)]
pub struct IntDepthwiseOperands {
    /// Input.
    pub x: (*const u8, usize),
    /// Filters: `[KH, KW, C]` for channels-last, `[C, KH, KW]` for channels-first.
    pub w: (*const u8, usize),
    /// Zero points of the input and of the filters.
    pub zeros: [i32; 2],
    /// Stores finished tiles. Channels-last: rows are output columns from position `m0`, columns
    /// are channels. Channels-first: one row `m0 = (image * C + c) * OH + oh`, columns are columns.
    pub hook: Hook<i32>,
}

// SAFETY: plain pointers; `IntDepthwise::run` states who may touch what.
unsafe impl Send for IntDepthwiseOperands {}
// SAFETY: as above.
unsafe impl Sync for IntDepthwiseOperands {}

/// One worker's scratch.
struct Scratch<'s> {
    sums: &'s mut [i32],
    filters: &'s mut [i16],
    rows: &'s mut [isize],
    out_rows: &'s mut [isize],
}

impl IntDepthwise {
    /// Checks `spec`, which may name no bias, residual or clip: they are the hook's. `signs` are
    /// those of the input and of the filters.
    ///
    /// # Errors
    /// [`KernelError`] if the family is not available or the geometry contradicts itself.
    pub fn new(spec: DepthwiseSpec, signs: [ByteSign; 2]) -> Result<Self, KernelError> {
        spec.isa.require()?;
        let w = &spec.window;
        let rows = w.images.checked_mul(w.out[0]);
        let rows = rows.and_then(|rows| rows.checked_mul(w.out[1]));
        let rows = rows.ok_or_else(|| KernelError::spec("window", "too many positions"))?;
        check_window(w, rows)?;
        if spec.bias || spec.residual || spec.clip.is_some() {
            let detail = "bias, residual and clip are the hook's";
            return Err(KernelError::spec("integer epilogue", detail));
        }
        let x_channel = match spec.order {
            ChannelOrder::Last => 1,
            ChannelOrder::First { x, .. } => x,
        };
        let x_needed = if rows == 0 || spec.channels == 0 || w.input.contains(&0) {
            0
        } else {
            let axes = [
                (w.images - 1, w.strides[0]),
                (w.input[0] - 1, w.strides[1]),
                (w.input[1] - 1, w.strides[2]),
                (spec.channels - 1, x_channel),
            ];
            reach("x", &[span(&axes)])?
        };
        Ok(Self {
            spec,
            signs,
            x_needed,
        })
    }

    /// Independent tasks: rows of an image (channels-last) or of a plane (channels-first).
    pub fn tasks(&self) -> usize {
        let w = &self.spec.window;
        if self.spec.channels == 0 || w.out.contains(&0) {
            return 0;
        }
        match self.spec.order {
            ChannelOrder::Last => w.images * w.out[0],
            ChannelOrder::First { .. } => w.images * self.spec.channels,
        }
    }

    /// Bytes of scratch that one worker needs; no alignment is asked for.
    pub fn scratch_bytes(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if channels::serves(&self.spec, self.signs[1]) {
            return self.plain_bytes().max(channels::scratch_bytes(&self.spec));
        }
        self.plain_bytes()
    }

    fn plain_bytes(&self) -> usize {
        let [sums, filters, rows] = self.scratch();
        (sums * 4).next_multiple_of(ALIGN)
            + (filters * 2).next_multiple_of(ALIGN)
            + 2 * rows * size_of::<isize>()
            + ALIGN
    }

    /// Multiplications and additions of one run, padding taps counted.
    pub fn operations(&self) -> f64 {
        let w = &self.spec.window;
        let sizes = [w.images, w.out[0], w.out[1], w.kernel[0], w.kernel[1]];
        let taps = sizes.iter().fold(2.0, |product, &n| product * n as f64);
        taps * self.spec.channels as f64
    }

    /// Sums, filters and rows of one worker.
    fn scratch(&self) -> [usize; 3] {
        let w = &self.spec.window;
        let lanes = match self.spec.order {
            ChannelOrder::Last => CHANNELS,
            ChannelOrder::First { .. } => 1,
        };
        [
            w.out[1] * lanes,
            w.kernel[0] * w.kernel[1] * lanes,
            w.out[1],
        ]
    }

    /// Runs a task (out of `0..self.tasks()`) on this thread. Allocates nothing.
    ///
    /// # Errors
    /// [`KernelError::Short`] if an operand or the scratch is too short; nothing was written then.
    ///
    /// # Safety
    /// The pointers of `operands` are valid for their lengths for the time of the call, and nobody
    /// else writes there; the hook may be called.
    pub unsafe fn run(
        &self,
        operands: &IntDepthwiseOperands,
        task: usize,
        scratch: &mut [u8],
    ) -> Result<(), KernelError> {
        self.check_run(operands, task + 1)?;
        KernelError::check_len("scratch", self.scratch_bytes(), scratch.len())?;
        // SAFETY: lengths were checked; the rest is the caller's.
        unsafe { self.run_task(operands, task, scratch.as_mut_ptr()) };
        Ok(())
    }

    /// Runs every task on `pool`; `scratch` holds `pool.threads() * self.scratch_bytes()` bytes.
    ///
    /// # Errors
    /// As [`IntDepthwise::run`], and [`KernelError::Panicked`].
    ///
    /// # Safety
    /// As [`IntDepthwise::run`] for all tasks.
    pub unsafe fn run_on(
        &self,
        pool: &Pool,
        operands: &IntDepthwiseOperands,
        scratch: &mut [u8],
    ) -> Result<(), KernelError> {
        let each = self.scratch_bytes();
        self.check_run(operands, self.tasks())?;
        KernelError::check_len("scratch", each * pool.threads(), scratch.len())?;
        let base = SharedScratch(scratch.as_mut_ptr());
        pool.run(self.tasks(), |task, worker| {
            // SAFETY: lengths were checked; each worker has its own part of the scratch.
            unsafe { self.run_task(operands, task, base.at(worker * each)) };
        })
    }

    fn check_run(&self, o: &IntDepthwiseOperands, end: usize) -> Result<(), KernelError> {
        if end > self.tasks() {
            let detail = format!("up to {end} of {}", self.tasks());
            return Err(KernelError::spec("tasks", detail));
        }
        let s = &self.spec;
        let filters = s.channels * s.window.kernel[0] * s.window.kernel[1];
        KernelError::check_len("x", self.x_needed, o.x.1)?;
        KernelError::check_len("w", filters, o.w.1)
    }

    /// # Safety
    /// As [`IntDepthwise::run`], after its checks.
    unsafe fn run_task(&self, o: &IntDepthwiseOperands, task: usize, scratch: *mut u8) {
        #[cfg(target_arch = "x86_64")]
        if o.zeros[1] == 0 && channels::serves(&self.spec, self.signs[1]) {
            // SAFETY: the caller's; the family was required when this was planned.
            unsafe { channels::run(&self.spec, self.signs[0], o, task, scratch) };
            return;
        }
        let [sums, filters, rows] = self.scratch();
        let base = scratch.wrapping_add(scratch.align_offset(ALIGN).min(ALIGN));
        let second = base.wrapping_add((sums * 4).next_multiple_of(ALIGN));
        let third = second.wrapping_add((filters * 2).next_multiple_of(ALIGN));
        // SAFETY: `scratch_bytes` made room for these parts, which any bytes fill; alignment is
        // that of the first, and lengths of the others' predecessors are multiples of it.
        let mut s = unsafe {
            third.write_bytes(0, 2 * rows * size_of::<isize>());
            Scratch {
                sums: std::slice::from_raw_parts_mut(base.cast(), sums),
                filters: std::slice::from_raw_parts_mut(second.cast(), filters),
                rows: std::slice::from_raw_parts_mut(third.cast(), rows),
                out_rows: std::slice::from_raw_parts_mut(third.cast::<isize>().add(rows), rows),
            }
        };
        let job = Job {
            spec: &self.spec,
            signs: self.signs,
            o,
        };
        // SAFETY: the caller's; the family was required when this was planned.
        unsafe {
            match self.spec.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Amx => avx512(&job, task, &mut s),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(&job, task, &mut s),
                #[allow(
                    unreachable_patterns,
                    reason = "which families exist depends on the target"
                )]
                Isa::Portable | Isa::Neon | Isa::Avx2 | Isa::Avx512 | Isa::Amx => {
                    job.task(task, &mut s);
                }
            }
        }
    }
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

struct Job<'j> {
    spec: &'j DepthwiseSpec,
    signs: [ByteSign; 2],
    o: &'j IntDepthwiseOperands,
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

    /// One output row of one image, channels innermost.
    ///
    /// # Safety
    /// As `IntDepthwise::run`, after its checks.
    #[inline(always)]
    unsafe fn last<const SIGNED: bool>(&self, task: usize, s: &mut Scratch<'_>) {
        let (spec, w) = (self.spec, &self.spec.window);
        let (image, oh) = (task / w.out[0], task % w.out[0]);
        let top = (oh * w.stride[0]) as isize - w.pad[0] as isize;
        let taps_h = inside(top, w.kernel[0], w.dilation[0], w.input[0]);
        let taps = w.kernel[0] * w.kernel[1];
        let zero = self.o.zeros[0] as i16;
        for (ow, (row, out)) in s.rows.iter_mut().zip(s.out_rows.iter_mut()).enumerate() {
            *row = (ow * CHANNELS) as isize;
            *out = ow as isize * spec.y_strides[2];
        }
        for c in (0..spec.channels).step_by(CHANNELS) {
            let lanes = (spec.channels - c).min(CHANNELS);
            for tap in 0..taps {
                let row = &mut s.filters[tap * CHANNELS..][..lanes];
                for (lane, slot) in row.iter_mut().enumerate() {
                    // SAFETY: filters are `[taps, channels]`.
                    *slot = unsafe { self.filter(tap * spec.channels + c + lane) };
                }
            }
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
            // SAFETY: the rows were just written.
            unsafe { self.store(s, [task * w.out[1], w.out[1]], [c, lanes], out) };
        }
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
