//! The packed form of a right side: how long it is, and how it is made.
//!
//! A packing depends on the right side alone, not on the sizes of the left side. That of a constant
//! is known when a program is compiled, so that the program holds the packed form and a run reads
//! it where it lies. It is made in parts, which may be written at the same time.

use std::ops::Range;
use std::sync::OnceLock;

use alula_microkernel::{
    BStrides, ByteSign, Isa, PackedElement, PackedLayout, Pool, Products, pack_b, pack_b_i8,
    pack_depthwise, repack_b, repack_b_i8,
};
use alula_tensor::DType;

use super::bound::{ContractError, SendPointer};

/// How the right side of a contraction is packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Packing {
    /// First element of the right side, unpacked.
    pub(super) first: isize,
    /// Dtype of the right side.
    pub(super) source: DType,
    pub(super) filters: Filters,
}

/// Which micro-kernels read a packed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedFor {
    /// The family.
    pub isa: Isa,
    /// How they multiply f32.
    pub products: Products,
}

impl PackedFor {
    /// The layout of a right side of f32.
    pub(super) fn layout(self, taps: usize, k: usize, n: usize) -> PackedLayout {
        match self.products {
            Products::Whole => PackedLayout::f32(self.isa, taps, k, n),
            Products::Six | Products::Three | Products::One => {
                PackedLayout::bf16(self.isa, self.products.parts() as u8, taps, k, n)
            }
        }
    }

    /// Whether both read the same.
    #[cfg(feature = "device")]
    pub(crate) fn is_same(self, other: PackedFor) -> bool {
        let vectors = |isa: Isa| isa.without_tiles();
        self.products == other.products && vectors(self.isa) == vectors(other.isa)
    }
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
    /// The dtype of the right side.
    pub fn source(&self) -> DType {
        self.source
    }

    /// The dtype of the packed form's elements: `f32`, or `u8` for bytes of either sign and the
    /// sums of columns that follow them.
    pub fn dtype(&self) -> DType {
        match self.source {
            DType::F32 => DType::F32,
            _ => DType::U8,
        }
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

    /// Packs a right side, on the pool if there is one. Constant right sides are packed once and
    /// stored; others before each run.
    ///
    /// # Errors
    /// [`ContractError`] if a slice is too short.
    pub fn pack_on(
        &self,
        pool: Option<&Pool>,
        source: &[f32],
        out: &mut [f32],
    ) -> Result<(), ContractError> {
        let (parts, each) = (self.parts(), self.part_len());
        let len = out.len();
        let Some(pool) = pool.filter(|pool| pool.threads() > 1 && parts > 1) else {
            return self.pack(source, 0..parts, out);
        };
        if self.elements()? > len {
            let (what, first) = ("the packed right side", (parts * each) as isize);
            return Err(ContractError::First { what, first, len });
        }
        let base = SendPointer(out.as_mut_ptr());
        let failed = OnceLock::new();
        pool.run(parts, |part, _worker| {
            // SAFETY: each task has its own part within `out`, whose length was checked.
            let out = unsafe { std::slice::from_raw_parts_mut(base.at(part * each), each) };
            if let Err(error) = self.pack(source, part..part + 1, out) {
                failed.get_or_init(|| error);
            }
        })?;
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// A word on the form, for people.
    pub fn describe(&self) -> String {
        match &self.filters {
            Filters::Panels { layout, .. } => {
                let (columns, isa) = (layout.nr, layout.isa.name());
                match layout.element {
                    PackedElement::Bf16(parts) => {
                        format!("{columns} columns of {parts} bf16 parts for {isa}")
                    }
                    PackedElement::F32 | PackedElement::I8 => {
                        format!("{columns} columns for {isa}")
                    }
                }
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

    /// As [`Packing::pack`], for a right side of bytes.
    ///
    /// # Errors
    /// As [`Packing::pack`].
    pub fn pack_bytes(
        &self,
        source: &[u8],
        parts: Range<usize>,
        out: &mut [u8],
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
                    let sign = sign(self.source);
                    pack_b_i8(layout, (from, sign), *strides, at..at + 1, out)?;
                }
                Ok(())
            }
            Filters::Depthwise {
                channels,
                taps,
                transpose,
            } => {
                from_first("the right side", source, out.len() as isize)?;
                for (at, slot) in out.iter_mut().enumerate() {
                    *slot = match transpose {
                        true => source[at % channels * taps + at / channels],
                        false => source[at],
                    };
                }
                Ok(())
            }
        }
    }

    /// Writes the packed form to `out`, out of the form that other micro-kernels have of the same
    /// right side.
    ///
    /// # Errors
    /// [`ContractError`] if a slice is too short.
    pub fn repack(
        &self,
        from: PackedFor,
        source: &[f32],
        out: &mut [f32],
    ) -> Result<(), ContractError> {
        self.repack_with((source, out), |layout, source, out| {
            let other = from.layout(layout.taps, layout.k, layout.n);
            repack_b(&other, source, layout, out)?;
            Ok(other.len())
        })
    }

    /// As [`Packing::repack`], for a right side of bytes.
    ///
    /// # Errors
    /// As [`Packing::repack`].
    pub fn repack_bytes(
        &self,
        from: Isa,
        source: &[u8],
        out: &mut [u8],
    ) -> Result<(), ContractError> {
        self.repack_with((source, out), |layout, source, out| {
            let other = PackedLayout::i8(from, layout.taps, layout.k, layout.n);
            repack_b_i8(&other, source, layout, out)?;
            Ok(other.len())
        })
    }

    /// Has `entry` write each entry of a batch; it says how much of the source that took.
    fn repack_with<T: Copy>(
        &self,
        (mut source, out): (&[T], &mut [T]),
        entry: impl Fn(&PackedLayout, &[T], &mut [T]) -> Result<usize, ContractError>,
    ) -> Result<(), ContractError> {
        let out = self.room(&(0..self.parts()), out)?;
        match &self.filters {
            Filters::Panels { layout, .. } => {
                for out in out.chunks_exact_mut(layout.len().max(1)) {
                    let taken = entry(layout, source, out)?;
                    source = from_first("the packed right side", source, taken as isize)?;
                }
                Ok(())
            }
            // Every family takes the same.
            Filters::Depthwise { .. } => {
                from_first("the packed right side", source, out.len() as isize)?;
                out.copy_from_slice(&source[..out.len()]);
                Ok(())
            }
        }
    }

    /// What the parts fill of `out`.
    fn room<'o, T>(
        &self,
        parts: &Range<usize>,
        out: &'o mut [T],
    ) -> Result<&'o mut [T], ContractError> {
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

/// What lies behind the first element: nothing where that is behind the end, as of a part without
/// elements.
fn from_first<'s, T>(
    what: &'static str,
    source: &'s [T],
    first: isize,
) -> Result<&'s [T], ContractError> {
    let rest = usize::try_from(first).map(|first| source.get(first..).unwrap_or_default());
    rest.map_err(|_| ContractError::First {
        what,
        first,
        len: source.len(),
    })
}

