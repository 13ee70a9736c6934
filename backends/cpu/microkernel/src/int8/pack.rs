//! Packing of signed bytes into panels of groups of four, with the sum of each column.

use std::ops::Range;

use super::ByteSign;
use crate::{
    error::KernelError,
    layout::{PackedElement, PackedLayout},
    pack::BStrides,
};

/// Packs `panels` (out of `0..layout.panels()`) of B into `out`, which begins at the first of them.
/// Disjoint ranges may be packed at the same time. Every byte of those panels is written. Unsigned
/// bytes are stored 128 lower: their zero points are to be given so to a run.
///
/// # Errors
/// [`KernelError`] if the layout is not int8's own, or a slice is too short.
pub fn pack_b_i8(
    layout: &PackedLayout,
    (source, sign): (&[u8], ByteSign),
    strides: BStrides,
    panels: Range<usize>,
    out: &mut [u8],
) -> Result<(), KernelError> {
    check(layout, &panels, out.len())?;
    strides.check(layout, source.len())?;
    let flip = match sign {
        ByteSign::Signed => 0,
        ByteSign::Unsigned => 0x80,
    };
    let nr = layout.nr;
    let groups = layout.k.div_ceil(4);
    for (panel, out) in panels.zip(out.chunks_exact_mut(layout.panel_len())) {
        let (data, sums) = out.split_at_mut(layout.taps * groups * nr * 4);
        let mut totals = [0i32; 64];
        for (row, out) in data.chunks_exact_mut(nr * 4).enumerate() {
            let (tap, group) = (row / groups, row % groups);
            for (j, four) in out.chunks_exact_mut(4).enumerate() {
                let n = panel * nr + j;
                for (i, byte) in four.iter_mut().enumerate() {
                    let k = group * 4 + i;
                    let inside = n < layout.n && k < layout.k;
                    let at = tap as isize * strides.tap
                        + k as isize * strides.k
                        + n as isize * strides.n;
                    let x = if inside {
                        (source[at as usize] ^ flip) as i8
                    } else {
                        0
                    };
                    totals[j] = totals[j].wrapping_add(i32::from(x));
                    *byte = x as u8;
                }
            }
        }
        for (slot, total) in sums.chunks_exact_mut(4).zip(totals) {
            slot.copy_from_slice(&total.to_le_bytes());
        }
    }
    Ok(())
}

/// Turns packed B into another family's layout, for an artifact that was made on another machine.
///
/// # Errors
/// [`KernelError`] if the layouts describe different matrices or a slice is too short.
pub fn repack_b_i8(
    from: &PackedLayout,
    source: &[u8],
    to: &PackedLayout,
    out: &mut [u8],
) -> Result<(), KernelError> {
    check(from, &(0..from.panels()), source.len())?;
    check(to, &(0..to.panels()), out.len())?;
    if (from.taps, from.k, from.n) != (to.taps, to.k, to.n) {
        return Err(KernelError::spec(
            "repack",
            format!("{from:?} is not the matrix of {to:?}"),
        ));
    }
    let groups = from.taps * from.k.div_ceil(4);
    for panel in 0..to.panels() {
        let out = &mut out[panel * to.panel_len()..][..to.panel_len()];
        // Column sums are one more row of four-byte entries: they move like the groups.
        for row in 0..=groups {
            for j in 0..to.nr {
                let n = panel * to.nr + j;
                let slot = &mut out[(row * to.nr + j) * 4..][..4];
                if n < from.n {
                    let at = (n / from.nr) * from.panel_len() + (row * from.nr + n % from.nr) * 4;
                    slot.copy_from_slice(&source[at..at + 4]);
                } else {
                    slot.fill(0);
                }
            }
        }
    }
    Ok(())
}

fn check(layout: &PackedLayout, panels: &Range<usize>, out: usize) -> Result<(), KernelError> {
    layout.validate()?;
    if layout.element != PackedElement::I8 {
        return Err(KernelError::spec(
            "packed element",
            "int8 is packed here, the layout is f32",
        ));
    }
    if panels.start > panels.end || panels.end > layout.panels() {
        let detail = format!("{panels:?} of {}", layout.panels());
        return Err(KernelError::spec("panels", detail));
    }
    KernelError::check_len("packed b", panels.len() * layout.panel_len(), out)
}
