//! Windows whose taps are read where they lie: each pixel is split once for a block of rows.
//!
//! The lines of the image that a block's window moves over are split into records, one a pixel,
//! with those of the padding. Rows of the result that are in one line of it are evenly apart there,
//! for each tap, so that tiles are loaded from the records themselves. Tiles are as high as divides
//! a line of the result evenly: none has rows of two lines.

use super::{
    Found,
    line::{Element, Seen},
};
use crate::{
    amx::{Run, TILE_LINE, TILE_ROWS},
    gemm::spec::{ARows, GemmSpec, Stored, Window},
    isa::Isa,
    layout::SPLIT_STEP,
};

/// Bytes of records to a block at most: they stay in the second-level cache.
const RECORDS_MAX: usize = 800 << 10;
/// Register tiles to a block at most.
pub(super) const WINDOW_STRIPS_MAX: usize = 32;
/// Taps of a window at most.
pub(super) const TAPS_MAX: usize = 64;
/// Rows of a tile at least: lower ones take as long to load of B.
const ROWS_MIN: usize = 12;
/// How many times a pixel is used at least.
const USES_MIN: usize = 2;

/// A window over split pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    window: Window,
    k: usize,
    parts: usize,
    stored: Stored,
    /// Rows of a tile.
    pub(super) rows: usize,
    /// Pixels of a line of an image with its padding, and lines of it, as far as the window moves.
    size: [usize; 2],
    /// Register tiles of a block at most, and lines that such a block moves over.
    strips_max: usize,
    lines_max: usize,
}

/// The records of a block.
#[derive(Clone, Copy)]
pub(super) struct Records {
    /// The first line, counted over all images with their padding.
    first: usize,
    at: *mut u8,
    /// What is in each of them.
    found: *mut Found,
}

impl Lines {
    /// The window of a product, if its pixels are to be split once.
    pub(crate) fn new(spec: &GemmSpec) -> Option<Self> {
        let ARows::Window(window) = spec.a_rows else {
            return None;
        };
        let (parts, taps) = (spec.products.parts(), window.kernel[0] * window.kernel[1]);
        let is_even = spec.a_k_stride == 1 && spec.k > 0 && spec.k.is_multiple_of(SPLIT_STEP);
        let has_gaps = window.dilation != [1, 1]
            || (0..2).any(|axis| window.stride[axis] > window.kernel[axis]);
        let width = window.out[1];
        let tiles = width.div_ceil(TILE_ROWS).max(1);
        let rows = width / tiles;
        let is_fit = is_even
            && !has_gaps
            && (2..=TAPS_MAX).contains(&taps)
            && rows >= ROWS_MIN
            && width.is_multiple_of(tiles)
            && spec.m > 0;
        if !is_fit || parts == 0 {
            return None;
        }
        let size = [1, 0].map(|axis| {
            let moved = (window.out[axis] - 1).checked_mul(window.stride[axis]);
            moved.and_then(|moved| moved.checked_add(window.kernel[axis]))
        });
        let mut lines = Self {
            window,
            k: spec.k,
            parts,
            stored: spec.a_stored,
            rows,
            size: [size[0]?, size[1]?],
            strips_max: WINDOW_STRIPS_MAX,
            lines_max: 0,
        };
        while lines.strips_max > 0 {
            let rows =
                (lines.strips_max * lines.strip()).min(spec.m.next_multiple_of(lines.strip()));
            lines.lines_max = lines.lines_under(rows);
            let pixels = lines.lines_max.checked_mul(lines.size[0])?;
            if pixels.checked_mul(lines.record())? <= RECORDS_MAX {
                return (pixels * USES_MIN <= rows * taps).then_some(lines);
            }
            lines.strips_max = lines.strips_max * 3 / 4;
        }
        None
    }

    /// Rows of a register tile, and how many of them are in a block at most.
    pub(crate) fn strips(&self) -> [usize; 2] {
        [self.strip(), self.strips_max]
    }

    /// Rows of a register tile.
    pub(super) fn strip(&self) -> usize {
        2 * self.rows
    }

    /// Bytes of a record: the parts of each step.
    fn record(&self) -> usize {
        self.k / SPLIT_STEP * self.parts * TILE_LINE
    }

