//! Channels-first driver: one plane, padded and split by column phase in scratch.

use super::{Depthwise, DepthwiseOperands, call_hook, kernel};
use crate::gemm::Window;

/// Rows and columns of one phase of the padded plane, and how many phases there are.
pub(super) fn plane(w: &Window) -> (usize, usize, usize) {
    let reach =
        |i: usize| w.out[i].saturating_sub(1) * w.stride[i] + (w.kernel[i] - 1) * w.dilation[i] + 1;
    (reach(0), reach(1).div_ceil(w.stride[1]), w.stride[1])
}

/// Elements of scratch for one plane.
pub(super) fn plane_len(w: &Window) -> usize {
    let (rows, cols, phases) = plane(w);
    rows.saturating_mul(cols).saturating_mul(phases)
}

/// Offset of each column of taps in the padded plane: phase, then column of the phase.
pub(super) fn tap_cols(w: &Window) -> Vec<isize> {
    let (_, cols, phases) = plane(w);
    let at = |kw: usize| kw * w.dilation[1];
    (0..w.kernel[1])
        .map(|kw| (at(kw) % phases * cols + at(kw) / phases) as isize)
        .collect()
}

/// Computes plane `task` of `images * channels`.
///
/// # Safety
/// As `Depthwise::run`, after its checks; `scratch` holds `plane_len` elements.
pub(super) unsafe fn run_plane(
    plan: &Depthwise,
    o: &DepthwiseOperands,
    task: usize,
    channel_strides: [isize; 2],
    scratch: *mut f32,
) {
    let (spec, w) = (&plan.spec, &plan.spec.window);
    let (image, channel) = (task / spec.channels, task % spec.channels);
    let x = image as isize * w.strides[0] + channel as isize * channel_strides[0];
    let y = image as isize * spec.y_strides[0] + channel as isize * channel_strides[1];
    let (_, cols, phases) = plane(w);
    let row = cols * phases;
    let bias = if spec.bias {
        o.bias.0.wrapping_add(channel)
    } else {
        std::ptr::null()
    };
    let residual = if spec.residual {
        o.residual.0.wrapping_offset(y)
    } else {
        std::ptr::null()
    };
    let part = kernel::Part {
        x: scratch,
        x_step: (w.stride[0] * row) as isize,
        x_row: (w.dilation[0] * row) as isize,
        x_cols: plan.tap_cols.as_ptr(),
        w: o.w.0.wrapping_add(channel * w.kernel[0] * w.kernel[1]),
        w_taps: [w.kernel[1] as isize, 1],
        taps: w.kernel,
        y: o.y.0.cast::<f32>().wrapping_offset(y),
        y_step: spec.y_strides[1],
        bias,
        residual,
        clip: spec.clip,
    };
    // SAFETY: taps stay inside of the padded plane; the rest is the caller's.
    unsafe {
        let loops = kernel::loops(spec.isa);
        (loops.pad)(w, o.x.0.cast::<f32>().wrapping_offset(x), scratch);
        (loops.first)(&part, w.out[0], w.out[1]);
        if let Some(hook) = &o.hook {
            for oh in 0..w.out[0] {
                let rows = [y + oh as isize * spec.y_strides[1]];
                call_hook(
                    hook,
                    o.y.0.cast(),
                    &rows,
                    task * w.out[0] + oh,
                    [0, w.out[1]],
                );
            }
        }
    }
}
