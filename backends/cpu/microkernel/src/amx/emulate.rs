//! What the tile instructions compute, in plain Rust.

use super::{Operands, SIDE, TILE_BYTES, TILE_LINE, TILE_ROWS};

/// The parts of A and B of each product, in the order of the kernels.
const SIX: [[usize; 2]; 6] = [[0, 2], [0, 1], [1, 1], [1, 0], [2, 0], [0, 0]];
const THREE: [[usize; 2]; 3] = [[1, 0], [0, 0], [0, 1]];
const ONE: [[usize; 2]; 1] = [[0, 0]];

/// The products that are taken of so many parts.
fn products(parts: usize) -> &'static [[usize; 2]] {
    match parts {
        1 => &ONE,
        2 => &THREE,
        _ => &SIX,
    }
}

/// Subnormal numbers count as zeros, before and after.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0 * x } else { x }
}

/// As the kernel of the same name.
///
/// # Safety
/// A, B and the sums are valid as [`Operands`] says, for `parts` parts.
pub(crate) unsafe fn multiply_bf16(parts: usize, o: &Operands) {
    let out = o.out.cast::<f32>();
    let number = |from: *const u8, at: usize| {
        // SAFETY: the caller's.
        let bits = unsafe { from.add(at).cast::<u16>().read_unaligned() };
        flush(f32::from_bits(u32::from(bits) << 16))
    };
    for m in 0..SIDE {
        for n in 0..SIDE {
            let (tile_m, tile_n) = (m / TILE_ROWS, n / TILE_ROWS);
            let is_there = (tile_m == 0 || o.rows_past) && (tile_n == 0 || o.cols_past);
            let mut sum = 0f32;
            for step in (0..o.steps).filter(|_| is_there) {
                for &[pa, pb] in products(parts) {
                    let a =
                        ((step * parts + pa) * 2 + tile_m) * TILE_BYTES + m % TILE_ROWS * TILE_LINE;
                    let b = ((step * parts + pb) * 2 + tile_n) * TILE_BYTES + n % TILE_ROWS * 4;
                    let mut pair = [0f32; 2];
                    for k in 0..TILE_ROWS {
                        for (i, slot) in pair.iter_mut().enumerate() {
                            let x = number(o.a, a + 4 * k + 2 * i);
                            let y = number(o.b, b + TILE_LINE * k + 2 * i);
                            // A product of bf16 is exact, unless it leaves the range.
                            let product = x * y;
                            *slot = flush(match product.is_normal() {
                                true => product + *slot,
                                false => x.mul_add(y, *slot),
                            });
                        }
                    }
                    sum = flush(sum + flush(pair[0] + pair[1]));
                }
            }
            // SAFETY: the caller's.
            unsafe { out.add(m * SIDE + n).write(sum) };
        }
    }
}
