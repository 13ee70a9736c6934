//! What a register tile of [`ByteOperands`] means, by vectors: for families without tiles whose
//! vectors are as long as a row of one.
//!
//! Rows of A were copied next to one another, as unsigned bytes, so that each is at a constant
//! distance from one pointer: a step of four of K is two loads of B, and for each row a broadcast
//! and two products.

use super::dot::Dot;
use crate::{
    amx::{SIDE, TILE_LINE, bytes::ByteOperands},
    gemm::fetch,
};

/// Rows whose sums are in registers at once.
const ROWS_MAX: usize = 12;
/// Groups of four K in a line of A.
const GROUPS: usize = TILE_LINE / 4;
/// Bytes of B of such a group.
const GROUP_BYTES: usize = 4 * SIDE;

pub(super) type StripFn = unsafe fn(&ByteOperands);

/// Multiplies the rows and columns that there are, in parts of nearly as many rows.
///
/// # Safety
/// The operands are valid; the CPU has the instruction set, with vectors of sixteen words.
#[inline(always)]
pub(super) unsafe fn strip<D: Dot>(o: &ByteOperands) {
    const { assert!(2 * D::LANES == SIDE) };
    let parts = o.rows.div_ceil(ROWS_MAX).max(1);
    // What comes next of B is fetched by all parts of all register tiles together.
    let ahead = GROUP_BYTES.div_ceil(parts * o.shares.max(1));
    let mut o = *o;
    for part in 0..parts {
        let (row, end) = (o.rows * part / parts, o.rows * (part + 1) / parts);
        // SAFETY: the caller's; the rows are among those that there are.
        unsafe {
            match o.cols > D::LANES {
                true => by_rows::<D, 2>(&o, row, end - row, ahead),
                false => by_rows::<D, 1>(&o, row, end - row, ahead),
            }
        }
        o.next = o.next.wrapping_add(o.steps * GROUPS * ahead);
    }
}

/// # Safety
/// As [`strip`].
#[inline(always)]
unsafe fn by_rows<D: Dot, const NV: usize>(
    o: &ByteOperands,
    row: usize,
    rows: usize,
    ahead: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        match rows {
            1 => sums::<D, 1, NV>(o, row, ahead),
            2 => sums::<D, 2, NV>(o, row, ahead),
            3 => sums::<D, 3, NV>(o, row, ahead),
            4 => sums::<D, 4, NV>(o, row, ahead),
            5 => sums::<D, 5, NV>(o, row, ahead),
            6 => sums::<D, 6, NV>(o, row, ahead),
            7 => sums::<D, 7, NV>(o, row, ahead),
            8 => sums::<D, 8, NV>(o, row, ahead),
            9 => sums::<D, 9, NV>(o, row, ahead),
            10 => sums::<D, 10, NV>(o, row, ahead),
            11 => sums::<D, 11, NV>(o, row, ahead),
            ROWS_MAX => sums::<D, ROWS_MAX, NV>(o, row, ahead),
            _ => {}
        }
    }
}

/// The sums of `MR` rows from `row` on. So many bytes of what comes next are fetched for each
/// group.
///
/// # Safety
/// As [`strip`].
#[inline(always)]
unsafe fn sums<D: Dot, const MR: usize, const NV: usize>(
    o: &ByteOperands,
    row: usize,
    ahead: usize,
) {
    let begin = |r: usize| {
        let row = o.begin.cast::<u8>().wrapping_add((row + r) * o.begin_apart);
        row.cast::<i32>()
    };
    let out = |r: usize| {
        let row = o.out.cast::<u8>().wrapping_add((row + r) * o.out_apart);
        row.cast::<i32>()
    };
    // SAFETY: the caller's.
    unsafe {
        let mut acc = [[D::splat(0); NV]; MR];
        for (r, acc) in acc.iter_mut().enumerate() {
            for (v, acc) in acc.iter_mut().enumerate() {
                *acc = D::load(begin(r).add(v * D::LANES));
            }
        }
        let mut a = o.a.add(row * TILE_LINE);
        let (mut b, mut next) = (o.b, o.next);
        for step in 0..o.steps {
            for group in 0..(o.groups - step * GROUPS).min(GROUPS) {
                fetch(next);
                next = next.wrapping_add(ahead);
                let mut of_b = [D::splat(0); NV];
                for (v, slot) in of_b.iter_mut().enumerate() {
                    *slot = D::load(b.add(v * 4 * D::LANES).cast());
                }
                b = b.add(GROUP_BYTES);
                for (r, acc) in acc.iter_mut().enumerate() {
                    let words = a.add(r * TILE_LINE + 4 * group).cast::<i32>();
                    let x = D::splat(words.read_unaligned());
                    for (acc, of_b) in acc.iter_mut().zip(of_b) {
                        *acc = D::dot(*acc, x, of_b);
                    }
                }
            }
            a = a.add(SIDE * TILE_LINE);
        }
        for (r, acc) in acc.iter().enumerate() {
            for (v, &acc) in acc.iter().enumerate() {
                D::store(out(r).add(v * D::LANES), acc);
            }
        }
    }
}
