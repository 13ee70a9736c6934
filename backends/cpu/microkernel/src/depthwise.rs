//! Depthwise f32 convolution: one filter for each channel, multiplier 1, in both layouts.
//!
//! Channels-last vectorises over channels and reads the image in place: a tap outside of the image
//! is skipped. Its images may be stored as bf16. Channels-first vectorises over output columns;
//! each plane is first copied to scratch with its padding, columns split by their phase modulo the
//! stride, so that every tap of every stride reads adjacent elements.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{
    epilogue::{EpilogueTile, Hook},
    error::KernelError,
    gemm::{Stored, Window, check_window, reach},
    isa::Isa,
    offsets::span,
    pool::Pool,
};

mod element;
mod first;
mod kernel;
mod last;

pub(crate) use last::inside;

/// Where the channels of input and output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelOrder {
    /// Adjacent: `[N, H, W, C]`; filters are `[KH, KW, C]` (see [`pack_depthwise`]).
    Last,
    /// `x` (`y`) elements apart: `[N, C, H, W]`; filters are `[C, KH, KW]` as in ONNX. Columns must
    /// be adjacent in input and output.
    First {
        /// Element stride of a channel of the input.
        x: isize,
        /// Element stride of a channel of the output.
        y: isize,
    },
}

/// A depthwise convolution: `y[i, oh, ow, c] = sum x[i, h, w, c] * w[kh, kw, c]`, then bias[c],
/// residual (of y's own layout), clip, hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DepthwiseSpec {
    /// The family.
    pub isa: Isa,
    /// Geometry; its strides are those of the input.
    pub window: Window,
    /// Channels.
    pub channels: usize,
    /// Layout of input and output.
    pub order: ChannelOrder,
    /// Element strides of image, row and column of the output.
    pub y_strides: [isize; 3],
    /// Whether `bias[c]` is added.
    pub bias: bool,
    /// Whether a tensor of the output's layout is added.
    pub residual: bool,
    /// Bounds applied last; NaN stays NaN.
    pub clip: Option<(f32, f32)>,
    /// How the input is stored; as bf16 channels-last only.
    pub x_stored: Stored,
    /// How the output is stored; as bf16 channels-last, without residual and hook only.
    pub y_stored: Stored,
}

/// A checked depthwise convolution. Immutable; share it between threads.
#[derive(Clone, Debug)]
pub struct Depthwise {
    spec: DepthwiseSpec,
    /// Element offset of each column of taps in what the kernel reads.
    tap_cols: Vec<isize>,
    x_needed: usize,
    y_needed: usize,
}

/// The memory of one run, each a pointer and a length in elements.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseOperands {
    /// Input, stored as the descriptor says.
    pub x: (*const u8, usize),
    /// Filters: `[KH, KW, C]` for channels-last, `[C, KH, KW]` for channels-first.
    pub w: (*const f32, usize),
    /// Output, stored as the descriptor says.
    pub y: (*mut u8, usize),
    /// Bias, if the descriptor has one.
    pub bias: (*const f32, usize),
    /// Residual, if the descriptor has one.
    pub residual: (*const f32, usize),
    /// Called for finished parts: channels-last with rows = output columns from position `m0`
    /// and columns = channels, channels-first with one row `m0 = (image * C + c) * OH + oh` and
    /// columns = output columns.
    pub hook: Option<Hook>,
}

// SAFETY: plain pointers; `Depthwise::run` states who may touch what.
unsafe impl Send for DepthwiseOperands {}
// SAFETY: as above.
unsafe impl Sync for DepthwiseOperands {}

impl DepthwiseOperands {
    /// Operands of f32 without bias, residual and hook.
    pub fn new(x: &[f32], w: &[f32], y: &mut [f32]) -> Self {
        Self {
            x: (x.as_ptr().cast(), x.len()),
            w: (w.as_ptr(), w.len()),
            y: (y.as_mut_ptr().cast(), y.len()),
            bias: (std::ptr::null(), 0),
            residual: (std::ptr::null(), 0),
            hook: None,
        }
    }

    /// With this bias.
    pub fn with_bias(self, bias: &[f32]) -> Self {
        Self {
            bias: (bias.as_ptr(), bias.len()),
            ..self
        }
    }

    /// With this residual.
    pub fn with_residual(self, residual: &[f32]) -> Self {
        Self {
            residual: (residual.as_ptr(), residual.len()),
            ..self
        }
    }
}

