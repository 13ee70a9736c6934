//! The f32 register tile: MR rows by NV vectors, over taps and K, with the in-register epilogue.
//!
//! One generic body; each instruction set gets it inlined into functions that enable the set. The
//! inner loop keeps one pointer for each row and a single index that all rows share, so that any
//! row table and any K stride cost the same.

use crate::{
    gemm::{
        deliver::{DeliverFn, deliver},
        spec::Stored,
        stream::{STREAMS, stream},
    },
    isa::Isa,
    simd::Simd,
};

/// One register tile of work.
pub(super) struct Tile {
    /// `[tap][row]` start of each row; `tap_rows` entries from one tap to the next.
    pub(super) a: *const *const f32,
    pub(super) tap_rows: usize,
    /// Elements from the row starts in `a` to the first K of this block.
    pub(super) a_first: isize,
    pub(super) a_k_stride: isize,
    pub(super) taps: usize,
    pub(super) k: usize,
    /// Packed B at the first tap and K of this block; `b_tap` elements between taps.
    pub(super) b: *const f32,
    pub(super) b_tap: usize,
    /// Elements between panels, for tiles of several.
    pub(super) b_panel: usize,
    /// What is read next of B, to be fetched meanwhile, and how many bytes of it for each K.
    pub(super) next: *const f32,
    pub(super) ahead: usize,
    /// C at the first column of this tile; rows at `c_rows[r]`.
    pub(super) c: *mut f32,
    pub(super) c_rows: *const isize,
    /// Valid columns, `1..=nr` of each panel.
    pub(super) cols: usize,
    /// Whether the value in C is added.
    pub(super) add: bool,
    /// Present on the last K block.
    pub(super) finish: Option<Finish>,
}

impl Tile {
    /// Nothing: what a tile that has only some of the fields begins with.
    pub(super) fn empty() -> Self {
        Self {
            a: std::ptr::null(),
            tap_rows: 0,
            a_first: 0,
            a_k_stride: 0,
            taps: 0,
            k: 0,
            b: std::ptr::null(),
            b_tap: 0,
            b_panel: 0,
            next: std::ptr::null(),
            ahead: 0,
            c: std::ptr::null_mut(),
            c_rows: std::ptr::null(),
            cols: 0,
            add: false,
            finish: None,
        }
    }
}

/// The built-in epilogue of a finished tile; null pointers mean absence.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    /// Bias at the first column.
    pub(super) bias_n: *const f32,
    /// Bias at the first row.
    pub(super) bias_m: *const f32,
    /// Residual at the first column; rows at `residual_rows[r]`, columns `residual_n` apart: 1, if
    /// it is stored as bf16.
    pub(super) residual: *const f32,
    pub(super) residual_stored: Stored,
    pub(super) residual_rows: *const isize,
    pub(super) residual_n: isize,
    pub(super) clip: Option<(f32, f32)>,
}

/// Computes one tile.
pub(super) type TileFn = unsafe fn(&Tile);

/// The kernels of one family: index `[nv - 1][mr - 1]`.
pub(super) struct Family {
    pub(super) mr: usize,
    pub(super) lanes: usize,
    tiles: [&'static [TileFn]; 2],
    /// For products of at most `deep.len()` rows: K split over independent chains.
    deep: &'static [TileFn],
    /// For wide products of at most `streams.len()` rows: 1, 2 or [`STREAMS`] panels at once.
    streams: &'static [[TileFn; 3]],
    pub(super) deliver: DeliverFn,
}

impl Family {
    /// The kernel for `rows` rows and `cols` columns; `shallow` when the whole product has that few
    /// rows that K must be split to fill the pipelines.
    pub(super) fn tile(&self, rows: usize, cols: usize, shallow: bool) -> TileFn {
        if shallow && rows <= self.deep.len() {
            return self.deep[rows - 1];
        }
        self.tiles[usize::from(cols > self.lanes)][rows - 1]
    }

    /// The kernels for several panels at once, where the whole product has so few rows and so many
    /// panels that they pay.
    pub(super) fn streaming(&self, rows: usize, panels: usize) -> Option<&'static [TileFn; 3]> {
        let kernels = self.streams.get(rows.wrapping_sub(1));
        kernels.filter(|_| panels >= 2 * STREAMS)
    }

