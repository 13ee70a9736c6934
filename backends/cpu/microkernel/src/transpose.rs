//! Moves between layouts: 2-D transposes, padded copies.
//!
//! A transpose of the last two of three axes is what takes `[N, C, H * W]` to `[N, H * W, C]` and
//! back. Both directions work in blocks that stay in the first-level cache.

use crate::{error::KernelError, isa::Isa};

/// Rows and columns that are transposed while their lines are in the first-level cache.
const BLOCK: usize = 64;

/// Writes `out[c * out_row + r] = source[r * source_row + c]` for `r < rows`, `c < cols`.
/// Elements of `out` between its rows keep their value. Rows of one matrix may be spread over
/// several calls: begin the slices later.
///
/// # Errors
/// [`KernelError::Short`] if a slice ends before the last element; [`KernelError::Isa`] if the
/// family is not available.
pub fn transpose(
    isa: Isa,
    source: &[f32],
    source_row: usize,
    out: &mut [f32],
    out_row: usize,
    [rows, cols]: [usize; 2],
) -> Result<(), KernelError> {
    isa.require()?;
    check(source.len(), source_row, rows, cols, "source")?;
    check(out.len(), out_row, cols, rows, "out")?;
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    for r in (0..rows).step_by(BLOCK) {
        for c in (0..cols).step_by(BLOCK) {
            let size = [(rows - r).min(BLOCK), (cols - c).min(BLOCK)];
            // SAFETY: both slices hold every element of the block; the family is available.
            unsafe {
                let from = source.as_ptr().add(r * source_row + c);
                let to = out.as_mut_ptr().add(c * out_row + r);
                transpose_block(isa, from, source_row as isize, to, out_row as isize, size);
            }
        }
    }
    Ok(())
}

/// As [`transpose`], for elements of any type, at the speed of scalar moves.
///
/// # Errors
/// [`KernelError::Short`] if a slice ends before the last element.
pub fn transpose_any<T: Copy>(
    source: &[T],
    source_row: usize,
    out: &mut [T],
    out_row: usize,
    [rows, cols]: [usize; 2],
) -> Result<(), KernelError> {
    check(source.len(), source_row, rows, cols, "source")?;
    check(out.len(), out_row, cols, rows, "out")?;
    for r in (0..rows).step_by(BLOCK) {
        for c in (0..cols).step_by(BLOCK) {
            for c in c..(c + BLOCK).min(cols) {
                for r in r..(r + BLOCK).min(rows) {
                    out[c * out_row + r] = source[r * source_row + c];
                }
            }
        }
    }
    Ok(())
}

/// Copies the rows of an image `[h, w, c]` (`source`, dense) into the middle of a padded image and
/// fills what surrounds them: `out` is `[h + top + bottom, w + left + right, c]` with `pad =
/// [top, left, bottom, right]`. Call it for each image of a batch. Any element type.
///
/// # Errors
/// [`KernelError::Short`] if a slice is too short; [`KernelError::Spec`] if a size overflows.
pub fn pad_rows<T: Copy>(
    source: &[T],
    [h, w, c]: [usize; 3],
    pad: [usize; 4],
    fill: T,
    out: &mut [T],
) -> Result<(), KernelError> {
    let product = |a: usize, b: usize| a.checked_mul(b);
    let sum = |a: usize, b: usize, c: usize| a.checked_add(b)?.checked_add(c);
    let sizes = || {
        let (width, height) = (sum(w, pad[1], pad[3])?, sum(h, pad[0], pad[2])?);
        let row = product(width, c)?;
        Some((row, product(row, height)?, product(product(w, c)?, h)?))
    };
    let (row, whole, inner) =
        sizes().ok_or_else(|| KernelError::spec("padded size", "overflow"))?;
    KernelError::check_len("source", inner, source.len())?;
    KernelError::check_len("out", whole, out.len())?;
    let (before, middle) = (pad[1] * c, w * c);
    out[..pad[0] * row].fill(fill);
    for y in 0..h {
        let line = &mut out[(pad[0] + y) * row..][..row];
        line[..before].fill(fill);
        line[before..before + middle].copy_from_slice(&source[y * middle..][..middle]);
        line[before + middle..].fill(fill);
    }
    out[(pad[0] + h) * row..whole].fill(fill);
    Ok(())
}

