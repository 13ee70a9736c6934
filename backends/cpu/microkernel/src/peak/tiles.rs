//! Products of tiles from registers, four sums in turns as in the kernels.

use std::arch::asm;

use super::least;
use crate::amx::Tiles;

const STEPS: usize = 5_000;
const ROUNDS: usize = 200;
/// Products of tiles in a step, and sums in each.
const SUMS: usize = 4 * 16 * 16;

macro_rules! chains {
    ($dot:literal) => {{
        // SAFETY: the caller found the tiles.
        let _tiles = unsafe { Tiles::configure() };
        least(ROUNDS, || {
            // SAFETY: registers only, which hold zeros.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "tilezero tmm4",
                    "tilezero tmm5",
                    "tilezero tmm6",
                    "tilezero tmm7",
                    "2:",
                    concat!($dot, " tmm0, tmm4, tmm6", room!()),
                    concat!($dot, " tmm1, tmm4, tmm7", room!()),
                    concat!($dot, " tmm2, tmm5, tmm6", room!()),
                    concat!($dot, " tmm3, tmm5, tmm7", room!()),
                    "dec {steps}",
                    "jnz 2b",
                    steps = inout(reg) STEPS => _,
                    options(nomem, nostack)
                );
            }
        })
    }};
}

/// GFLOP/s of tiles of bf16; there are tiles.
pub(super) fn bf16() -> f64 {
    let seconds = chains!("tdpbf16ps");
    (2 * 32 * SUMS * STEPS) as f64 / seconds * 1e-9
}

/// GOP/s of tiles of bytes; there are tiles.
pub(super) fn bytes() -> f64 {
    let seconds = chains!("tdpbusd");
    (2 * 64 * SUMS * STEPS) as f64 / seconds * 1e-9
}
