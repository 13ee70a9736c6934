//! Integer batch-reduce products: u8 or s8 times s8 to i32, exact, with zero points.
//!
//! `C[m, n] (=|+=) sum_t sum_k (A - a_zero) * (B - b_zero[n]) + bias[n]`, modulo 2^32. Kernels
//! multiply raw bytes, by vectors or by tiles, with the same result; zero points come in through
//! the column sums that packing appends to B and through row sums of A where B has a zero point.
//! Four of the K axis are multiplied at a time. [`IntDepthwise`] is the same for convolutions of
//! each channel with its own filter.

#[cfg(target_arch = "x86_64")]
mod channels;
#[cfg(target_arch = "x86_64")]
mod chunk;
mod copy;
mod depthwise;
mod dot;
mod kernel;
mod pack;
mod part;
mod plain;
mod plan;
mod run;
#[cfg(target_arch = "x86_64")]
mod runs;
mod strip;
mod tiles;

pub use depthwise::{IntDepthwise, IntDepthwiseOperands};
pub use pack::{pack_b_i8, repack_b_i8};
pub use plan::{ByteSign, IntGemm};
pub use run::IntGemmOperands;

/// Products of bytes from registers, in so many steps, and lanes of a register: the vectors that
/// `isa`, which is available, multiplies bytes with. The function is safe where it is available.
pub(crate) fn chains(isa: crate::isa::Isa) -> (unsafe fn(usize) -> i32, usize) {
    kernel::family(isa, true).chains
}
