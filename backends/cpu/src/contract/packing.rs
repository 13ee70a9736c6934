//! The packed form of a right side: how long it is, and how it is made.
//!
//! A packing depends on the right side alone, not on the sizes of the left side. That of a constant
//! is known when a program is compiled, so that the program holds the packed form and a run reads
//! it where it lies. It is made in parts, which may be written at the same time.

use std::ops::Range;

use alula_microkernel::{BStrides, Isa, PackedLayout, pack_b, pack_depthwise, repack_b};
use alula_tensor::DType;

use super::bound::ContractError;

/// How the right side of a contraction is packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Packing {
    /// First element of the right side, unpacked.
    pub(super) first: isize,
    pub(super) filters: Filters,
}

/// The kinds of packed form.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filters {
    /// Panels for each distinct entry of the batch, which begins at one of `entries`.
    Panels {
        layout: PackedLayout,
        strides: BStrides,
        entries: Vec<isize>,
    },
    /// `[C, KH, KW]`, transposed to `[KH, KW, C]` where the kernel wants it so.
    Depthwise {
        channels: usize,
        taps: usize,
        transpose: bool,
    },
}

impl Packing {
    /// The dtype of the packed form's elements.
    pub fn dtype(&self) -> DType {
        DType::F32
    }

    /// Elements of the packed form.
    ///
    /// # Errors
    /// [`ContractError::TooLarge`].
    pub fn elements(&self) -> Result<usize, ContractError> {
        let len = match &self.filters {
            Filters::Panels {
                layout, entries, ..
            } => layout.len().checked_mul(entries.len()),
            Filters::Depthwise { channels, taps, .. } => channels.checked_mul(*taps),
        };
        len.ok_or(ContractError::TooLarge)
    }

    /// Parts of equal length that make up the packed form.
    pub fn parts(&self) -> usize {
        match &self.filters {
            Filters::Panels {
                layout, entries, ..
            } => match layout.len() {
                0 => 0,
                _ => layout.panels() * entries.len(),
            },
            Filters::Depthwise { channels, taps, .. } => usize::from(*channels > 0 && *taps > 0),
        }
    }

    /// Elements of a part.
    pub fn part_len(&self) -> usize {
        match &self.filters {
            Filters::Panels { layout, .. } => layout.panel_len(),
            Filters::Depthwise { channels, taps, .. } => channels * taps,
        }
    }

    /// A word on the form, for people.
    pub fn describe(&self) -> String {
        match &self.filters {
            Filters::Panels { layout, .. } => {
                format!("{} columns for {}", layout.nr, layout.isa.name())
            }
            Filters::Depthwise {
                transpose: true, ..
            } => "channels last".to_owned(),
            Filters::Depthwise { .. } => "channels first".to_owned(),
        }
    }

    /// Writes some of the parts to `out`, which begins at the first of them and is filled whole.
    ///
    /// # Errors
    /// [`ContractError`] if a slice is too short or a part does not exist.
    pub fn pack(
        &self,
        source: &[f32],
        parts: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), ContractError> {
        let source = from_first("the right side", source, self.first)?;
        let out = self.room(&parts, out)?;
        match &self.filters {
            Filters::Panels {
                layout,
                strides,
                entries,
            } => {
                let panels = layout.panels();
                for (part, out) in parts.zip(out.chunks_exact_mut(layout.panel_len().max(1))) {
                    let (entry, at) = (entries[part / panels], part % panels);
                    let from = from_first("the right side", source, entry)?;
                    pack_b(layout, from, *strides, at..at + 1, out)?;
                }
                Ok(())
            }
            Filters::Depthwise {
                channels,
                taps,
                transpose: true,
            } if !out.is_empty() => Ok(pack_depthwise(source, *channels, *taps, out)?),
            Filters::Depthwise { .. } => {
                let filters = source.get(..out.len());
                let filters = filters.ok_or(ContractError::First {
                    what: "the right side",
                    first: out.len() as isize,
                    len: source.len(),
                })?;
                out.copy_from_slice(filters);
                Ok(())
            }
        }
    }

    /// Writes the packed form to `out`, out of the form that the family `from` has of the same
    /// right side.
    ///
    /// # Errors
    /// [`ContractError`] if a slice is too short.
    pub fn repack(&self, from: Isa, source: &[f32], out: &mut [f32]) -> Result<(), ContractError> {
        let out = self.room(&(0..self.parts()), out)?;
        match &self.filters {
            Filters::Panels {
                layout, entries, ..
            } => {
                let other = PackedLayout::f32(from, layout.taps, layout.k, layout.n);
                let (each, own) = (other.len(), layout.len().max(1));
                for (entry, out) in (0..entries.len()).zip(out.chunks_exact_mut(own)) {
                    let source = source.get(entry * each..).unwrap_or_default();
                    repack_b(&other, source, layout, out)?;
                }
                Ok(())
            }
            // Every family takes the same.
            Filters::Depthwise { .. } => {
                let source = source.get(..out.len()).ok_or(ContractError::First {
                    what: "the packed right side",
                    first: out.len() as isize,
                    len: source.len(),
                })?;
                out.copy_from_slice(source);
                Ok(())
            }
        }
    }

    /// What the parts fill of `out`.
    fn room<'o>(
        &self,
        parts: &Range<usize>,
        out: &'o mut [f32],
    ) -> Result<&'o mut [f32], ContractError> {
        self.elements()?;
        let wanted = parts.len() * self.part_len();
        let len = out.len();
        let exist = parts.end <= self.parts();
        let room = out.get_mut(..wanted).filter(|_| exist);
        room.ok_or(ContractError::First {
            what: "the packed right side",
            first: wanted as isize,
            len,
        })
    }
}

/// What lies behind the first element.
fn from_first<'s>(
    what: &'static str,
    source: &'s [f32],
    first: isize,
) -> Result<&'s [f32], ContractError> {
    let rest = usize::try_from(first)
        .ok()
        .and_then(|first| source.get(first..));
    rest.ok_or(ContractError::First {
        what,
        first,
        len: source.len(),
    })
}
