//! f32 products by tiles of bf16: both sides are split into parts whose sum is the value.
//!
//! Three parts hold all 24 bits of an f32, two hold 16. The products of parts that matter are
//! summed in f32: six of three parts, three of two. Tiles count subnormal numbers as zeros, and the
//! rounded first part of a number near the largest is an infinity. So the exponents of both sides
//! are known: those of B since it was packed, those of A since it was split, just before use, for
//! 32 rows and a block of K at a time ([`Found`]). Where a product of parts could lose something
//! ([`is_safe`]), those rows and that panel are multiplied in f32, with B put together again. A
//! panel with an infinity or the like holds f32 from the start. A product of one part rounds to
//! bf16 and has no such guard: that is what was asked for.
//!
//! What is done depends on the descriptor and the values, not on how tasks are spread.

mod line;
mod pack;
mod plan;
mod rows;
mod run;
#[cfg(target_arch = "x86_64")]
mod stream;
mod waiting;
mod whole;
mod window;

pub(crate) use pack::{pack_panel, unpack_panel};
pub use plan::FEW_ROWS;
pub(crate) use plan::TileSizes;
pub(super) use plan::{rows_in_place, strips_max};
pub(crate) use window::Lines;

/// Rows of a register tile.
pub(crate) const STRIP: usize = rows::STRIP;

/// Whether a number is held as parts in a packed panel, or as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Parts,
    /// `[k][32]` f32.
    Whole,
}

/// The range of the absolute values other than zero that were found, as the bits of f32. There are
/// none where the least is `u32::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) least: u32,
    pub(crate) most: u32,
}

impl Found {
    pub(crate) const NOTHING: Self = Self {
        least: u32::MAX,
        most: 0,
    };

    pub(crate) fn join(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }

    /// Exponents of the least and of the greatest, -127 for subnormal numbers and 128 for what is
    /// not finite.
    fn exponents(self) -> (i32, i32) {
        (
            (self.least >> 23) as i32 - 127,
            (self.most >> 23) as i32 - 127,
        )
    }

    /// Whether all are numbers whose parts add up to them: the last part, some 2^24 below, is no
    /// subnormal number, and the first does not round to an infinity.
    pub(crate) fn is_splittable(self) -> bool {
        let (least, most) = self.exponents();
        least >= LEAST && most <= MOST
    }
}

/// Least exponent of a number that is split, and of a product of two.
const LEAST: i32 = -100;
/// Greatest exponent of a number that is split.
const MOST: i32 = 126;

/// Whether products of parts lose nothing that f32 keeps: neither is a product of the smallest
/// parts subnormal, nor can a sum of `depth` products overflow, in any order.
pub(crate) fn is_safe(a: Found, b: Found, depth: usize) -> bool {
    if !a.is_splittable() || !b.is_splittable() {
        return false;
    }
    if a.least == u32::MAX || b.least == u32::MAX {
        return true;
    }
    let ((a_least, a_most), (b_least, b_most)) = (a.exponents(), b.exponents());
    let carries = (usize::BITS - depth.leading_zeros()) as i32;
    a_least + b_least >= LEAST && a_most + b_most + 2 + carries <= MOST
}

/// Rounds to bf16, half away from zero; the result has the upper 16 bits only.
#[inline(always)]
fn round(bits: u32) -> u32 {
    bits.wrapping_add(0x8000) & 0xffff_0000
}

/// Takes the parts of a number that is in range: their upper 16 bits.
#[inline(always)]
fn take_part(rest: &mut f32) -> u32 {
    let part = round(rest.to_bits());
    *rest -= f32::from_bits(part);
    part
}

/// Rounds any f32 to bf16 as the processor's instruction does: to nearest even, with zeros for
/// subnormal numbers; what is not a number stays so.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let rounded = match magnitude {
        0x7f80_0001.. => bits | 0x0040_0000,
        0..0x0080_0000 => bits & 0x8000_0000,
        _ => bits.wrapping_add(0x7fff + (bits >> 16 & 1)),
    };
    (rounded >> 16) as u16
}
