//! Channels-last driver: one output row, cut into columns whose taps are all inside and others.

use super::{Depthwise, DepthwiseOperands, call_hook, kernel};

/// Output columns that one hook call covers.
const HOOK_COLUMNS: usize = 16;

/// Taps `k` of `0..kernel` with `start + k * dilation` inside of `0..size`.
pub(super) fn inside(start: isize, kernel: usize, dilation: usize, size: usize) -> [usize; 2] {
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

/// Computes output row `task` of `images * out[0]`.
///
/// # Safety
/// As `Depthwise::run`, after its checks.
pub(super) unsafe fn run_row(plan: &Depthwise, o: &DepthwiseOperands, task: usize) {
    let spec = &plan.spec;
    let w = &spec.window;
    let (image, oh) = (task / w.out[0], task % w.out[0]);
    let run = kernel::loops(spec.isa).0;
    let top = (oh * w.stride[0]) as isize - w.pad[0] as isize;
    let rows = inside(top, w.kernel[0], w.dilation[0], w.input[0]);
    let channels = spec.channels as isize;
    let y_row = image as isize * spec.y_strides[0] + oh as isize * spec.y_strides[1];
    let x_row =
        image as isize * w.strides[0] + (top + (rows[0] * w.dilation[0]) as isize) * w.strides[1];
    let w_row = (rows[0] * w.kernel[1]) as isize * channels;
    let part = |ow: usize, cols: [usize; 2]| {
        let left = (ow * w.stride[1]) as isize - w.pad[1] as isize;
        let y = y_row + ow as isize * spec.y_strides[2];
        kernel::Part {
            x: o.x.0.wrapping_offset(x_row + left * w.strides[2]),
            x_step: w.stride[1] as isize * w.strides[2],
            x_row: w.dilation[0] as isize * w.strides[1],
            x_cols: plan.tap_cols[cols[0]..].as_ptr(),
            w: o.w.0.wrapping_offset(w_row + cols[0] as isize * channels),
            w_taps: [w.kernel[1] as isize * channels, channels],
            taps: [rows[1] - rows[0], cols[1] - cols[0]],
            y: o.y.0.wrapping_offset(y),
            y_step: spec.y_strides[2],
            bias: if spec.bias {
                o.bias.0
            } else {
                std::ptr::null()
            },
            residual: if spec.residual {
                o.residual.0.wrapping_offset(y)
            } else {
                std::ptr::null()
            },
            clip: spec.clip,
        }
    };
    let columns = |ow: usize| {
        let left = (ow * w.stride[1]) as isize - w.pad[1] as isize;
        inside(left, w.kernel[1], w.dilation[1], w.input[1])
    };
    let mut ow = 0;
    while ow < w.out[1] {
        let cols = columns(ow);
        // Neighbours that see the same taps are computed together.
        let mut end = ow + 1;
        let whole = cols == [0, w.kernel[1]];
        if whole {
            let reach = (w.kernel[1] - 1) * w.dilation[1] + 1;
            let last = (w.input[1] + w.pad[1]).saturating_sub(reach) / w.stride[1];
            end = (last + 1).clamp(ow + 1, w.out[1]);
        }
        // SAFETY: taps were cut to the image; the rest is the caller's.
        unsafe { run(&part(ow, cols), end - ow, spec.channels) };
        ow = end;
    }
    if let Some(hook) = &o.hook {
        for ow in (0..w.out[1]).step_by(HOOK_COLUMNS) {
            let rows = (w.out[1] - ow).min(HOOK_COLUMNS);
            let offsets: [isize; HOOK_COLUMNS] =
                std::array::from_fn(|r| y_row + (ow + r) as isize * spec.y_strides[2]);
            let m0 = task * w.out[1] + ow;
            // SAFETY: this task's own part of the output.
            unsafe { call_hook(hook, o.y.0, &offsets[..rows], m0, spec.channels) };
        }
    }
}
