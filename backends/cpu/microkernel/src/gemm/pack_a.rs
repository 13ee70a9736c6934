//! Packing of A in tile order, for rows or K strides that the caches dislike.

use std::ops::Range;

use crate::{
    gemm::plan::ZERO_ROW,
    isa::Isa,
    transpose::{eight_by_eight, is_eight_by_eight},
};

/// What a tap outside of an image points to.
pub(super) static ZEROS: [f32; ZERO_ROW] = [0.0; ZERO_ROW];

/// Writes `out[k][row]` for one tap of one tile.
///
/// # Safety
/// Every start that is not `ZEROS` is valid at `k * stride`; `out` has room; the family is
/// available.
pub(super) unsafe fn pack_rows(
    isa: Isa,
    from: &[*const f32],
    stride: isize,
    k: &Range<usize>,
    out: *mut f32,
) {
    let rows = from.len();
    let first = k.start as isize * stride;
    let zeros = ZEROS.as_ptr();
    let adjacent = from
        .iter()
        .enumerate()
        .all(|(r, &start)| start == from[0].wrapping_add(r));
    // SAFETY: the caller vouches for the reads and the room.
    unsafe {
        if adjacent && !from.contains(&zeros) {
            let mut source = from[0].wrapping_offset(first);
            for i in 0..k.len() {
                copy_row(source, out.add(i * rows), rows);
                source = source.wrapping_offset(stride);
            }
            return;
        }
        // Blocks of eight; the last eight rows overlap the first where rows are no multiple.
        let mut done = 0;
        if stride == 1 && rows >= 8 && is_eight_by_eight(isa) && k.end <= ZERO_ROW {
            done = k.len() / 8 * 8;
            for i in (0..done).step_by(8) {
                for r in [0, rows - 8] {
                    let starts = std::array::from_fn(|j| from[r + j].wrapping_add(k.start + i));
                    eight_by_eight(starts, out.add(i * rows + r), rows as isize);
                }
            }
        }
        for (r, &start) in from.iter().enumerate() {
            let outside = start == zeros;
            let mut source = start.wrapping_offset(first + done as isize * stride);
            for i in done..k.len() {
                let x = if outside { 0.0 } else { source.read() };
                out.add(i * rows + r).write(x);
                source = source.wrapping_offset(stride);
            }
        }
    }
}

/// Copies `rows <= 16` elements without a call.
///
/// # Safety
/// Both are valid for `rows` elements and do not overlap.
#[inline(always)]
unsafe fn copy_row(from: *const f32, to: *mut f32, rows: usize) {
    // SAFETY: the caller's; the last eight (four) overlap the first.
    unsafe {
        if rows >= 8 {
            for at in [0, rows - 8] {
                let eight = from.add(at).cast::<[f32; 8]>().read_unaligned();
                to.add(at).cast::<[f32; 8]>().write_unaligned(eight);
            }
        } else {
            for r in 0..rows {
                to.add(r).write(from.add(r).read());
            }
        }
    }
}