    /// Bytes of the records of a block at most, and of the ranges of what is in them.
    pub(super) fn records_bytes(&self) -> usize {
        self.lines_max * self.size[0] * (self.record() + size_of::<Found>())
    }

    /// Lines that the window of so many rows moves over at most.
    fn lines_under(&self, rows: usize) -> usize {
        let [height, width] = self.window.out;
        let of_result = (width - self.rows + rows - 1) / width + 1;
        // From one image to the next it moves by its whole height.
        let images = match self.window.images {
            1 => 0,
            _ => rows / (width * height) + 1,
        };
        let [stride, kernel] = [self.window.stride[0], self.window.kernel[0]];
        (of_result - 1) * stride + kernel + images * (kernel - stride)
    }

    /// The line of records, over all images, that the first tap of a row is in, and its column.
    fn at(&self, row: usize) -> [usize; 2] {
        let [height, width] = self.window.out;
        let (line, column) = (row / width, row % width);
        let (image, line) = (line / height, line % height);
        [
            image * self.size[1] + line * self.window.stride[0],
            column * self.window.stride[1],
        ]
    }

    /// Splits the pixels under rows of the result.
    ///
    /// # Safety
    /// `a` is the operand, and `at` has room for [`Lines::records_bytes`].
    pub(super) unsafe fn split(
        &self,
        isa: Isa,
        a: *const u8,
        rows: std::ops::Range<usize>,
        at: *mut u8,
    ) -> Records {
        let first = self.at(rows.start)[0];
        let end = self.at(rows.end - 1)[0] + self.window.kernel[0];
        assert!(
            end - first <= self.lines_max,
            "a block is higher than planned"
        );
        let w = &self.window;
        let (record, split) = (self.record(), splitter(isa, self.parts, self.stored));
        let bytes = self.stored.bytes() as isize;
        let found = at.wrapping_add(self.lines_max * self.size[0] * record);
        let found = found.cast::<Found>();
        for line in first..end {
            let (image, below) = (line / self.size[1], line % self.size[1]);
            // What lies before the image wraps to huge numbers, which are not below its size.
            let y = below.wrapping_sub(w.pad[0]);
            let start = a
                .wrapping_offset(image as isize * w.strides[0] * bytes)
                .wrapping_offset((y as isize).wrapping_mul(w.strides[1]).wrapping_mul(bytes));
            let pixel = (line - first) * self.size[0];
            let (to, found) = (at.wrapping_add(pixel * record), found.wrapping_add(pixel));
            let left = w.pad[1].min(self.size[0]);
            let right = match y < w.input[0] {
                true => (left + w.input[1]).min(self.size[0]),
                false => left,
            };
            // SAFETY: the caller's: pixels from `left` to `right` are in the image.
            unsafe {
                for outside in [0..left, right..self.size[0]] {
                    let bytes = outside.len() * record;
                    to.add(outside.start * record).write_bytes(0, bytes);
                    for column in outside {
                        found.add(column).write(Found::NOTHING);
                    }
                }
                split(&Pixels {
                    first: start,
                    apart: w.strides[2],
                    count: right - left,
                    k: self.k,
                    records: to.add(left * record),
                    found: found.add(left),
                });
            }
        }
        Records { first, at, found }
    }

    /// The pixel under the first tap of a row.
    fn pixel(&self, records: &Records, row: usize) -> usize {
        let [line, column] = self.at(row);
        (line - records.first) * self.size[0] + column
    }

    /// Bytes from one row of a tile to the next.
    pub(super) fn line(&self) -> usize {
        self.window.stride[1] * self.record()
    }

    /// The runs of a register tile in some steps, one a tap; how many there are.
    pub(super) fn runs(
        &self,
        records: &Records,
        row: usize,
        (first_step, steps): (usize, usize),
        runs: &mut [Run; TAPS_MAX],
    ) -> usize {
        let each = self.k / SPLIT_STEP;
        let starts = [row, row + self.rows].map(|row| {
            let pixel = self.pixel(records, row);
            records.at.wrapping_add(pixel * self.record()).cast_const()
        });
        let (mut count, mut step) = (0, first_step);
        while step < first_step + steps {
            let (tap, at) = (step / each, step % each);
            let here = (each - at).min(first_step + steps - step);
            let [y, x] = [tap / self.window.kernel[1], tap % self.window.kernel[1]];
            let by = (y * self.size[0] + x) * self.record() + at * self.parts * TILE_LINE;
            runs[count] = Run {
                starts: starts.map(|start| start.wrapping_add(by)),
                steps: here,
            };
            (count, step) = (count + 1, step + here);
        }
        count
    }