    /// Whole products of at most this many rows take the split-K kernels.
    pub(super) fn shallow_rows(&self) -> usize {
        self.deep.len()
    }
}

/// Loads a vector that has `lanes` valid elements (none if zero).
#[inline(always)]
pub(super) unsafe fn load_lanes<S: Simd>(p: *const f32, lanes: usize) -> S::V {
    // SAFETY: the caller vouches for `lanes` elements.
    unsafe {
        if lanes >= S::LANES {
            S::load(p)
        } else {
            S::load_partial(p, lanes)
        }
    }
}

/// Loads `lanes` elements that are `stride` apart.
#[inline(always)]
unsafe fn load_strided<S: Simd>(p: *const f32, stride: isize, lanes: usize) -> S::V {
    let mut buffer = [0f32; 16];
    for (i, slot) in buffer.iter_mut().enumerate().take(lanes.min(S::LANES)) {
        // SAFETY: the caller vouches for `lanes` elements at this stride.
        *slot = unsafe { p.offset(i as isize * stride).read() };
    }
    // SAFETY: the buffer has 16 elements, and no vector is longer.
    unsafe { S::load(buffer.as_ptr()) }
}

/// The tile with `CHAINS` independent sums over K (1 unless the product has very few rows).
#[inline(always)]
unsafe fn tile<S: Simd, const MR: usize, const NV: usize, const CHAINS: usize>(t: &Tile) {
    // SAFETY: the caller vouches for every pointer in the tile and for the instruction set.
    unsafe {
        let nr = 2 * S::LANES;
        let mut acc = [[[S::splat(0.0); NV]; MR]; CHAINS];
        let mut next = t.next;
        for tap in 0..t.taps {
            let starts = t.a.add(tap * t.tap_rows);
            let mut rows = [std::ptr::null::<f32>(); MR];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = starts.add(r).read();
            }
            let mut b = t.b.add(tap * t.b_tap);
            let mut index = t.a_first;
            let mut left = t.k;
            while left >= CHAINS {
                if CHAINS == 1 {
                    fetch(next);
                    next = next.wrapping_byte_add(t.ahead);
                }
                for chain in acc.iter_mut() {
                    step::<S, MR, NV>(chain, &rows, index, |v| b.add(v * S::LANES));
                    b = b.add(nr);
                    index = advanced(index, t.a_k_stride);
                }
                left -= CHAINS;
            }
            if CHAINS > 1 {
                while left > 0 {
                    step::<S, MR, NV>(&mut acc[0], &rows, index, |v| b.add(v * S::LANES));
                    b = b.add(nr);
                    index = advanced(index, t.a_k_stride);
                    left -= 1;
                }
            }
        }
        let mut sum = acc[0];
        for chain in &acc[1..] {
            for r in 0..MR {
                for v in 0..NV {
                    sum[r][v] = S::add(sum[r][v], chain[r][v]);
                }
            }
        }
        write::<S, MR, NV>(t, sum);
    }
}

/// `index + by`, of which the compiler may think nothing. Otherwise it advances the pointer of each
/// row by itself: twice the instructions of a K step, and most of these pointers lie in memory.
#[inline(always)]
pub(crate) fn advanced(index: isize, by: isize) -> isize {
    let mut next = index + by;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    // SAFETY: there is no instruction.
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) next, options(nomem, nostack, preserves_flags));
    }
    next
}

/// Asks for a line of memory, whatever the address.
#[inline(always)]
pub(crate) fn fetch<T>(from: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(from.cast());
    }
    let _ = from;
}

/// One K step: `acc[r][v] += A[r] * B[v]`, with vector `v` of B at `b(v)`.
///
/// # Safety
/// The rows are valid at `index`, the vectors of B for reads; the CPU has the instruction set.
#[inline(always)]
pub(super) unsafe fn step<S: Simd, const MR: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; MR],
    rows: &[*const f32; MR],
    index: isize,
    b: impl Fn(usize) -> *const f32,
) {
    // SAFETY: the caller vouches for the rows at `index` and for one packed row of B.
    unsafe {
        let mut bv = [S::splat(0.0); NV];
        for (v, slot) in bv.iter_mut().enumerate() {
            *slot = S::load(b(v));
        }
        for r in 0..MR {
            // `wrapping`: a row start may lie outside of the block when `a_first` is not zero.
            let x = S::splat(rows[r].wrapping_offset(index).read());
            for v in 0..NV {
                acc[r][v] = S::fma(x, bv[v], acc[r][v]);
            }
        }
    }
}

