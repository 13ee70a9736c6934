//! Products of bytes from registers.

use super::{CHAINS, STEPS, least};
use crate::{int8, isa::Isa};

/// GOP/s that this core reaches in products of bytes of `isa`, multiplications and additions
/// counted, best of several short rounds. Zero if `isa` is not available.
pub fn byte_peak(isa: Isa) -> f64 {
    if !isa.is_available() {
        return 0.0;
    }
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Amx {
        return super::tiles::bytes();
    }
    let (rounds, lanes) = int8::chains(isa);
    let seconds = least(300, || {
        // SAFETY: the family is available.
        std::hint::black_box(unsafe { rounds(STEPS) });
    });
    (8 * lanes * CHAINS * STEPS) as f64 / seconds * 1e-9
}
