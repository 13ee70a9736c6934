//! The integer register tile: MR rows by two vectors of columns, four of K at a time.

use super::{
    dot::{Dot, Portable},
    strip::StripFn,
};
use crate::{amx::SIDE, gemm::advanced, isa::Isa};

/// Lanes of the widest vector.
const LANES_MAX: usize = 16;

/// One register tile of work. A is read as bytes.
pub(super) struct Tile {
    /// `[tap][row]` start of each row; `tap_rows` entries from one tap to the next.
    pub(super) a: *const *const u8,
    pub(super) tap_rows: usize,
    /// Bytes from the starts in `a` to the first K of this block.
    pub(super) a_first: isize,
    /// Bytes from one group of four K to the next (the four are adjacent).
    pub(super) a_group: isize,
    pub(super) taps: usize,
    pub(super) k: usize,
    pub(super) b: *const u8,
    /// Bytes between taps.
    pub(super) b_tap: usize,
    pub(super) c: *mut i32,
    pub(super) c_rows: *const isize,
    pub(super) cols: usize,
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
            a_group: 0,
            taps: 0,
            k: 0,
            b: std::ptr::null(),
            b_tap: 0,
            c: std::ptr::null_mut(),
            c_rows: std::ptr::null(),
            cols: 0,
            add: false,
            finish: None,
        }
    }
}

/// What turns a sum of raw byte products into the result.
pub(super) struct Finish {
    /// Added to each column; as many as a panel has.
    pub(super) columns: *const i32,
    /// `rows[r] * b_zero[n]` is added too; null where B has no zero point.
    pub(super) rows: *const i32,
    pub(super) b_zero: *const i32,
}

pub(super) type TileFn = unsafe fn(&Tile);

/// Finishes and stores sums that lie in memory, `[row][32]`; of the tile only what follows the
/// products is read.
pub(super) type DeliverFn = unsafe fn(&Tile, *const i32, usize);

/// The kernels of one family by row count less one; for unsigned and for signed A.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) unsigned: &'static [TileFn],
    pub(super) signed: &'static [TileFn],
    pub(super) deliver: DeliverFn,
    /// Register tiles of 32 by 32 by vectors, if these are long enough.
    pub(super) strip: Option<StripFn>,
    /// Products from registers in so many steps, and lanes of a register.
    pub(super) chains: (unsafe fn(usize) -> i32, usize),
}

