//! The register block of depthwise convolution: P positions by NV vectors over a list of taps.
//!
//! Channels-last: positions are output columns, vectors hold channels, a filter vector per tap.
//! Channels-first: one position, vectors hold output columns, one filter value per tap.

use super::{element::Element, first};
use crate::{gemm::Window, isa::Isa, simd::Simd};

/// One register block of work; strides are in elements.
#[derive(Clone, Copy)]
pub(super) struct Part<X = f32, Y = f32> {
    /// Input at the first position and vector, for the first row and column of taps.
    pub(super) x: *const X,
    /// Between positions.
    pub(super) x_step: isize,
    /// Between rows of taps.
    pub(super) x_row: isize,
    /// Offset of each column of taps, from the first that takes part.
    pub(super) x_cols: *const isize,
    pub(super) w: *const f32,
    pub(super) w_taps: [isize; 2],
    /// Taps along height and width.
    pub(super) taps: [usize; 2],
    pub(super) y: *mut Y,
    pub(super) y_step: isize,
    /// Null for none; indexed as the filter is (one value per vector lane, or one in all).
    pub(super) bias: *const f32,
    /// Null for none; offsets as `y`.
    pub(super) residual: *const f32,
    pub(super) clip: Option<(f32, f32)>,
}

/// Computes `positions` positions of `lanes` lanes each.
pub(super) type RunFn<X, Y> = unsafe fn(part: &Part<X, Y>, positions: usize, lanes: usize);

#[inline(always)]
unsafe fn block<
    S: Simd,
    X: Element,
    Y: Element,
    const KW: usize,
    const P: usize,
    const NV: usize,
    const FULL: bool,
    const SPLAT: bool,
>(
    part: &Part<X, Y>,
    lanes: usize,
) {
    // SAFETY: the caller vouches for the pointers at every tap, position and valid lane.
    unsafe {
        let load = |p: *const f32, v: usize| f32::load::<S, FULL>(p, v, lanes);
        let load_x = |p: *const X, v: usize| X::load::<S, FULL>(p, v, lanes);
        let mut acc = [[S::splat(0.0); NV]; P];
        for kh in 0..part.taps[0] as isize {
            let x_row = part.x.wrapping_offset(kh * part.x_row);
            let w_row = part.w.offset(kh * part.w_taps[0]);
            let columns = if KW > 0 { KW } else { part.taps[1] };
            for kw in 0..columns as isize {
                let x = x_row.wrapping_offset(part.x_cols.offset(kw).read());
                let w = w_row.offset(kw * part.w_taps[1]);
                let mut wv = [S::splat(0.0); NV];
                for (v, slot) in wv.iter_mut().enumerate() {
                    *slot = if SPLAT {
                        S::splat(w.read())
                    } else {
                        load(w, v)
                    };
                }
                for (p, acc) in acc.iter_mut().enumerate() {
                    let x = x.offset(p as isize * part.x_step);
                    for v in 0..NV {
                        acc[v] = S::fma(load_x(x, v), wv[v], acc[v]);
                    }
                }
            }
        }
        finish::<S, X, Y, P, NV, FULL, SPLAT>(part, lanes, acc);
    }
}

/// As `block` for channels-last, where the taps of `P` neighbouring positions are neighbours too,
/// `STEP` columns from one position to the next: each column is loaded once for all its taps.
#[inline(always)]
unsafe fn sliding<
    S: Simd,
    X: Element,
    Y: Element,
    const KW: usize,
    const STEP: usize,
    const P: usize,
    const NV: usize,
    const FULL: bool,
