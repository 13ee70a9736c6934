//! How B lies in memory once packed: a description small enough to record in an artifact.
//!
//! Packed B is `[panel][tap][k][nr]` for f32 and `[panel][tap][k/4][nr][4]` (then `nr` column sums
//! as i32 bytes per panel) for int8; `nr` columns to a panel, the last panel filled up with zeros.
//! Parts of bf16 are `[panel][step][part][2][k/2][16][2]`: taps and K are one axis, cut into steps
//! of 32; two of K are neighbours: one and the next of a single part, which A may be stored as, one
//! and the sixteenth after it of more. A line of words at the end of a panel says what was found in
//! it. Their elements are counted in words of 32 bits, any bits of which are an `f32`. The data are
//! only valid for the [`Isa`] family in the description: a loader that finds another family repacks
//! (see [`crate::repack_b`]).

use serde::{Deserialize, Serialize};

use crate::{error::KernelError, isa::Isa};

/// The element type of a packed B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PackedElement {
    /// 32-bit floats.
    F32,
    /// Signed bytes, four of the K axis to a group, with the sums of each column appended.
    I8,
    /// f32 values, each split into so many bf16 parts: 1, 2 or 3.
    Bf16(u8),
}

/// Taps and K that a tile of bf16 takes at once.
pub(crate) const SPLIT_STEP: usize = 32;
/// Columns of a panel of bf16 parts.
pub(crate) const SPLIT_COLS: usize = 32;
/// Words of one part of one step of a panel: a bf16 for each element.
pub(crate) const SPLIT_WORDS: usize = SPLIT_STEP * SPLIT_COLS / 2;
/// Words at the end of a panel of bf16 parts; see `gemm::split::Found`.
pub(crate) const SPLIT_TRAILER: usize = 16;

/// A packed B: `k x n` for each of `taps` taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PackedLayout {
    /// The family whose kernels read this layout.
    pub isa: Isa,
    /// What is packed.
    pub element: PackedElement,
    /// Columns to a panel.
    pub nr: usize,
    /// Columns of B.
    pub n: usize,
    /// Rows of B for each tap.
    pub k: usize,
    /// Taps (1 for a plain product).
    pub taps: usize,
}

impl PackedLayout {
    /// The layout of f32 weights for the kernels of `isa`.
    pub fn f32(isa: Isa, taps: usize, k: usize, n: usize) -> Self {
        Self {
            isa,
            element: PackedElement::F32,
            nr: isa.tile_f32().1,
            n,
            k,
            taps,
        }
    }

    /// The layout of int8 weights for the kernels of `isa`.
    pub fn i8(isa: Isa, taps: usize, k: usize, n: usize) -> Self {
        Self {
            isa,
            element: PackedElement::I8,
            nr: isa.tile_i8().1,
            n,
            k,
            taps,
        }
    }

    /// The layout of f32 weights for [`crate::Products`] of so many bf16 parts.
    pub fn bf16(isa: Isa, parts: u8, taps: usize, k: usize, n: usize) -> Self {
        Self {
            isa,
            element: PackedElement::Bf16(parts),
            nr: SPLIT_COLS,
            n,
            k,
            taps,
        }
    }

    /// Steps of 32 along taps and K, of bf16 parts.
    pub(crate) fn split_steps(&self) -> usize {
        (self.taps * self.k).div_ceil(SPLIT_STEP)
    }

    /// Panels: `ceil(n / nr)`.
    pub fn panels(&self) -> usize {
        self.n.div_ceil(self.nr)
    }

    /// Elements (f32), words (bf16 parts) or bytes (int8, column sums included) in one panel.
    pub fn panel_len(&self) -> usize {
        match self.element {
            PackedElement::F32 => self.taps * self.k * self.nr,
            PackedElement::I8 => (self.taps * self.k.div_ceil(4) * 4 + 4) * self.nr,
            PackedElement::Bf16(parts) => {
                self.split_steps() * usize::from(parts) * SPLIT_WORDS + SPLIT_TRAILER
            }
        }
    }

    /// Elements (f32), words (bf16 parts) or bytes (int8) in all.
    pub fn len(&self) -> usize {
        self.panels() * self.panel_len()
    }

    /// Whether there is nothing to pack.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks a description that was read from outside: the panel width must be the family's own,
    /// and the length must be representable.
    ///
    /// # Errors
    /// [`KernelError::Spec`] naming the fact at fault.
    pub fn validate(&self) -> Result<(), KernelError> {
        let nr = match self.element {
            PackedElement::F32 => self.isa.tile_f32().1,
            PackedElement::I8 => self.isa.tile_i8().1,
            PackedElement::Bf16(1..=3) => SPLIT_COLS,
            PackedElement::Bf16(parts) => {
                let detail = format!("{parts} parts of bf16; there are 1, 2 or 3");
                return Err(KernelError::spec("packed element", detail));
            }
        };
        if self.nr != nr {
            let detail = format!("{} columns, but {} packs {nr}", self.nr, self.isa.name());
            return Err(KernelError::spec("packed panel width", detail));
        }
        let columns = self.n.checked_next_multiple_of(self.nr);
        let depth = self
            .k
            .checked_add(63)
            .and_then(|k| k.checked_mul(self.taps));
        let len = columns
            .zip(depth)
            .and_then(|(c, d)| d.checked_add(64)?.checked_mul(2)?.checked_mul(c));
        match len.filter(|&len| len <= isize::MAX as usize / 4) {
            Some(_) => Ok(()),
            None => Err(KernelError::spec(
                "packed size",
                "overflows the address space",
            )),
        }
    }
}