#[inline(always)]
unsafe fn tile<D: Dot, const MR: usize, const FLIP: bool>(t: &Tile) {
    // SAFETY: the caller vouches for every pointer in the tile and for the instruction set.
    unsafe {
        let mut acc = [[D::splat(0); 2]; MR];
        for tap in 0..t.taps {
            let starts = t.a.add(tap * t.tap_rows);
            let mut rows = [std::ptr::null::<u8>(); MR];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = starts.add(r).read();
            }
            let mut b = t.b.add(tap * t.b_tap);
            let mut index = t.a_first;
            for _ in 0..t.k / 4 {
                let words = |r: usize| {
                    rows[r]
                        .wrapping_offset(index)
                        .cast::<i32>()
                        .read_unaligned()
                };
                step::<D, MR, FLIP>(&mut acc, words, b);
                b = b.add(8 * D::LANES);
                index = advanced(index, t.a_group);
            }
            let tail = t.k % 4;
            if tail > 0 {
                let words = |r: usize| {
                    let mut bytes = [0u8; 4];
                    let from = rows[r].wrapping_offset(index);
                    std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), tail);
                    i32::from_le_bytes(bytes)
                };
                // The bytes past the tail meet zeros in packed B.
                step::<D, MR, FLIP>(&mut acc, words, b);
            }
        }
        let by_column = t.finish.as_ref().is_none_or(|finish| finish.rows.is_null());
        if by_column && !t.add && t.cols == 2 * D::LANES {
            let mut columns = [D::splat(0); 2];
            if let Some(finish) = &t.finish {
                columns = [
                    D::load(finish.columns),
                    D::load(finish.columns.add(D::LANES)),
                ];
            }
            for (r, row) in acc.iter().enumerate() {
                let c = t.c.offset(t.c_rows.add(r).read());
                D::store(c, D::add(row[0], columns[0]));
                D::store(c.add(D::LANES), D::add(row[1], columns[1]));
            }
            return;
        }
        // The sums leave their registers first: the loop below is too long to be unrolled, and an
        // array that is indexed by a loop would have lived in memory all along.
        let mut sums = [[[0i32; LANES_MAX]; 2]; MR];
        for r in 0..MR {
            D::store(sums[r][0].as_mut_ptr(), acc[r][0]);
            D::store(sums[r][1].as_mut_ptr(), acc[r][1]);
        }
        let mut buffer = [0i32; 2 * LANES_MAX];
        for (r, row) in sums.iter().enumerate() {
            let c = t.c.offset(t.c_rows.add(r).read());
            let whole = t.cols == 2 * D::LANES;
            let target = if whole { c } else { buffer.as_mut_ptr() };
            if t.add && !whole {
                std::ptr::copy_nonoverlapping(c, buffer.as_mut_ptr(), t.cols);
            }
            for (v, sum) in row.iter().enumerate() {
                let mut sum = D::load(sum.as_ptr());
                let at = v * D::LANES;
                if t.add {
                    sum = D::add(sum, D::load(target.add(at)));
                }
                if let Some(finish) = &t.finish {
                    sum = D::add(sum, D::load(finish.columns.add(at)));
                    if !finish.rows.is_null() {
                        let row = D::splat(finish.rows.add(r).read());
                        sum = D::add(sum, D::mul(row, D::load(finish.b_zero.add(at))));
                    }
                }
                D::store(target.add(at), sum);
            }
            if !whole {
                std::ptr::copy_nonoverlapping(buffer.as_ptr(), c, t.cols);
            }
        }
    }
}

/// [`DeliverFn`], a vector at a time.
#[inline(always)]
unsafe fn deliver<D: Dot>(t: &Tile, sums: *const i32, rows: usize) {
    let mut buffer = [0i32; LANES_MAX];
    for r in 0..rows {
        // SAFETY: the caller vouches for the sums and for what the tile points to.
        unsafe {
            let c = t.c.offset(t.c_rows.add(r).read());
            for first in (0..t.cols).step_by(D::LANES) {
                let lanes = (t.cols - first).min(D::LANES);
                let mut sum = D::load(sums.add(r * SIDE + first));
                if let Some(finish) = &t.finish {
                    sum = D::add(sum, D::load(finish.columns.add(first)));
                    if !finish.rows.is_null() {
                        let row = D::splat(finish.rows.add(r).read());
                        sum = D::add(sum, D::mul(row, D::load(finish.b_zero.add(first))));
                    }
                }
                let whole = lanes == D::LANES;
                let target = match whole {
                    true => c.add(first),
                    false => buffer.as_mut_ptr(),
                };
                if t.add {
                    if !whole {
                        std::ptr::copy_nonoverlapping(c.add(first), target, lanes);
                    }
                    sum = D::add(sum, D::load(target));
                }
                D::store(target, sum);
                if !whole {
                    std::ptr::copy_nonoverlapping(target, c.add(first), lanes);
                }
            }
        }
    }
}

/// One group of four K: `words(r)` are the bytes of row `r`. `FLIP` flips the sign bit of each:
/// signed bytes become unsigned ones, 128 higher.
#[inline(always)]
unsafe fn step<D: Dot, const MR: usize, const FLIP: bool>(
    acc: &mut [[D::V; 2]; MR],
    words: impl Fn(usize) -> i32,
    b: *const u8,
) {
    // SAFETY: the caller vouches for one packed group of B and for the rows.
    unsafe {
        let b0 = D::load(b.cast());
        let b1 = D::load(b.add(4 * D::LANES).cast());
        for (r, acc) in acc.iter_mut().enumerate() {
            let mut a = D::splat(words(r));
            if FLIP {
                a = D::xor(a, D::splat(0x8080_8080u32 as i32));
            }
            acc[0] = D::dot(acc[0], a, b0);
            acc[1] = D::dot(acc[1], a, b1);
        }
    }
}

