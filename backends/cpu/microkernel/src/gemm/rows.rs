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
        ARows::Window(window) => {
            for r in 0..rows {
                // SAFETY: the caller vouches for the room.
                unsafe { window_row(window, a, first + r, outside, out.add(r), rows) };
            }
        }
    }
}

/// Writes the start of each tap of output position `row` to `out[tap * rows]`.
///
/// # Safety
/// `out` has room for every tap.
unsafe fn window_row<T>(
    w: &Window,
    a: *const T,
    row: usize,
    outside: *const T,
    out: *mut *const T,
    rows: usize,
) {
    let (rest, ow) = (row / w.out[1], row % w.out[1]);
    let (image, oh) = (rest / w.out[0], rest % w.out[0]);
    let image = a.wrapping_offset(image as isize * w.strides[0]);
    let (top, left) = (oh * w.stride[0], ow * w.stride[1]);
    let mut tap = 0;
    for kh in 0..w.kernel[0] {
        let h = (top + kh * w.dilation[0]).wrapping_sub(w.pad[0]);
        for kw in 0..w.kernel[1] {
            let x = (left + kw * w.dilation[1]).wrapping_sub(w.pad[1]);
            let start = if h < w.input[0] && x < w.input[1] {
                image.wrapping_offset(h as isize * w.strides[1] + x as isize * w.strides[2])
            } else {
                outside
            };
            // SAFETY: the caller vouches for the room.
            unsafe { out.add(tap * rows).write(start) };
            tap += 1;
        }
    }
}
