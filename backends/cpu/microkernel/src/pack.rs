//! Packing of B into panels, from any strides; and back.

use std::ops::Range;

use crate::{
    error::KernelError,
    gemm::{pack_panel, unpack_panel},
    layout::{PackedElement, PackedLayout},
    offsets::span,
};

/// Element strides of an unpacked B: element `(tap, k, n)` is at `tap * tap + k * k + n * n`.
/// A row-major `[K, N]` has `k = N, n = 1`; its transpose `[N, K]` has `k = 1, n = K`; ONNX weights
/// `[N, C, KH, KW]` have `n = C * KH * KW, k = KH * KW, tap = 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BStrides {
    /// Between taps.
    pub tap: isize,
    /// Between rows.
    pub k: isize,
    /// Between columns.
    pub n: isize,
}

impl BStrides {
    /// Row-major `[K, N]`.
    pub fn rows(n: usize) -> Self {
        Self {
            tap: 0,
            k: n as isize,
            n: 1,
        }
    }

    /// Transposed: row-major `[N, K]`.
    pub fn columns(k: usize) -> Self {
        Self {
            tap: 0,
            k: 1,
            n: k as isize,
        }
    }

    /// Convolution weights `[N, C, KH, KW]` as in ONNX, for one group.
    pub fn oihw(c: usize, kernel: [usize; 2]) -> Self {
        let taps = (kernel[0] * kernel[1]) as isize;
        Self {
            tap: 1,
            k: taps,
            n: c as isize * taps,
        }
    }

    /// Checks that every element of `layout` lies within `found` elements.
    pub(crate) fn check(&self, layout: &PackedLayout, found: usize) -> Result<(), KernelError> {
        let (taps, k, n) = (layout.taps, layout.k, layout.n);
        if taps == 0 || k == 0 || n == 0 {
            return Ok(());
        }
        let (low, high) = span(&[(taps - 1, self.tap), (k - 1, self.k), (n - 1, self.n)])
            .ok_or_else(|| KernelError::spec("b strides", "overflow"))?;
        if low < 0 {
            return Err(KernelError::Negative {
                operand: "b source",
                offset: low,
            });
        }
        KernelError::check_len("b source", high as usize + 1, found)
    }
}

/// Checks what all packing functions share.
fn check(layout: &PackedLayout, panels: &Range<usize>, packed: usize) -> Result<(), KernelError> {
    layout.validate()?;
    if layout.element == PackedElement::I8 {
        return Err(KernelError::spec(
            "packed element",
            "f32 is packed here, the layout is int8",
        ));
    }
    if panels.start > panels.end || panels.end > layout.panels() {
        let detail = format!("{panels:?} of {}", layout.panels());
        return Err(KernelError::spec("panels", detail));
    }
    KernelError::check_len("packed b", panels.len() * layout.panel_len(), packed)
}

/// Packs `panels` (out of `0..layout.panels()`) of B into `out`, which begins at the first of them.
/// Disjoint ranges may be packed at the same time. Every element of those panels is written.
///
/// # Errors
/// [`KernelError`] if the layout is not f32's own, or a slice is too short.
pub fn pack_b(
    layout: &PackedLayout,
    source: &[f32],
    strides: BStrides,
    panels: Range<usize>,
    out: &mut [f32],
) -> Result<(), KernelError> {
    check(layout, &panels, out.len())?;
    strides.check(layout, source.len())?;
    let (nr, depth) = (layout.nr, layout.k * layout.nr);
    if depth == 0 || layout.taps == 0 {
        return Ok(());
    }
    for (panel, out) in panels.zip(out.chunks_exact_mut(layout.panel_len())) {
        if layout.element != PackedElement::F32 {
            pack_panel(layout, source, strides, panel, out);
            continue;
        }
        let first = panel * nr;
        let cols = (layout.n - first).min(nr);
        for (tap, out) in out.chunks_exact_mut(depth).enumerate() {
            let start = tap as isize * strides.tap + first as isize * strides.n;
            if strides.n == 1 {
                for (k, row) in out.chunks_exact_mut(nr).enumerate() {
                    let at = (start + k as isize * strides.k) as usize;
                    row[..cols].copy_from_slice(&source[at..at + cols]);
                    row[cols..].fill(0.0);
                }
            } else {
                pack_transposed(source, start, strides, cols, nr, out);
            }
        }
    }
    Ok(())
}

/// Rows of K that are transposed together: their packed rows stay in the first-level cache while
/// each source column is read along its own direction.
const K_STEP: usize = 16;

fn pack_transposed(
    source: &[f32],
    start: isize,
    strides: BStrides,
    cols: usize,
    nr: usize,
    out: &mut [f32],
) {
    for (step, out) in out.chunks_mut(K_STEP * nr).enumerate() {
        let rows = out.len() / nr;
        let k_first = start + (step * K_STEP) as isize * strides.k;
        for n in 0..cols {
            let at = k_first + n as isize * strides.n;
            if strides.k == 1 {
                let column = &source[at as usize..at as usize + rows];
                for (k, &x) in column.iter().enumerate() {
                    out[k * nr + n] = x;
                }
            } else {
                for k in 0..rows {
                    out[k * nr + n] = source[(at + k as isize * strides.k) as usize];
                }
            }
        }
        for row in out.chunks_exact_mut(nr) {
            row[cols..].fill(0.0);
        }
    }
}

/// Turns packed B into another layout, for an artifact that was made on another machine. What was
/// rounded to fewer than three parts of bf16 stays so.
///
/// # Errors
/// [`KernelError`] if the layouts describe different matrices or a slice is too short.
pub fn repack_b(
    from: &PackedLayout,
    source: &[f32],
    to: &PackedLayout,
    out: &mut [f32],
) -> Result<(), KernelError> {
    check(from, &(0..from.panels()), source.len())?;
    check(to, &(0..to.panels()), out.len())?;
    if (from.taps, from.k, from.n) != (to.taps, to.k, to.n) {
        return Err(KernelError::spec(
            "repack",
            format!("{from:?} is not the matrix of {to:?}"),
        ));
    }
    let rows = from.taps * from.k;
    if rows == 0 {
        return Ok(());
    }
    let mut plain = vec![0.0; rows * from.n];
    let panels = source.chunks_exact(from.panel_len()).take(from.panels());
    for (panel, packed) in panels.enumerate() {
        let restored;
        let values = match from.element {
            PackedElement::F32 => packed,
            PackedElement::Bf16(_) | PackedElement::I8 => {
                restored = unpack_panel(from, packed);
                &restored
            }
        };
        let first = panel * from.nr;
        let cols = (from.n - first).min(from.nr);
        for (row, values) in plain
            .chunks_exact_mut(from.n)
            .zip(values.chunks_exact(from.nr))
        {
            row[first..first + cols].copy_from_slice(&values[..cols]);
        }
    }
    let strides = BStrides {
        tap: (from.k * from.n) as isize,
        k: from.n as isize,
        n: 1,
    };
    pack_b(to, &plain, strides, 0..to.panels(), out)
}