/// Checks that `rows` rows of `cols` elements, `row` apart, lie within `len`.
fn check(
    len: usize,
    row: usize,
    rows: usize,
    cols: usize,
    operand: &'static str,
) -> Result<(), KernelError> {
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    let needed = (rows - 1)
        .checked_mul(row)
        .and_then(|last| last.checked_add(cols));
    let needed = needed.ok_or_else(|| KernelError::spec(operand, "size overflows"))?;
    KernelError::check_len(operand, needed, len)
}

/// Transposes one block; strides are in elements and may be negative.
///
/// # Safety
/// Source and target hold every element of the block; the family is available.
pub(crate) unsafe fn transpose_block(
    isa: Isa,
    source: *const f32,
    source_row: isize,
    out: *mut f32,
    out_row: isize,
    [rows, cols]: [usize; 2],
) {
    let (mut whole_rows, mut whole_cols) = (0, 0);
    if is_eight_by_eight(isa) && rows >= 8 && cols >= 8 {
        whole_rows = rows / 8 * 8;
        whole_cols = cols / 8 * 8;
        for r in (0..whole_rows).step_by(8) {
            let starts: [*const f32; 8] =
                std::array::from_fn(|i| source.wrapping_offset((r + i) as isize * source_row));
            for c in (0..whole_cols).step_by(8) {
                // SAFETY: the caller vouches for the elements and the family.
                unsafe {
                    let to = out.offset(c as isize * out_row).add(r);
                    eight_by_eight(starts.map(|p| p.wrapping_add(c)), to, out_row);
                }
            }
        }
    }
    for c in 0..cols {
        let first = if c < whole_cols { whole_rows } else { 0 };
        for r in first..rows {
            // SAFETY: the caller vouches for the elements.
            unsafe {
                let x = source.offset(r as isize * source_row).add(c).read();
                out.offset(c as isize * out_row).add(r).write(x);
            }
        }
    }
}

/// Whether [`eight_by_eight`] may be called.
pub(crate) fn is_eight_by_eight(isa: Isa) -> bool {
    matches!(isa, Isa::Avx2 | Isa::Avx512 | Isa::Amx)
}

/// Writes `out[c * out_row + r] = starts[r][c]` for eight rows and columns.
///
/// # Safety
/// All elements are valid, and [`is_eight_by_eight`] holds for a family that is available.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn eight_by_eight(starts: [*const f32; 8], out: *mut f32, out_row: isize) {
    use std::arch::x86_64::{
        _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
        _mm256_unpackhi_ps, _mm256_unpacklo_ps,
    };
    // SAFETY: the caller vouches for the elements.
    unsafe {
        let row = starts.map(|p| _mm256_loadu_ps(p));
        // Pairs of rows, then quads, within each half; then the halves.
        let low = [0, 2, 4, 6].map(|i| _mm256_unpacklo_ps(row[i], row[i + 1]));
        let high = [0, 2, 4, 6].map(|i| _mm256_unpackhi_ps(row[i], row[i + 1]));
        let quads = |pair: [_; 2]| {
            [
                _mm256_shuffle_ps::<0x44>(pair[0], pair[1]),
                _mm256_shuffle_ps::<0xee>(pair[0], pair[1]),
            ]
        };
        let (a, b) = (quads([low[0], low[1]]), quads([high[0], high[1]]));
        let (c, d) = (quads([low[2], low[3]]), quads([high[2], high[3]]));
        let upper = [a[0], a[1], b[0], b[1]];
        let lower = [c[0], c[1], d[0], d[1]];
        for i in 0..4 {
            let first = _mm256_permute2f128_ps::<0x20>(upper[i], lower[i]);
            let second = _mm256_permute2f128_ps::<0x31>(upper[i], lower[i]);
            _mm256_storeu_ps(out.offset(i as isize * out_row), first);
            _mm256_storeu_ps(out.offset((i + 4) as isize * out_row), second);
        }
    }
}

/// As the x86-64 form; never reached, since no family of another architecture asks for it.
///
/// # Safety
/// All elements are valid.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn eight_by_eight(starts: [*const f32; 8], out: *mut f32, out_row: isize) {
    for (r, start) in starts.into_iter().enumerate() {
        for c in 0..8 {
            // SAFETY: the caller vouches for the elements.
            unsafe {
                out.offset(c as isize * out_row)
                    .add(r)
                    .write(start.add(c).read())
            };
        }
    }
}
