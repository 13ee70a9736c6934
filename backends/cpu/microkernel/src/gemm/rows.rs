//! Row starts of A for the taps of one register tile, for elements of any type.

use crate::gemm::spec::{ARows, Window};

/// Rows of the tallest register tile of any family.
pub(crate) const ROWS_MAX: usize = 16;

/// Writes where each row of each tap begins, `out[tap][row]`, for `rows` rows from `first`. A tap
/// outside of the image begins at `outside`.
///
/// # Safety
/// `out` has room for `taps * rows` pointers, and `rows <= ROWS_MAX`.
pub(crate) unsafe fn fill_starts<T>(
    a_rows: &ARows,
    a: *const T,
    first: usize,
    rows: usize,
    outside: *const T,
    out: *mut *const T,
) {
    match a_rows {
        ARows::Affine { rows: map, taps } => {
            let mut offsets = [0isize; ROWS_MAX];
            map.fill(first, &mut offsets[..rows]);
            for (t, &tap) in taps.iter().enumerate() {
                for (r, &offset) in offsets[..rows].iter().enumerate() {
                    // SAFETY: the caller vouches for the room.
                    unsafe { out.add(t * rows + r).write(a.wrapping_offset(offset + tap)) };
                }
            }
        }
        ARows::Window(w) => {
            let (mut ow, rest) = (first % w.out[1], first / w.out[1]);
            let (mut oh, mut image) = (rest % w.out[0], rest / w.out[0]);
            for r in 0..rows {
                let a = a.wrapping_offset(image as isize * w.strides[0]);
                // SAFETY: the caller vouches for the room.
                unsafe { window_row(w, a, [oh, ow], outside, out.add(r), rows) };
                ow += 1;
                if ow == w.out[1] {
                    ow = 0;
                    oh += 1;
                    if oh == w.out[0] {
                        oh = 0;
                        image += 1;
                    }
                }
            }
        }
    }
}

/// Writes the start of each tap of one output position to `out[tap * rows]`.
///
/// # Safety
/// `out` has room for every tap.
unsafe fn window_row<T>(
    w: &Window,
    image: *const T,
    [oh, ow]: [usize; 2],
    outside: *const T,
    out: *mut *const T,
    rows: usize,
) {
    // Positions before the image wrap to huge ones, which are not below its size.
    let top = (oh * w.stride[0]).wrapping_sub(w.pad[0]);
    let left = (ow * w.stride[1]).wrapping_sub(w.pad[1]);
    let reach = |i: usize| (w.kernel[i] - 1) * w.dilation[i];
    let whole = |at: usize, i: usize| at < w.input[i] && at + reach(i) < w.input[i];
    let tap_row = w.dilation[0] as isize * w.strides[1];
    let tap_col = w.dilation[1] as isize * w.strides[2];
    let start = image
        .wrapping_offset((top as isize).wrapping_mul(w.strides[1]))
        .wrapping_offset((left as isize).wrapping_mul(w.strides[2]));
    let inside = whole(top, 0) && whole(left, 1);
    let mut out = out;
    for kh in 0..w.kernel[0] {
        let line = start.wrapping_offset(kh as isize * tap_row);
        let row_inside = top.wrapping_add(kh * w.dilation[0]) < w.input[0];
        for kw in 0..w.kernel[1] {
            let valid = inside || row_inside && left.wrapping_add(kw * w.dilation[1]) < w.input[1];
            let tap = if valid {
                line.wrapping_offset(kw as isize * tap_col)
            } else {
                outside
            };
            // SAFETY: the caller vouches for the room.
            unsafe { out.write(tap) };
            out = out.wrapping_add(rows);
        }
    }
}