    /// The range of what is under some rows in some steps: all of the lines that have a tap there,
    /// from the first tap's column to the last one's.
    ///
    /// # Safety
    /// The records are those of the block that the rows are in.
    pub(super) unsafe fn found(
        &self,
        records: &Records,
        (row, rows): (usize, usize),
        (first_step, steps): (usize, usize),
    ) -> Found {
        let mut found = Found::NOTHING;
        if self.parts == 1 || steps == 0 {
            return found;
        }
        let of_line = self.k / SPLIT_STEP * self.window.kernel[1];
        let lines = first_step / of_line..(first_step + steps).div_ceil(of_line);
        let columns = (self.rows - 1) * self.window.stride[1] + self.window.kernel[1];
        for tile in (0..rows).step_by(self.rows) {
            let pixel = self.pixel(records, row + tile);
            for line in lines.clone() {
                let first = pixel + line * self.size[0];
                // SAFETY: the caller's.
                let under = unsafe {
                    std::slice::from_raw_parts(records.found.add(first).cast_const(), columns)
                };
                found = under.iter().fold(found, |found, &here| found.join(here));
            }
        }
        found
    }
}

/// Pixels of a line, and where their records go.
struct Pixels {
    /// Elements as the image stores them.
    first: *const u8,
    /// Elements from one to the next.
    apart: isize,
    count: usize,
    k: usize,
    records: *mut u8,
    found: *mut Found,
}

/// # Safety (of the function)
/// The pixels are valid, there is room for their records and ranges, and the family that it was
/// chosen for is available.
type SplitPixels = unsafe fn(&Pixels);

#[inline(always)]
unsafe fn split_pixels<T: Element, const PARTS: usize, const NATIVE: bool>(t: &Pixels) {
    let steps = t.k / SPLIT_STEP;
    let bytes = steps * PARTS * TILE_LINE;
    for pixel in 0..t.count {
        let mut seen = Seen::NOTHING;
        // SAFETY: the caller's.
        unsafe {
            let from = t.first.cast::<T>().offset(pixel as isize * t.apart);
            let record = t.records.add(pixel * bytes);
            for step in 0..steps {
                let to = record.add(step * PARTS * TILE_LINE);
                T::write::<PARTS, TILE_LINE, NATIVE>(from.add(step * SPLIT_STEP), &mut seen, to);
            }
            if PARTS > 1 {
                t.found.add(pixel).write(seen.found());
            }
        }
    }
}

/// The function for a family, a number of parts, and how pixels are stored.
fn splitter(isa: Isa, parts: usize, stored: Stored) -> SplitPixels {
    unsafe fn plain<T: Element, const PARTS: usize>(t: &Pixels) {
        // SAFETY: the caller's.
        unsafe { split_pixels::<T, PARTS, false>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    unsafe fn wide<T: Element, const PARTS: usize>(t: &Pixels) {
        // SAFETY: the caller's.
        unsafe { split_pixels::<T, PARTS, false>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
    unsafe fn native(t: &Pixels) {
        // SAFETY: the caller's.
        unsafe { split_pixels::<f32, 1, true>(t) }
    }
    #[cfg(target_arch = "x86_64")]
    match (isa, stored) {
        (Isa::Avx512 | Isa::Amx, Stored::Bf16) => return wide::<u16, 1>,
        (Isa::Amx, Stored::F32) if parts == 1 => return native,
        (Isa::Avx512 | Isa::Amx, Stored::F32) => {
            return [wide::<f32, 1>, wide::<f32, 2>, wide::<f32, 3>][parts - 1];
        }
        (Isa::Portable | Isa::Neon | Isa::Avx2, _) => {}
    }
    let _ = isa;
    match stored {
        Stored::Bf16 => plain::<u16, 1>,
        Stored::F32 => [
            plain::<f32, 1> as SplitPixels,
            plain::<f32, 2>,
            plain::<f32, 3>,
        ][parts - 1],
    }
}
