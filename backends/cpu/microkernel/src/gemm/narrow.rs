//! Finished sums that are stored as bf16.

use crate::{
    gemm::kernel::{Finish, Tile, finish_vector, load_lanes},
    isa::Isa,
    simd::Simd,
};

/// Sums of a part of C that are to be finished and stored.
pub(super) struct Narrow {
    /// Sums in memory, and elements from one row to the next.
    pub(super) sums: *const f32,
    pub(super) sums_row: usize,
    /// What is added first, if it is not null, with the offset of each row.
    pub(super) before: *const f32,
    pub(super) before_rows: *const isize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) finish: Option<Finish>,
    /// C at the first column, and the offset of each row.
    pub(super) c: *mut u16,
    pub(super) c_rows: *const isize,
}

impl Narrow {
    /// The sums of a tile; what the tile is added to is not.
    pub(super) fn of(
        (sums, sums_row): (*const f32, usize),
        tile: &Tile,
        finish: Option<Finish>,
    ) -> Self {
        Self {
            sums,
            sums_row,
            before: std::ptr::null(),
            before_rows: tile.c_rows,
            rows: 0,
            cols: tile.cols,
            finish,
            c: std::ptr::null_mut(),
            c_rows: std::ptr::null(),
        }
    }
}

/// # Safety (of the function)
/// The pointers are valid for the rows and columns, and the family that it was chosen for is
/// available.
pub(super) type NarrowFn = unsafe fn(&Narrow);

#[inline(always)]
unsafe fn narrow<S: Simd>(t: &Narrow) {
    for r in 0..t.rows {
        // SAFETY: the caller's.
        unsafe {
            let sums = t.sums.add(r * t.sums_row);
            let before = match t.before.is_null() {
                true => t.before,
                false => t.before.offset(t.before_rows.add(r).read()),
            };
            let c = t.c.offset(t.c_rows.add(r).read());
            for first in (0..t.cols).step_by(S::LANES) {
                let lanes = (t.cols - first).min(S::LANES);
                let mut x = load_lanes::<S>(sums.add(first), lanes);
                if !before.is_null() {
                    x = S::add(load_lanes::<S>(before.add(first), lanes), x);
                }
                if let Some(finish) = &t.finish {
                    x = finish_vector::<S>(finish, x, r, first, lanes);
                }
                S::store_bf16(c.add(first), x, lanes);
            }
        }
    }
}

/// The function for a family.
pub(super) fn narrower(isa: Isa) -> NarrowFn {
    unsafe fn portable(t: &Narrow) {
        // SAFETY: the caller's.
        unsafe { narrow::<crate::simd::Portable>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    unsafe fn wide(t: &Narrow) {
        // SAFETY: the caller's.
        unsafe { narrow::<crate::simd::Avx512>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
    unsafe fn native(t: &Narrow) {
        // SAFETY: the caller's.
        unsafe { narrow::<crate::simd::Avx512Bf16>(t) }
    }
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Amx => native,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => wide,
        _ => portable,
    }
}