/// Adds C, runs the built-in epilogue and stores. What most tiles need has no branch for a vector.
///
/// # Safety
/// As a [`TileFn`].
#[inline(always)]
pub(super) unsafe fn write<S: Simd, const MR: usize, const NV: usize>(
    t: &Tile,
    acc: [[S::V; NV]; MR],
) {
    let by_column = match &t.finish {
        None => !t.add,
        Some(finish) => !t.add && finish.bias_m.is_null() && finish.residual.is_null(),
    };
    // SAFETY: the caller vouches for the valid columns of C, bias and residual.
    unsafe {
        match (by_column, t.cols >= NV * S::LANES) {
            (true, true) => write_by_column::<S, MR, NV>(t, acc),
            (false, true) => write_cols::<S, MR, NV, true>(t, acc),
            (_, false) => write_cols::<S, MR, NV, false>(t, acc),
        }
    }
}

/// The parts of an epilogue that are the same in all rows, bias from a column on: absent ones are
/// identities.
///
/// # Safety
/// The bias has `NV` vectors from that column on.
#[inline(always)]
pub(super) unsafe fn by_column<S: Simd, const NV: usize>(
    finish: Option<&Finish>,
    first: usize,
) -> ([S::V; NV], S::V, S::V) {
    // SAFETY: the caller vouches for the columns of the bias.
    unsafe {
        // Adding -0.0 changes nothing, not even a zero's sign.
        let mut bias = [S::splat(-0.0); NV];
        let (mut low, mut high) = (f32::NEG_INFINITY, f32::INFINITY);
        if let Some(finish) = finish {
            if !finish.bias_n.is_null() {
                for (v, slot) in bias.iter_mut().enumerate() {
                    *slot = S::load(finish.bias_n.add(first + v * S::LANES));
                }
            }
            (low, high) = finish.clip.unwrap_or((low, high));
        }
        (bias, S::splat(low), S::splat(high))
    }
}

/// A full tile whose epilogue varies by column only: the absent parts are identities.
#[inline(always)]
unsafe fn write_by_column<S: Simd, const MR: usize, const NV: usize>(
    t: &Tile,
    acc: [[S::V; NV]; MR],
) {
    // SAFETY: the caller vouches for every column of C and bias.
    unsafe {
        let (bias, low, high) = by_column::<S, NV>(t.finish.as_ref(), 0);
        for (r, row) in acc.iter().enumerate() {
            let c = t.c.offset(t.c_rows.add(r).read());
            for v in 0..NV {
                let x = S::min(high, S::max(low, S::add(row[v], bias[v])));
                S::store(c.add(v * S::LANES), x);
            }
        }
    }
}

#[inline(always)]
unsafe fn write_cols<S: Simd, const MR: usize, const NV: usize, const FULL: bool>(
    t: &Tile,
    acc: [[S::V; NV]; MR],
) {
    for v in 0..NV {
        let first = v * S::LANES;
        let lanes = if FULL {
            S::LANES
        } else {
            t.cols.saturating_sub(first).min(S::LANES)
        };
        if lanes == 0 {
            break;
        }
        for (r, row) in acc.iter().enumerate() {
            // SAFETY: the caller vouches for the valid columns of C, bias and residual.
            unsafe {
                let c = t.c.offset(t.c_rows.add(r).read()).add(first);
                let mut x = row[v];
                if t.add {
                    x = S::add(load_lanes::<S>(c, lanes), x);
                }
                if let Some(finish) = &t.finish {
                    x = finish_vector::<S>(finish, x, r, first, lanes);
                }
                if FULL {
                    S::store(c, x);
                } else {
                    S::store_partial(c, x, lanes);
                }
            }
        }
    }
}

