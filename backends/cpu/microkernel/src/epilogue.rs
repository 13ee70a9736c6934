//! What happens to a finished tile while it is still in the first-level cache.

use std::ffi::c_void;

/// The tile that a hook is called with. `T` of `*mut T` is f32 for the float product and i32 for
/// the integer one. Offsets and counts are in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EpilogueTile<T = f32> {
    /// Element `(0, 0)` of the tile is at `c + row_offsets[0]`; columns are adjacent.
    pub c: *mut T,
    /// Offset of each of the `rows` rows from `c`.
    pub row_offsets: *const isize,
    /// First row of the tile in the whole product.
    pub m0: usize,
    /// Rows of the tile, at least 1.
    pub rows: usize,
    /// First column of the tile in the whole product.
    pub n0: usize,
    /// Columns of the tile, at least 1.
    pub cols: usize,
    /// Entry of the batch.
    pub batch: usize,
    /// Where the tile belongs, for a hook that stores: row `r` and column `n` of it is element
    /// `out + out_rows[r] + (n0 + n) * step` of C, `step` being the distance of columns there.
    pub out: isize,
    /// Offset of each of the rows in C; see `out`.
    pub out_rows: *const isize,
    /// The caller's own pointer, from [`Hook::user`].
    pub user: *mut c_void,
}

/// A function that finishes one tile in place (or stores it, with `CStore::ByHook`).
///
/// It is called exactly once for each element of C, from any worker, in no fixed order; tile
/// shapes are not part of the contract. It must not unwind.
pub type EpilogueFn<T = f32> = unsafe extern "C" fn(tile: *const EpilogueTile<T>);

/// A hook and its context.
#[derive(Clone, Copy, Debug)]
pub struct Hook<T = f32> {
    /// The function.
    pub function: EpilogueFn<T>,
    /// Handed through; must be usable from every worker at once.
    pub user: *mut c_void,
}