/// Products of four bytes with four from registers, in [`CHAINS`](crate::peak::CHAINS) sums that
/// wait for none of the others.
#[inline(always)]
unsafe fn chains<D: Dot>(steps: usize) -> i32 {
    // SAFETY: the caller has the instruction set; the buffer holds the longest vector.
    unsafe {
        let x = D::splat(std::hint::black_box(0x0101_0101));
        let mut sums = [D::splat(0); crate::peak::CHAINS];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = D::dot(*sum, x, x);
            }
        }
        let mut total = sums[0];
        for &sum in &sums[1..] {
            total = D::add(total, sum);
        }
        let mut buffer = [0i32; LANES_MAX];
        D::store(buffer.as_mut_ptr(), total);
        buffer[0]
    }
}

/// The register tile by vectors, enabled for a family, or none.
macro_rules! strip {
    (none, $dot:ty $(, $feature:literal)?) => {
        None
    };
    (strip, $dot:ty, $feature:literal) => {{
        #[target_feature(enable = $feature)]
        unsafe fn run(o: &crate::amx::bytes::ByteOperands) {
            // SAFETY: the contract of `StripFn`; the set is enabled for this function.
            unsafe { super::strip::strip::<$dot>(o) }
        }
        Some(run)
    }};
}

/// Makes the kernel table of one family: a function that enables the set for each row count.
macro_rules! family {
    ($name:ident, $dot:ty, [$($rows:literal)*], $strip:ident $(, $feature:literal)?) => {
        static $name: Family = {
            $(#[target_feature(enable = $feature)])?
            unsafe fn run<const MR: usize, const FLIP: bool>(t: &Tile) {
                // SAFETY: the contract of `TileFn`; the set is enabled for this function.
                unsafe { tile::<$dot, MR, FLIP>(t) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn finish(t: &Tile, sums: *const i32, rows: usize) {
                // SAFETY: the contract of `DeliverFn`; the set is enabled for this function.
                unsafe { deliver::<$dot>(t, sums, rows) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn peak(steps: usize) -> i32 {
                // SAFETY: the set is enabled for this function.
                unsafe { chains::<$dot>(steps) }
            }
            Family {
                unsigned: &[$(run::<$rows, false>),*],
                signed: &[$(run::<$rows, true>),*],
                deliver: finish,
                strip: strip!($strip, $dot $(, $feature)?),
                chains: (peak, <$dot as Dot>::LANES),
            }
        };
    };
}

family!(PORTABLE, Portable, [1 2 3 4], none);
#[cfg(target_arch = "x86_64")]
family!(AVX2, super::dot::Avx2, [1 2 3 4], none, "avx2,fma");
#[cfg(target_arch = "x86_64")]
family!(
    AVX2_VNNI,
    super::dot::Avx2Vnni,
    [1 2 3 4],
    none,
    "avx2,fma,avxvnni"
);
#[cfg(target_arch = "x86_64")]
family!(
    AVX512,
    super::dot::Avx512,
    [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    strip,
    "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"
);
#[cfg(target_arch = "x86_64")]
family!(
    AVX512_VNNI,
    super::dot::Avx512Vnni,
    [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    strip,
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma"
);

/// The kernels of `isa`, which is available. `byte_product` permits the instructions that multiply
/// bytes directly, where the CPU has them; results are the same.
pub(super) fn family(isa: Isa, byte_product: bool) -> &'static Family {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx
            if byte_product && std::arch::is_x86_feature_detected!("avx512vnni") =>
        {
            &AVX512_VNNI
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => &AVX512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if byte_product && std::arch::is_x86_feature_detected!("avxvnni") => &AVX2_VNNI,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &AVX2,
        #[allow(
            unreachable_patterns,
            reason = "which families exist depends on the target"
        )]
        Isa::Portable | Isa::Neon | Isa::Avx2 | Isa::Avx512 | Isa::Amx => {
            let _ = byte_product;
            &PORTABLE
        }
    }
}
