//! Windows that slide over spatial axes: what convolutions and pools share.
//!
//! Attributes, one entry per spatial axis: `strides` and `dilations` (empty means all 1) and
//! `pads`, all begins and then all ends (absent means none). Pads are dims, because "same" padding
//! of an unknown extent is an expression in it; negative pads crop.

use alula_ir::{AttrKind, AttrSpec, Attrs, InferError};
use alula_tensor::Dim;

/// Distance between neighbouring windows.
pub(crate) const STRIDES: AttrSpec = AttrSpec {
    name: "strides",
    kind: AttrKind::Ints,
    default: alula_ir::AttrDefault::Ints(&[]),
    doc: "distance between windows for each spatial axis; empty means 1",
};

/// Distance between neighbouring taps of a window.
pub(crate) const DILATIONS: AttrSpec = AttrSpec {
    name: "dilations",
    kind: AttrKind::Ints,
    default: alula_ir::AttrDefault::Ints(&[]),
    doc: "distance between taps for each spatial axis; empty means 1",
};

/// Elements added around the operand.
pub(crate) const PADS: AttrSpec = AttrSpec::optional(
    "pads",
    AttrKind::Dims,
    "elements added at the begin of each spatial axis, then at the end of each; absent means 0",
);

/// A sliding window, one entry per spatial axis.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Taps.
    pub kernel: Vec<Dim>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    pub begins: Vec<Dim>,
    pub ends: Vec<Dim>,
}

impl Window {
    /// The window that attributes describe, over as many axes as `kernel` has.
    pub(crate) fn new(attrs: &Attrs, kernel: &[Dim]) -> Result<Window, InferError> {
        let rank = kernel.len();
        let pads = match attrs.has("pads") {
            true => attrs.dims("pads").to_vec(),
            false => vec![Dim::new(0); 2 * rank],
        };
        if pads.len() != 2 * rank {
            return Err(InferError::Mismatch(format!(
                "pads has {} entries, {rank} spatial axes need {}",
                pads.len(),
                2 * rank
            )));
        }
        Ok(Window {
            kernel: kernel.to_vec(),
            strides: per_axis(attrs, "strides", rank)?,
            dilations: per_axis(attrs, "dilations", rank)?,
            begins: pads[..rank].to_vec(),
            ends: pads[rank..].to_vec(),
        })
    }

    /// Extent that the window spans on an axis: `(kernel - 1) * dilation + 1`.
    pub(crate) fn span(&self, axis: usize) -> Dim {
        (self.kernel[axis].clone() - Dim::new(1)) * Dim::new(self.dilations[axis]) + Dim::new(1)
    }

    /// Number of windows on an axis of extent `extent`. With `ceil_mode` the last window may leave
    /// the end, as long as it starts inside the operand or the padding at its begin.
    pub(crate) fn count(&self, axis: usize, extent: &Dim, ceil_mode: bool) -> Dim {
        let stride = Dim::new(self.strides[axis]);
        let padded = extent.clone() + self.begins[axis].clone();
        let room = padded.clone() + self.ends[axis].clone() - self.span(axis);
        if ceil_mode {
            let all = room.ceil_div(&stride) + Dim::new(1);
            all.minimum(&padded.ceil_div(&stride))
        } else {
            room.floor_div(&stride) + Dim::new(1)
        }
    }

    /// The numbers of windows over the spatial extents.
    pub(crate) fn counts(&self, extents: &[Dim], ceil_mode: bool) -> Vec<Dim> {
        let counts = extents.iter().enumerate();
        counts
            .map(|(axis, extent)| self.count(axis, extent, ceil_mode))
            .collect()
    }

    /// Padding at the begin of each axis as numbers, in a reference.
    pub(crate) fn begins_known(&self) -> Option<Vec<i64>> {
        self.begins.iter().map(Dim::as_const).collect()
    }
}

/// A list attribute with one positive entry per spatial axis; empty means all 1.
pub(crate) fn per_axis(attrs: &Attrs, name: &str, rank: usize) -> Result<Vec<i64>, InferError> {
    let given = attrs.ints(name);
    if given.is_empty() {
        return Ok(vec![1; rank]);
    }
    if given.len() != rank || given.iter().any(|value| *value < 1) {
        return Err(InferError::BadAttr {
            name: name.to_owned(),
            reason: format!("is {given:?}, must be {rank} positive numbers"),
        });
    }
    Ok(given.to_vec())
}
