//! Channels-last driver: blocks of rows and channels; a row is cut into the columns whose taps are
//! all inside of the image, and single others.

use super::{Depthwise, DepthwiseOperands, DepthwiseSpec, call_hook, element::Element, kernel};
use crate::{epilogue::Hook, gemm::Stored};

/// Output columns that one hook call covers.
const HOOK_COLUMNS: usize = 16;

/// Taps `k` of `0..kernel` with `start + k * dilation` inside of `0..size`.
pub(crate) fn inside(start: isize, kernel: usize, dilation: usize, size: usize) -> [usize; 2] {
    let (d, size) = (dilation as isize, size as isize);
    let low = if start < 0 { (-start + d - 1) / d } else { 0 };
    let high = if start >= size {
        0
    } else {
        (size - start + d - 1) / d
    };
    let high = high.clamp(0, kernel as isize);
    [low.min(high) as usize, high as usize]
}

/// Output rows of a block: the input rows that neighbours share stay in the first-level cache.
const BLOCK_ROWS: usize = 8;
/// Channels of a block; whole vectors of every family.
const BLOCK_CHANNELS: usize = 128;
/// Channels that are swept over the rows of a block before the next.
const SWEEP_CHANNELS: usize = 32;

/// Blocks of rows of one image, and blocks of channels.
fn blocks(spec: &DepthwiseSpec) -> [usize; 2] {
    [
        spec.window.out[0].div_ceil(BLOCK_ROWS),
        spec.channels.div_ceil(BLOCK_CHANNELS),
    ]
}

/// Tasks: images by blocks of rows by blocks of channels.
pub(super) fn tasks(spec: &DepthwiseSpec) -> usize {
    let [rows, channels] = blocks(spec);
    spec.window.images * rows * channels
}

/// Computes one block of rows and channels of one image.
///
/// # Safety
/// As `Depthwise::run`, after its checks.
pub(super) unsafe fn run_block(plan: &Depthwise, o: &DepthwiseOperands, task: usize) {
    let spec = &plan.spec;
    let [row_blocks, channel_blocks] = blocks(spec);
    let (rest, block) = (task / channel_blocks, task % channel_blocks);
    let (image, row_block) = (rest / row_blocks, rest % row_blocks);
    let height = spec.window.out[0];
    let rows = height * row_block / row_blocks..height * (row_block + 1) / row_blocks;
    let end = ((block + 1) * BLOCK_CHANNELS).min(spec.channels);
    for c in (block * BLOCK_CHANNELS..end).step_by(SWEEP_CHANNELS) {
        let lanes = (end - c).min(SWEEP_CHANNELS);
        let loops = kernel::loops(spec.isa);
        for oh in rows.clone() {
            let at = [image, oh];
            // SAFETY: the caller's.
            unsafe {
                match (spec.x_stored, spec.y_stored) {
                    (Stored::F32, Stored::F32) => run_row(plan, o, loops.last, at, c, lanes),
                    (Stored::Bf16, Stored::F32) => run_row(plan, o, loops.last_in, at, c, lanes),
                    (Stored::F32, Stored::Bf16) => run_row(plan, o, loops.last_out, at, c, lanes),
                    (Stored::Bf16, Stored::Bf16) => run_row(plan, o, loops.last_both, at, c, lanes),
                }
            }
        }
    }
    if let Some(hook) = &o.hook {
        let c = block * BLOCK_CHANNELS;
        for oh in rows {
            // SAFETY: this task's own part of the output.
            unsafe { hook_row(spec, o, hook, [image, oh], [c, end - c]) };
        }
    }
}

/// Computes `lanes` channels from `c` of one output row.
///
/// # Safety
/// As `Depthwise::run`, after its checks.
unsafe fn run_row<X: Element, Y: Element>(
    plan: &Depthwise,
    o: &DepthwiseOperands,
    run: kernel::RunFn<X, Y>,
    [image, oh]: [usize; 2],
    c: usize,
    lanes: usize,
) {
    let (spec, w) = (&plan.spec, &plan.spec.window);
    let top = (oh * w.stride[0]) as isize - w.pad[0] as isize;
    let rows = inside(top, w.kernel[0], w.dilation[0], w.input[0]);
    let channels = spec.channels as isize;
    let y_row = image as isize * spec.y_strides[0] + oh as isize * spec.y_strides[1] + c as isize;
    let x_row = image as isize * w.strides[0]
        + (top + (rows[0] * w.dilation[0]) as isize) * w.strides[1]
        + c as isize;
    let w_row = (rows[0] * w.kernel[1]) as isize * channels + c as isize;
    let part = |ow: usize, cols: [usize; 2]| {
        let left = (ow * w.stride[1]) as isize - w.pad[1] as isize;
        let y = y_row + ow as isize * spec.y_strides[2];
        let bias = if spec.bias {
            o.bias.0.wrapping_add(c)
        } else {
            std::ptr::null()
        };
        let residual = if spec.residual {
            o.residual.0.wrapping_offset(y)
        } else {
            std::ptr::null()
        };
        kernel::Part {
            x: o.x
                .0
                .cast::<X>()
                .wrapping_offset(x_row + left * w.strides[2]),
            x_step: w.stride[1] as isize * w.strides[2],
            x_row: w.dilation[0] as isize * w.strides[1],
            x_cols: plan.tap_cols[cols[0]..].as_ptr(),
            w: o.w.0.wrapping_offset(w_row + cols[0] as isize * channels),
            w_taps: [w.kernel[1] as isize * channels, channels],
            taps: [rows[1] - rows[0], cols[1] - cols[0]],
            y: o.y.0.cast::<Y>().wrapping_offset(y),
            y_step: spec.y_strides[2],
            bias,
            residual,
            clip: spec.clip,
        }
    };
    // Columns from `first` to `last` see every tap: they are computed together.
    let reach = (w.kernel[1] - 1) * w.dilation[1] + 1;
    let first = w.pad[1].div_ceil(w.stride[1]);
    let last = match (w.input[1] + w.pad[1]).checked_sub(reach) {
        Some(room) => (room / w.stride[1] + 1).min(w.out[1]),
        None => 0,
    };
    let mut ow = 0;
    while ow < w.out[1] {
        let left = (ow * w.stride[1]) as isize - w.pad[1] as isize;
        let cols = inside(left, w.kernel[1], w.dilation[1], w.input[1]);
        let end = if ow >= first && ow < last {
            last
        } else {
            ow + 1
        };
        // SAFETY: taps were cut to the image; the rest is the caller's.
        unsafe { run(&part(ow, cols), end - ow, lanes) };
        ow = end;
    }
}

/// Calls the hook on `channels` (first, count) of one output row.
///
/// # Safety
/// The part of the output is exclusively ours.
unsafe fn hook_row(
    spec: &DepthwiseSpec,
    o: &DepthwiseOperands,
    hook: &Hook,
    [image, oh]: [usize; 2],
    channels: [usize; 2],
) {
    let width = spec.window.out[1];
    let row =
        image as isize * spec.y_strides[0] + oh as isize * spec.y_strides[1] + channels[0] as isize;
    for ow in (0..width).step_by(HOOK_COLUMNS) {
        let rows = (width - ow).min(HOOK_COLUMNS);
        let offsets: [isize; HOOK_COLUMNS] =
            std::array::from_fn(|r| row + (ow + r) as isize * spec.y_strides[2]);
        let m0 = (image * spec.window.out[0] + oh) * width + ow;
        // SAFETY: the caller's.
        unsafe { call_hook(hook, o.y.0.cast(), &offsets[..rows], m0, channels) };
    }
}
