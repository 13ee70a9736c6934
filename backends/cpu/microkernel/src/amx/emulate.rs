//! What the tile instructions compute, in plain Rust.

use super::{Operands, SIDE, TILE_BYTES, TILE_LINE, TILE_ROWS, WindowOperands};

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
/// A, B, what sums begin with and where they are stored are valid as [`Operands`] says, for `parts`
/// parts.
pub(crate) unsafe fn multiply_bf16(parts: usize, o: &Operands) {
    for m in 0..SIDE {
        let (tile, row) = (m / TILE_ROWS, m % TILE_ROWS);
        let line = |step: usize, part: usize| {
            let at = ((step * parts + part) * 2 + tile) * TILE_BYTES + row * TILE_LINE;
            o.a.wrapping_add(at)
        };
        let is_there = tile == 0 || o.rows_past;
        for n in 0..SIDE {
            let steps = match is_there && (n < TILE_ROWS || o.cols_past) {
                true => o.steps,
                false => 0,
            };
            // SAFETY: the caller's.
            unsafe {
                let begin = o.begin.map_or(0.0, |(begin, line)| {
                    flush(begin.byte_add(m * line).add(n).read())
                });
                let sum = sum(parts, 0..steps, line, (o.b, n), begin);
                let row = o.out.add(m * o.out_line).cast::<f32>();
                row.add(n).write(sum);
            }
        }
    }
}

/// As `multiply` of windows.
///
/// # Safety
/// A, B and the sums are valid as [`WindowOperands`] says, for `parts` parts.
pub(crate) unsafe fn multiply_window(parts: usize, o: &WindowOperands<'_>) {
    for m in 0..2 * o.rows {
        let (tile, row) = (m / o.rows, m % o.rows);
        for n in 0..SIDE {
            let (mut first, mut total) = (0, 0.0);
            let is_there = (tile == 0 || o.rows_past) && (n < TILE_ROWS || o.cols_past);
            for run in o.runs.iter().filter(|_| is_there) {
                let start = run.starts[tile].wrapping_add(row * o.line);
                let line = |step: usize, part: usize| {
                    start.wrapping_add(((step - first) * parts + part) * TILE_LINE)
                };
                // SAFETY: the caller's.
                total = unsafe { sum(parts, first..first + run.steps, line, (o.b, n), total) };
                first += run.steps;
            }
            // SAFETY: the caller's.
            unsafe { o.out.cast::<f32>().add(m * SIDE + n).write(total) };
        }
    }
}

/// The sum of one row and column, `sum` being that of the steps before these. `line` is a row's
/// line of a step and part; B begins with step 0.
///
/// # Safety
/// The lines and B are valid.
unsafe fn sum(
    parts: usize,
    steps: std::ops::Range<usize>,
    line: impl Fn(usize, usize) -> *const u8,
    (b, column): (*const u8, usize),
    mut sum: f32,
) -> f32 {
    let number = |from: *const u8, at: usize| {
        // SAFETY: the caller's.
        let bits = unsafe { from.add(at).cast::<u16>().read_unaligned() };
        flush(f32::from_bits(u32::from(bits) << 16))
    };
    let (tile, column) = (column / TILE_ROWS, column % TILE_ROWS);
    for step in steps {
        for &[pa, pb] in products(parts) {
            let a = line(step, pa);
            let b_at = ((step * parts + pb) * 2 + tile) * TILE_BYTES + column * 4;
            let mut pair = [0f32; 2];
            for k in 0..TILE_ROWS {
                for (i, slot) in pair.iter_mut().enumerate() {
                    let x = number(a, 4 * k + 2 * i);
                    let y = number(b, b_at + TILE_LINE * k + 2 * i);
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
    sum
}