>(
    part: &Part<X, Y>,
    col: isize,
    lanes: usize,
) {
    // SAFETY: the caller vouches for the pointers at every tap, position and valid lane.
    unsafe {
        let load = |p: *const f32, v: usize| f32::load::<S, FULL>(p, v, lanes);
        let mut acc = [[S::splat(0.0); NV]; P];
        let mut line = part.x;
        let mut w_line = part.w;
        for _ in 0..part.taps[0] {
            let mut wv = [[S::splat(0.0); NV]; KW];
            let mut w = w_line;
            for taps in &mut wv {
                for (v, slot) in taps.iter_mut().enumerate() {
                    *slot = load(w, v);
                }
                w = w.wrapping_offset(part.w_taps[1]);
            }
            let mut x = line;
            for j in 0..(P - 1) * STEP + KW {
                for v in 0..NV {
                    let xv = X::load::<S, FULL>(x, v, lanes);
                    for (kw, w) in wv.iter().enumerate() {
                        let p = j.wrapping_sub(kw) / STEP;
                        if j >= kw && (j - kw) % STEP == 0 && p < P {
                            acc[p][v] = S::fma(xv, w[v], acc[p][v]);
                        }
                    }
                }
                x = x.wrapping_offset(col);
            }
            line = line.wrapping_offset(part.x_row);
            w_line = w_line.wrapping_offset(part.w_taps[0]);
        }
        finish::<S, X, Y, P, NV, FULL, false>(part, lanes, acc);
    }
}

/// Runs the epilogue on finished sums and stores them.
#[inline(always)]
unsafe fn finish<
    S: Simd,
    X: Element,
    Y: Element,
    const P: usize,
    const NV: usize,
    const FULL: bool,
    const SPLAT: bool,
>(
    part: &Part<X, Y>,
    lanes: usize,
    acc: [[S::V; NV]; P],
) {
    // SAFETY: the caller vouches for the valid lanes of every position.
    unsafe {
        let load = |p: *const f32, v: usize| f32::load::<S, FULL>(p, v, lanes);
        for (p, acc) in acc.iter().enumerate() {
            let at = p as isize * part.y_step;
            for (v, &sum) in acc.iter().enumerate() {
                let mut sum = sum;
                if !part.bias.is_null() {
                    let bias = if SPLAT {
                        S::splat(part.bias.read())
                    } else {
                        load(part.bias, v)
                    };
                    sum = S::add(sum, bias);
                }
                if !part.residual.is_null() {
                    sum = S::add(sum, load(part.residual.offset(at), v));
                }
                if let Some((low, high)) = part.clip {
                    sum = S::min(S::splat(high), S::max(S::splat(low), sum));
                }
                Y::store::<S, FULL>(part.y.offset(at), v, sum, lanes);
            }
        }
    }
}

/// Part moved by `positions` positions and `lanes` lanes.
#[inline(always)]
fn moved<X: Element, Y: Element>(
    part: &Part<X, Y>,
    positions: usize,
    lanes: usize,
    filter: bool,
) -> Part<X, Y> {
    let mut part = *part;
    let p = positions as isize;
    part.x = part.x.wrapping_offset(p * part.x_step + lanes as isize);
    part.y = part.y.wrapping_offset(p * part.y_step + lanes as isize);
    if !part.residual.is_null() {
        part.residual = part
            .residual
            .wrapping_offset(p * part.y_step + lanes as isize);
    }
    if filter {
        part.w = part.w.wrapping_add(lanes);
        if !part.bias.is_null() {
            part.bias = part.bias.wrapping_add(lanes);
        }
    }
    part
}