/// The sign of bytes.
pub(super) fn sign(dtype: DType) -> ByteSign {
    match dtype {
        DType::I8 => ByteSign::Signed,
        _ => ByteSign::Unsigned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two entries of 5 by 37, of a right side that begins at its fourth element.
    fn panels(source: DType, isa: Isa) -> Packing {
        let layout = match source {
            DType::F32 => PackedLayout::f32(isa, 1, 5, 37),
            _ => PackedLayout::i8(isa, 1, 5, 37),
        };
        Packing {
            first: 3,
            source,
            filters: Filters::Panels {
                layout,
                strides: BStrides::rows(37),
                entries: vec![0, 185],
            },
        }
    }

    #[test]
    fn repacking_gives_what_packing_gives() {
        let bytes: Vec<u8> = (0..3 + 370).map(|k| (k * 37 % 251) as u8).collect();
        let floats: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte)).collect();
        for (from, to) in Isa::ALL.into_iter().flat_map(|a| Isa::ALL.map(|b| (a, b))) {
            let pack = |isa| {
                let packing = panels(DType::F32, isa);
                let mut out = vec![f32::NAN; packing.elements().expect("a length")];
                let packed = packing.pack(&floats, 0..packing.parts(), &mut out);
                packed.expect("packed");
                out
            };
            let mut out = vec![f32::NAN; pack(to).len()];
            let whole = PackedFor {
                isa: from,
                products: Products::Whole,
            };
            let repacked = panels(DType::F32, to).repack(whole, &pack(from), &mut out);
            repacked.expect("repacked");
            assert_eq!(out, pack(to), "{from:?} to {to:?}");
            for source in [DType::I8, DType::U8] {
                let pack = |isa| {
                    let packing = panels(source, isa);
                    let mut out = vec![0xAA; packing.elements().expect("a length")];
                    let packed = packing.pack_bytes(&bytes, 0..packing.parts(), &mut out);
                    packed.expect("packed");
                    out
                };
                let mut out = vec![0xAA; pack(to).len()];
                let repacked = panels(source, to).repack_bytes(from, &pack(from), &mut out);
                repacked.expect("repacked");
                assert_eq!(out, pack(to), "{source} from {from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn parts_that_are_not_there_and_short_slices_are_refused() {
        let packing = panels(DType::F32, Isa::Portable);
        let (source, parts) = (vec![0.0; 373], packing.parts());
        let mut out = vec![0.0; packing.elements().expect("a length")];
        let mut refused = |source: &[f32], parts: Range<usize>, len: usize| {
            packing.pack(source, parts, &mut out[..len]).is_err()
        };
        let each = packing.part_len();
        assert!(!refused(&source, 1..2, each));
        assert!(refused(&source, parts..parts + 1, each));
        assert!(refused(&source, 0..2, each));
        assert!(refused(&source[..372], parts - 1..parts, each));
    }
}