impl Depthwise {
    /// Checks `spec`.
    ///
    /// # Errors
    /// [`KernelError`] if the family is not available or the geometry contradicts itself.
    pub fn new(spec: DepthwiseSpec) -> Result<Self, KernelError> {
        spec.isa.require()?;
        let w = &spec.window;
        let rows = w
            .images
            .checked_mul(w.out[0])
            .and_then(|r| r.checked_mul(w.out[1]));
        let rows = rows.ok_or_else(|| KernelError::spec("window", "too many positions"))?;
        check_window(w, rows)?;
        if rows == 0 || spec.channels == 0 {
            return Ok(Self {
                spec,
                tap_cols: Vec::new(),
                x_needed: 0,
                y_needed: 0,
            });
        }
        let (x_channel, y_channel) = match spec.order {
            ChannelOrder::Last => (1, 1),
            ChannelOrder::First { x, y } => (x, y),
        };
        if spec.order != ChannelOrder::Last && (w.strides[2] != 1 || spec.y_strides[2] != 1) {
            return Err(KernelError::spec(
                "strides",
                "channels-first columns must be adjacent",
            ));
        }
        let is_narrow = [spec.x_stored, spec.y_stored].contains(&Stored::Bf16);
        let is_out = spec.y_stored == Stored::Bf16;
        if is_narrow && spec.order != ChannelOrder::Last || is_out && spec.residual {
            let detail = "bf16 is for channels last, without a residual";
            return Err(KernelError::spec("stored", detail));
        }
        let extent = |sizes: [usize; 2], strides: [isize; 3], channel| {
            span(&[
                (w.images - 1, strides[0]),
                (sizes[0] - 1, strides[1]),
                (sizes[1] - 1, strides[2]),
                (spec.channels - 1, channel),
            ])
        };
        let x_needed = if w.input.contains(&0) {
            0
        } else {
            reach("x", &[extent(w.input, w.strides, x_channel)])?
        };
        let y_needed = reach("y", &[extent(w.out, spec.y_strides, y_channel)])?;
        let step = w.dilation[1] as isize * w.strides[2];
        let tap_cols = match spec.order {
            ChannelOrder::Last => (0..w.kernel[1] as isize).map(|kw| kw * step).collect(),
            ChannelOrder::First { .. } => first::tap_cols(w),
        };
        Ok(Self {
            spec,
            tap_cols,
            x_needed,
            y_needed,
        })
    }

    /// The descriptor.
    pub fn spec(&self) -> &DepthwiseSpec {
        &self.spec
    }

    /// Independent tasks: blocks of rows and channels (channels-last) or planes (channels-first).
    pub fn tasks(&self) -> usize {
        let w = &self.spec.window;
        if self.spec.channels == 0 || w.out.contains(&0) {
            return 0;
        }
        match self.spec.order {
            ChannelOrder::Last => last::tasks(&self.spec),
            ChannelOrder::First { .. } => w.images * self.spec.channels,
        }
    }

    /// Bytes of scratch that one worker needs; no alignment is asked for.
    pub fn scratch_bytes(&self) -> usize {
        match self.spec.order {
            ChannelOrder::Last => 0,
            ChannelOrder::First { .. } => first::plane_len(&self.spec.window) * 4 + 64,
        }
    }

    /// Floating-point operations of one run, padding taps counted.
    pub fn flops(&self) -> f64 {
        let w = &self.spec.window;
        [
            w.images,
            w.out[0],
            w.out[1],
            w.kernel[0],
            w.kernel[1],
            self.spec.channels,
        ]
        .iter()
        .fold(2.0, |product, &size| product * size as f64)
    }

    /// Runs `tasks` (out of `0..self.tasks()`) on this thread. Allocates nothing.
    ///
    /// # Errors
    /// [`KernelError::Short`] if an operand or the scratch is too short; nothing was written then.
    ///
    /// # Safety
    /// The pointers of `operands` are valid for their lengths for the time of the call; nobody else
    /// touches what these tasks write (different tasks write disjoint parts if `y_strides` map
    /// positions to disjoint elements); the output overlaps no other operand, except a residual at
    /// the same address.
    pub unsafe fn run(
        &self,
        operands: &DepthwiseOperands,
        tasks: Range<usize>,
        scratch: &mut [u8],
    ) -> Result<(), KernelError> {
        self.check_run(operands, &tasks)?;
        KernelError::check_len("scratch", self.scratch_bytes(), scratch.len())?;
        for task in tasks {
            // SAFETY: lengths were checked; the rest is the caller's.
            unsafe { self.run_task(operands, task, scratch.as_mut_ptr()) };
        }
        Ok(())
    }

