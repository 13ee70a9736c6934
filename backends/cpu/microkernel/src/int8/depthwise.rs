//! Depthwise convolution of bytes, exact in i32, in either order of channels.
//!
//! A row of results (channels-last) or of columns (channels-first) is summed in scratch, a hook
//! stores it. Zero points are taken off before bytes are multiplied, so that taps outside of an
//! image simply contribute nothing.

#[cfg(target_arch = "x86_64")]
use super::channels;
use super::{
    part::Blocks,
    plain::{CHANNELS, Job, Scratch},
    plan::ByteSign,
};
use crate::{
    depthwise::{ChannelOrder, DepthwiseSpec},
    epilogue::Hook,
    error::KernelError,
    gemm::{SharedScratch, check_window, reach},
    offsets::span,
    pool::Pool,
};

/// What scratch parts are aligned to.
const ALIGN: usize = 64;

/// A checked depthwise convolution of bytes. Immutable; share it between threads.
#[derive(Clone, Debug)]
pub struct IntDepthwise {
    spec: DepthwiseSpec,
    signs: [ByteSign; 2],
    x_needed: usize,
    /// How channels-last is cut.
    blocks: Blocks,
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
            blocks: Blocks::new(&spec),
            spec,
            signs,
            x_needed,
        })
    }

    /// Independent tasks: blocks of rows and channels (channels-last) or planes (channels-first).
    pub fn tasks(&self) -> usize {
        let w = &self.spec.window;
        if self.spec.channels == 0 || w.out.contains(&0) {
            return 0;
        }
        match self.spec.order {
            ChannelOrder::Last => self.blocks.tasks(w.images),
            ChannelOrder::First { .. } => w.images * self.spec.channels,
        }
    }

    /// Bytes of scratch that one worker needs; no alignment is asked for.
    pub fn scratch_bytes(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if channels::serves(&self.spec, self.signs[1]) {
            return self
                .plain_bytes()
                .max(channels::scratch_bytes(&self.spec, &self.blocks));
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
            unsafe { channels::run((&self.spec, &self.blocks), self.signs[0], o, task, scratch) };
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
            blocks: &self.blocks,
            signs: self.signs,
            o,
        };
        // SAFETY: the caller's; the family was required when this was planned.
        unsafe { job.run(task, &mut s) };
    }
}