/// Channels-last: all lanes of four positions at a time, vectors in pairs.
#[inline(always)]
unsafe fn last<S: Simd, X: Element, Y: Element, const KW: usize>(
    part: &Part<X, Y>,
    positions: usize,
    lanes: usize,
) {
    let mut col = 0;
    let mut step = 0;
    if KW > 1 {
        // SAFETY: the filter has `KW` columns.
        col = unsafe { part.x_cols.add(1).read() - part.x_cols.read() };
        step = if part.x_step == col {
            1
        } else {
            2 * usize::from(part.x_step == 2 * col)
        };
    }
    let mut lane = 0;
    while lane < lanes {
        let left = lanes - lane;
        let pair = left >= 2 * S::LANES;
        let mut p = 0;
        while p < positions {
            let four = positions - p >= 4;
            let at = moved(part, p, lane, true);
            // SAFETY: as `block`.
            unsafe {
                match (step, pair, left >= S::LANES, four) {
                    (1, true, _, true) => sliding::<S, X, Y, KW, 1, 4, 2, true>(&at, col, left),
                    (1, false, true, true) => sliding::<S, X, Y, KW, 1, 4, 1, true>(&at, col, left),
                    (2, true, _, true) => sliding::<S, X, Y, KW, 2, 4, 2, true>(&at, col, left),
                    (2, false, true, true) => sliding::<S, X, Y, KW, 2, 4, 1, true>(&at, col, left),
                    (_, true, _, true) => block::<S, X, Y, KW, 4, 2, true, false>(&at, left),
                    (_, true, _, false) => block::<S, X, Y, KW, 1, 2, true, false>(&at, left),
                    (_, false, true, true) => block::<S, X, Y, KW, 4, 1, true, false>(&at, left),
                    (_, false, true, false) => block::<S, X, Y, KW, 1, 1, true, false>(&at, left),
                    (_, false, false, true) => block::<S, X, Y, KW, 4, 1, false, false>(&at, left),
                    (_, false, false, false) => block::<S, X, Y, KW, 1, 1, false, false>(&at, left),
                }
            }
            p += if four { 4 } else { 1 };
        }
        lane += if pair { 2 * S::LANES } else { S::LANES };
    }
}

/// Channels-first: `positions` output rows of `lanes` columns.
#[inline(always)]
unsafe fn rows_first<S: Simd, const KW: usize>(part: &Part, positions: usize, lanes: usize) {
    let mut lane = 0;
    while lane < lanes {
        let left = lanes - lane;
        let mut p = 0;
        while p < positions {
            let four = positions - p >= 4;
            let at = moved(part, p, lane, false);
            // SAFETY: as `block`.
            unsafe {
                match (left >= S::LANES, four) {
                    (true, true) => block::<S, f32, f32, KW, 4, 1, true, true>(&at, left),
                    (true, false) => block::<S, f32, f32, KW, 1, 1, true, true>(&at, left),
                    (false, true) => block::<S, f32, f32, KW, 4, 1, false, true>(&at, left),
                    (false, false) => block::<S, f32, f32, KW, 1, 1, false, true>(&at, left),
                }
            }
            p += if four { 4 } else { 1 };
        }
        lane += S::LANES;
    }
}

/// The loop whose filter width is a constant, if there is one (zero: any width).
#[inline(always)]
unsafe fn last_by_width<S: Simd, X: Element, Y: Element>(
    part: &Part<X, Y>,
    positions: usize,
    lanes: usize,
) {
    // SAFETY: as `block`.
    unsafe {
        match part.taps[1] {
            3 => last::<S, X, Y, 3>(part, positions, lanes),
            5 => last::<S, X, Y, 5>(part, positions, lanes),
            _ => last::<S, X, Y, 0>(part, positions, lanes),
        }
    }
}

/// As [`last_by_width`].
#[inline(always)]
unsafe fn first_by_width<S: Simd>(part: &Part, positions: usize, lanes: usize) {
    // SAFETY: as `block`.
    unsafe {
        match part.taps[1] {
            3 => rows_first::<S, 3>(part, positions, lanes),
            5 => rows_first::<S, 5>(part, positions, lanes),
            _ => rows_first::<S, 0>(part, positions, lanes),
        }
    }
}