    /// Runs every task on `pool`; `scratch` holds `pool.threads() * self.scratch_bytes()` bytes.
    ///
    /// # Errors
    /// As [`Depthwise::run`], and [`KernelError::Panicked`].
    ///
    /// # Safety
    /// As [`Depthwise::run`] for all tasks.
    pub unsafe fn run_on(
        &self,
        pool: &Pool,
        operands: &DepthwiseOperands,
        scratch: &mut [u8],
    ) -> Result<(), KernelError> {
        let each = self.scratch_bytes();
        self.check_run(operands, &(0..self.tasks()))?;
        KernelError::check_len("scratch", each * pool.threads(), scratch.len())?;
        let base = crate::gemm::SharedScratch(scratch.as_mut_ptr());
        pool.run(self.tasks(), |task, worker| {
            // SAFETY: lengths were checked; each worker has its own part of the scratch.
            unsafe { self.run_task(operands, task, base.at(worker * each)) };
        })
    }

    fn check_run(&self, o: &DepthwiseOperands, tasks: &Range<usize>) -> Result<(), KernelError> {
        if tasks.end > self.tasks() {
            let detail = format!("{tasks:?} of {}", self.tasks());
            return Err(KernelError::spec("tasks", detail));
        }
        let s = &self.spec;
        let filters = s.channels * s.window.kernel[0] * s.window.kernel[1];
        KernelError::check_len("x", self.x_needed, o.x.1)?;
        KernelError::check_len("w", filters, o.w.1)?;
        KernelError::check_len("y", self.y_needed, o.y.1)?;
        if s.bias {
            KernelError::check_len("bias", s.channels, o.bias.1)?;
        }
        if s.y_stored == Stored::Bf16 && o.hook.is_some() {
            return Err(KernelError::spec("hook", "the output is bf16"));
        }
        if s.residual {
            KernelError::check_len("residual", self.y_needed, o.residual.1)?;
        }
        Ok(())
    }

    /// # Safety
    /// As [`Depthwise::run`], after its checks.
    unsafe fn run_task(&self, o: &DepthwiseOperands, task: usize, scratch: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            match self.spec.order {
                ChannelOrder::Last => last::run_block(self, o, task),
                ChannelOrder::First { x, y } => {
                    let plane = scratch.add(scratch.align_offset(64).min(60)).cast();
                    first::run_plane(self, o, task, [x, y], plane);
                }
            }
        }
    }
}

/// Calls the hook on `rows x cols` elements of the output.
///
/// # Safety
/// The part of the output is live and exclusively ours.
unsafe fn call_hook(hook: &Hook, c: *mut f32, rows: &[isize], m0: usize, [n0, cols]: [usize; 2]) {
    let tile = EpilogueTile {
        c,
        row_offsets: rows.as_ptr(),
        m0,
        rows: rows.len(),
        n0,
        cols,
        batch: 0,
        out: 0,
        out_rows: rows.as_ptr(),
        user: hook.user,
    };
    // SAFETY: the caller vouches for the hook and the tile.
    unsafe { (hook.function)(&raw const tile) };
}

/// Turns `[C, KH, KW]` filters into the `[KH, KW, C]` that channels-last kernels read.
///
/// # Errors
/// [`KernelError::Short`] if a slice has fewer than `channels * taps` elements.
pub fn pack_depthwise(
    source: &[f32],
    channels: usize,
    taps: usize,
    out: &mut [f32],
) -> Result<(), KernelError> {
    let len = channels
        .checked_mul(taps)
        .ok_or_else(|| KernelError::spec("depthwise filters", "overflow"))?;
    KernelError::check_len("filters", len, source.len())?;
    KernelError::check_len("packed filters", len, out.len())?;
    for (tap, row) in out[..len].chunks_exact_mut(channels.max(1)).enumerate() {
        for (c, slot) in row.iter_mut().enumerate() {
            *slot = source[c * taps + tap];
        }
    }
    Ok(())
}
