//! Finished sums that are stored as bf16.

use crate::{
    gemm::{
        kernel::{Finish, Tile, by_column, finish_vector, load_lanes},
        spec::Stored,
    },
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

/// The residual of what is finished.
const NONE: u8 = 0;
const OF_F32: u8 = 1;
const OF_BF16: u8 = 2;

#[inline(always)]
unsafe fn narrow<S: Simd>(t: &Narrow) {
    let residual = match &t.finish {
        Some(finish) if !finish.bias_m.is_null() => None,
        Some(finish) if !finish.residual.is_null() => match finish.residual_stored {
            Stored::F32 => (finish.residual_n == 1).then_some(OF_F32),
            Stored::Bf16 => Some(OF_BF16),
        },
        _ => Some(NONE),
    };
    let mut done = 0;
    if let Some(residual) = residual.filter(|_| t.before.is_null()) {
        while t.cols - done >= 2 * S::LANES {
            // SAFETY: the caller's.
            unsafe {
                match residual {
                    OF_F32 => narrow_cols::<S, OF_F32>(t, done),
                    OF_BF16 => narrow_cols::<S, OF_BF16>(t, done),
                    _ => narrow_cols::<S, NONE>(t, done),
                }
            }
            done += 2 * S::LANES;
        }
    }
    if done == t.cols {
        return;
    }
    for r in 0..t.rows {
        // SAFETY: the caller's.
        unsafe {
            let sums = t.sums.add(r * t.sums_row);
            let before = match t.before.is_null() {
                true => t.before,
                false => t.before.offset(t.before_rows.add(r).read()),
            };
            let c = t.c.offset(t.c_rows.add(r).read());
            for first in (done..t.cols).step_by(S::LANES) {
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

/// Two whole vectors of each row, with no bias for each row.
///
/// # Safety
/// As [`NarrowFn`].
#[inline(always)]
unsafe fn narrow_cols<S: Simd, const RESIDUAL: u8>(t: &Narrow, first: usize) {
    // SAFETY: the caller's.
    unsafe {
        let (bias, low, high) = by_column::<S, 2>(t.finish.as_ref(), first);
        let (residual, residual_rows) = match &t.finish {
            Some(finish) if RESIDUAL != NONE => (finish.residual, finish.residual_rows),
            _ => (std::ptr::null(), std::ptr::null()),
        };
        for r in 0..t.rows {
            let c = t.c.offset(t.c_rows.add(r).read()).add(first);
            for (v, &bias) in bias.iter().enumerate() {
                let col = first + v * S::LANES;
                let mut x = S::add(S::load(t.sums.add(r * t.sums_row + col)), bias);
                if RESIDUAL != NONE {
                    let at = residual_rows.add(r).read() + col as isize;
                    x = S::add(
                        x,
                        match RESIDUAL {
                            OF_F32 => S::load(residual.offset(at)),
                            _ => S::load_bf16(residual.cast::<u16>().offset(at), S::LANES),
                        },
                    );
                }
                S::store_bf16(c.add(v * S::LANES), S::min(high, S::max(low, x)), S::LANES);
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