/// Copies a plane to `[row][phase][column]` with zeros around it.
///
/// # Safety
/// `x` is a plane of the input; `out` holds `plane_len` elements.
#[inline(always)]
unsafe fn pad_plane<const PHASES: usize>(w: &Window, x: *const f32, out: *mut f32) {
    let (rows, cols, phases) = first::plane(w);
    let phases = if PHASES > 0 { PHASES } else { phases };
    for row in 0..rows {
        let h = row.wrapping_sub(w.pad[0]);
        for phase in 0..phases {
            // SAFETY: rows and columns are those of the plane and of its padded copy.
            unsafe {
                let out = out.add((row * phases + phase) * cols);
                if h >= w.input[0] {
                    std::ptr::write_bytes(out, 0, cols);
                    continue;
                }
                let x = x.offset(h as isize * w.strides[1]);
                // Column `c` of this phase is column `c * phases + phase - pad` of the image.
                let before = w.pad[1].saturating_sub(phase).div_ceil(phases).min(cols);
                let end = (w.input[1] + w.pad[1])
                    .saturating_sub(phase)
                    .div_ceil(phases);
                let end = end.clamp(before, cols);
                std::ptr::write_bytes(out, 0, before);
                std::ptr::write_bytes(out.add(end), 0, cols - end);
                let x = x
                    .wrapping_add(before * phases + phase)
                    .wrapping_sub(w.pad[1]);
                if phases == 1 {
                    std::ptr::copy_nonoverlapping(x, out.add(before), end - before);
                } else {
                    for c in before..end {
                        out.add(c).write(x.add((c - before) * phases).read());
                    }
                }
            }
        }
    }
}

/// The loops of one family.
pub(super) struct Loops {
    /// Channels-last: positions are output columns, lanes are channels. Of bf16 where the name
    /// says so, in or out.
    pub(super) last: RunFn<f32, f32>,
    pub(super) last_in: RunFn<u16, f32>,
    pub(super) last_out: RunFn<f32, u16>,
    pub(super) last_both: RunFn<u16, u16>,
    /// Channels-first: positions are output rows, lanes are output columns.
    pub(super) first: RunFn<f32, f32>,
    /// Copies a plane to `[row][phase][column]` with zeros around it.
    pub(super) pad: unsafe fn(w: &Window, x: *const f32, out: *mut f32),
}

/// Each loop of one family in a function that enables its set.
macro_rules! family {
    ($name:ident, $simd:ty $(, $feature:literal)?) => {
        static $name: Loops = {
            $(#[target_feature(enable = $feature)])?
            unsafe fn last<X: Element, Y: Element>(
                part: &Part<X, Y>,
                positions: usize,
                lanes: usize,
            ) {
                // SAFETY: the set is enabled; the rest is the caller's.
                unsafe { last_by_width::<$simd, X, Y>(part, positions, lanes) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn first(part: &Part, positions: usize, lanes: usize) {
                // SAFETY: the set is enabled; the rest is the caller's.
                unsafe { first_by_width::<$simd>(part, positions, lanes) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn pad(w: &Window, x: *const f32, out: *mut f32) {
                // SAFETY: the caller's.
                unsafe {
                    match w.stride[1] {
                        1 => pad_plane::<1>(w, x, out),
                        2 => pad_plane::<2>(w, x, out),
                        _ => pad_plane::<0>(w, x, out),
                    }
                }
            }
            Loops {
                last,
                last_in: last,
                last_out: last,
                last_both: last,
                first,
                pad,
            }
        };
    };
}

family!(PORTABLE, crate::simd::Portable);
#[cfg(target_arch = "aarch64")]
family!(NEON, crate::simd::Neon);
#[cfg(target_arch = "x86_64")]
family!(AVX2, crate::simd::Avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
family!(
    AVX512,
    crate::simd::Avx512,
    "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"
);
#[cfg(target_arch = "x86_64")]
family!(
    AMX,
    crate::simd::Avx512Bf16,
    "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma"
);

/// The loops of `isa`, which is available.
pub(super) fn loops(isa: Isa) -> &'static Loops {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => &AVX512,
        #[cfg(target_arch = "x86_64")]
        Isa::Amx => &AMX,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &AVX2,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => &NEON,
        #[allow(
            unreachable_patterns,
            reason = "which families exist depends on the target"
        )]
        Isa::Portable | Isa::Neon | Isa::Avx2 | Isa::Avx512 | Isa::Amx => &PORTABLE,
    }
}