/// Some of a row of the residual.
#[inline(always)]
unsafe fn load_residual<S: Simd>(finish: &Finish, row: usize, first: usize, lanes: usize) -> S::V {
    // SAFETY: the caller vouches for the valid columns of the residual.
    unsafe {
        let stride = finish.residual_n;
        let at = finish.residual_rows.add(row).read() + first as isize * stride;
        match finish.residual_stored {
            Stored::Bf16 => S::load_bf16(finish.residual.cast::<u16>().offset(at), lanes),
            Stored::F32 if stride == 1 => load_lanes::<S>(finish.residual.offset(at), lanes),
            Stored::F32 => load_strided::<S>(finish.residual.offset(at), stride, lanes),
        }
    }
}

/// Adds bias and residual, and clips.
#[inline(always)]
pub(super) unsafe fn finish_vector<S: Simd>(
    finish: &Finish,
    mut x: S::V,
    row: usize,
    first: usize,
    lanes: usize,
) -> S::V {
    // SAFETY: the caller vouches for the valid columns of bias and residual.
    unsafe {
        if !finish.bias_n.is_null() {
            x = S::add(x, load_lanes::<S>(finish.bias_n.add(first), lanes));
        }
        if !finish.bias_m.is_null() {
            x = S::add(x, S::splat(finish.bias_m.add(row).read()));
        }
        if !finish.residual.is_null() {
            x = S::add(x, load_residual::<S>(finish, row, first, lanes));
        }
        if let Some((low, high)) = finish.clip {
            x = S::min(S::splat(high), S::max(S::splat(low), x));
        }
        x
    }
}

/// Makes the kernel table of one family: a function that enables the set for each row count.
macro_rules! family {
    ($name:ident, $simd:ty, $mr:expr, [$($rows:literal)*], [$(($deep:literal, $chains:literal))*],
     [$($few:literal)*] $(, $feature:literal)?) => {
        static $name: Family = {
            $(#[target_feature(enable = $feature)])?
            unsafe fn run<const MR: usize, const NV: usize, const CHAINS: usize>(t: &Tile) {
                // SAFETY: the contract of `TileFn`; the set is enabled for this function.
                unsafe { tile::<$simd, MR, NV, CHAINS>(t) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn streams<const MR: usize, const V: usize>(t: &Tile) {
                // SAFETY: the contract of `TileFn`; the set is enabled for this function.
                unsafe { stream::<$simd, MR, V>(t) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn finish(t: &Tile, sums: *const f32, rows: usize) {
                // SAFETY: the contract of `DeliverFn`; the set is enabled for this function.
                unsafe { deliver::<$simd>(t, sums, rows) }
            }
            Family {
                deliver: finish,
                mr: $mr,
                lanes: <$simd as Simd>::LANES,
                tiles: [&[$(run::<$rows, 1, 1>),*], &[$(run::<$rows, 2, 1>),*]],
                deep: &[$(run::<$deep, 2, $chains>),*],
                streams: &[$([
                    streams::<$few, 2>,
                    streams::<$few, 4>,
                    streams::<$few, { 2 * STREAMS }>,
                ]),*],
            }
        };
    };
}

family!(PORTABLE, crate::simd::Portable, 4, [1 2 3 4], [(1, 2)], [1]);
#[cfg(target_arch = "aarch64")]
family!(NEON, crate::simd::Neon, 8, [1 2 3 4 5 6 7 8], [(1, 4) (2, 2)], [1 2]);
#[cfg(target_arch = "x86_64")]
family!(AVX2, crate::simd::Avx2, 6, [1 2 3 4 5 6], [(1, 4) (2, 2)], [1], "avx2,fma");
#[cfg(target_arch = "x86_64")]
family!(
    AVX512,
    crate::simd::Avx512,
    14,
    [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    [(1, 8) (2, 4) (3, 2)],
    [1 2 3],
    "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"
);

/// The kernels of `isa`; the caller has checked that it is available.
pub(super) fn family(isa: Isa) -> &'static Family {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &AVX2,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => &AVX512,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => &NEON,
        #[allow(
            unreachable_patterns,
            reason = "which families exist depends on the target"
        )]
        Isa::Portable | Isa::Neon | Isa::Avx2 | Isa::Avx512 | Isa::Amx => &PORTABLE,
    }
}
