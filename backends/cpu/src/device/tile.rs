//! Compiled epilogues as hooks of the micro-kernels: one call for each finished tile.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use alula_kernel::Access;
use alula_microkernel::{EpilogueTile, Hook};
use alula_tensor::{Dim, Symbol};
use smallvec::SmallVec;

use super::module::Entry;
use super::watch::flag;
use super::{Buffer, CpuModule, LaunchError};
use crate::TILE_SYMBOLS;
use crate::contract::Place;

/// Buffers and symbols of a tile kernel at most; the hook keeps them on its stack.
const SLOTS_MAX: usize = 32;

/// Where the value of a symbol comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The binding.
    Fixed(i64),
    /// The tile: a position in [`TILE_SYMBOLS`].
    Tile(usize),
}

/// An extent of the grid of a tile: most are the tile's rows or columns, and a tile is finished
/// in less time than an expression takes.
#[derive(Clone, Copy, Debug)]
enum Extent<'m> {
    Fixed(i64),
    /// The value of a symbol, by its position.
    Symbol(usize),
    Expression(&'m Dim),
}

/// A tile kernel with its operands for one run.
#[derive(Debug)]
pub struct TileKernel<'m> {
    entry: Entry,
    name: &'m str,
    names: &'m [Symbol],
    sources: SmallVec<[Source; SLOTS_MAX]>,
    grid: SmallVec<[Extent<'m>; 4]>,
    /// The operands, then two places for the tile.
    pointers: SmallVec<[*mut u8; SLOTS_MAX]>,
    /// Where sums of integers go.
    result: Option<TileResult>,
    failed: AtomicBool,
}

/// A result that tiles are stored to.
#[derive(Clone, Copy, Debug)]
pub(super) struct TileResult {
    /// The element that offsets count from.
    pub(super) pointer: *mut u8,
    /// Bytes of an element.
    pub(super) size: usize,
    /// Where tiles belong.
    pub(super) place: Place,
}

/// A part of a tile, as the kernel takes it.
struct Part {
    /// The first sum, and where its result goes.
    at: [*mut u8; 2],
    /// The first row of the tile, and how many.
    first: usize,
    rows: usize,
    /// Elements between rows of sums and of the result.
    strides: [isize; 2],
}

// SAFETY: the pointers are only handed on to the kernel, which reads the operands.
unsafe impl Sync for TileKernel<'_> {}

impl<'m> TileKernel<'m> {
    /// Checks a tile kernel's operands (those of its parameters before the last two).
    ///
    /// # Errors
    /// [`LaunchError`] if the kernel does not exist or is no tile kernel, an operand is missing or
    /// too short, or a symbol is unbound.
    pub fn new(
        module: &'m CpuModule,
        index: usize,
        bind: &dyn Fn(&Symbol) -> Option<i64>,
        operands: &[Buffer],
    ) -> Result<TileKernel<'m>, LaunchError> {
        let count = module.kernels().len();
        let missing = || LaunchError::NoKernel { index, count };
        let entry = module.entry(index).ok_or_else(missing)?;
        let kernel = module.kernels().get(index).ok_or_else(missing)?;
        let name = kernel.name.as_str();
        let size = |detail: String| LaunchError::Size {
            kernel: name.to_owned(),
            detail,
        };
        let wanted = kernel.params.len();
        if wanted != operands.len() + 2 || wanted.max(kernel.symbols.len()) > SLOTS_MAX {
            return Err(LaunchError::Count {
                kernel: name.to_owned(),
                what: "buffers",
                wanted,
                given: operands.len() + 2,
            });
        }
        for (param, buffer) in kernel.params.iter().zip(operands) {
            let elements = param
                .elements
                .eval(bind)
                .map_err(|e| LaunchError::dim(name, &e))?;
            let bytes = u64::try_from(elements.max(0))
                .ok()
                .and_then(|n| n.checked_mul(param.dtype.size_bytes() as u64))
                .ok_or_else(|| size(format!("buffer {} is too large", param.name)))?;
            if param.access != Access::Read {
                let param = param.name.clone();
                return Err(LaunchError::ReadOnly {
                    kernel: name.to_owned(),
                    param,
                });
            }
            if (buffer.bytes as u64) < bytes {
                return Err(LaunchError::Short {
                    kernel: name.to_owned(),
                    param: param.name.clone(),
                    wanted: bytes,
                    given: buffer.bytes,
                });
            }
        }
        let mut sources = SmallVec::new();
        for symbol in &kernel.symbols {
            let of_tile = TILE_SYMBOLS.iter().position(|name| *name == symbol.name());
            sources.push(match of_tile {
                Some(position) => Source::Tile(position),
                None => {
                    let value = bind(symbol);
                    let unbound = || size(format!("{} is not bound", symbol.name()));
                    Source::Fixed(value.ok_or_else(unbound)?)
                }
            });
        }
        let mut pointers: SmallVec<[*mut u8; SLOTS_MAX]> =
            operands.iter().map(|buffer| buffer.pointer).collect();
        pointers.extend([std::ptr::null_mut(); 2]);
        let names = kernel.symbols.as_slice();
        let extent = |extent: &'m Dim| {
            let symbol = extent.as_symbol();
            let position = |symbol| names.iter().position(|name| name == symbol);
            match (extent.as_const(), symbol.and_then(position)) {
                (Some(extent), _) => Extent::Fixed(extent),
                (None, Some(position)) => Extent::Symbol(position),
                (None, None) => Extent::Expression(extent),
            }
        };
        let grid = kernel.grid.iter().map(extent).collect();
        let failed = AtomicBool::new(false);
        Ok(TileKernel {
            entry,
            name,
            names,
            sources,
            grid,
            pointers,
            result: None,
            failed,
        })
    }

    /// The hook of a contraction of floats. It refers to `self`, which must outlive its use; the
    /// operands must be valid then.
    pub fn hook(&self) -> Hook {
        Hook {
            function: finish_tile,
            user: std::ptr::from_ref(self).cast_mut().cast::<c_void>(),
        }
    }

    /// The hook of a contraction of integers, which stores tiles to `result`. As for
    /// [`TileKernel::hook`]; the result must be valid too.
    pub(super) fn store_hook(&mut self, result: TileResult) -> Hook<i32> {
        self.result = Some(result);
        Hook {
            function: store_tile,
            user: std::ptr::from_ref(self).cast_mut().cast::<c_void>(),
        }
    }

    /// Whether every tile was finished, after a run.
    ///
    /// # Errors
    /// [`LaunchError::Failed`] if a tile's size could not be evaluated.
    pub fn check(&self) -> Result<(), LaunchError> {
        if self.failed.load(Ordering::Relaxed) {
            let detail = "the grid of a tile could not be evaluated".to_owned();
            return Err(LaunchError::Failed {
                kernel: self.name.to_owned(),
                detail,
            });
        }
        Ok(())
    }

    /// Runs the kernel on a part of a tile.
    ///
    /// # Safety
    /// The elements are live and exclusively ours, and the operands are valid.
    unsafe fn run<T>(&self, tile: &EpilogueTile<T>, part: &Part) {
        let values = [
            part.rows,
            tile.cols,
            part.strides[0] as usize,
            tile.m0 + part.first,
            tile.n0,
            tile.batch,
            part.strides[1] as usize,
        ]
        .map(|value| value as i64);
        let mut symbols = [0_i64; SLOTS_MAX];
        for (slot, source) in symbols.iter_mut().zip(&self.sources) {
            *slot = match *source {
                Source::Fixed(value) => value,
                Source::Tile(position) => values[position],
            };
        }
        let bind = |symbol: &Symbol| {
            let position = self.names.iter().position(|name| name == symbol)?;
            symbols.get(position).copied()
        };
        let points = self.grid.iter().try_fold(1_i64, |points, extent| {
            let extent = match *extent {
                Extent::Fixed(extent) => extent,
                Extent::Symbol(position) => symbols[position],
                Extent::Expression(extent) => extent.eval(&bind).ok()?,
            };
            points.checked_mul(extent.max(0))
        });
        let Some(points) = points else {
            self.failed.store(true, Ordering::Relaxed);
            return;
        };
        let mut pointers = [std::ptr::null_mut(); SLOTS_MAX + 1];
        let count = self.pointers.len();
        pointers[count] = flag(None);
        pointers[..count].copy_from_slice(&self.pointers);
        pointers[count - 2..count].copy_from_slice(&part.at);
        // SAFETY: operands were checked when this was made; the tile is the caller's.
        unsafe { (self.entry)(pointers.as_ptr(), symbols.as_ptr(), 0, points) };
    }
}

/// A tile kernel for the rows of a block, which its micro-kernels count from 0.
pub(super) struct OfBlock<'k, 'm> {
    pub(super) kernel: &'k TileKernel<'m>,
    /// The first row of the block, and the entry of the batch that it is of.
    pub(super) row: usize,
    pub(super) entry: usize,
}

impl OfBlock<'_, '_> {
    /// As [`TileKernel::hook`].
    pub(super) fn hook(&self) -> Hook {
        Hook {
            function: finish_tile_of_block,
            user: std::ptr::from_ref(self).cast_mut().cast::<c_void>(),
        }
    }
}

/// Finishes a tile of a block in place.
unsafe extern "C" fn finish_tile_of_block(tile: *const EpilogueTile) {
    // SAFETY: the micro-kernels pass a live tile, with the `user` that `OfBlock::hook` gave.
    let (tile, block) = unsafe { (&*tile, &*(*tile).user.cast::<OfBlock<'_, '_>>()) };
    let tile = EpilogueTile {
        m0: tile.m0 + block.row,
        batch: block.entry,
        user: block.kernel.hook().user,
        ..*tile
    };
    // SAFETY: a live tile of the kernel.
    unsafe { finish_tile(&raw const tile) };
}

/// Lengths of runs of rows that are evenly apart, by `strides` (the distance to the next row).
fn runs(
    rows: usize,
    strides: impl Fn(usize) -> [isize; 2],
) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        if first >= rows {
            return None;
        }
        let start = first;
        first += 1;
        while first < rows && strides(first - 1) == strides(start) {
            first += 1;
        }
        Some((start, first - start))
    })
}

/// Finishes a tile in place.
unsafe extern "C" fn finish_tile(tile: *const EpilogueTile) {
    // SAFETY: the micro-kernels pass a live tile, with the `user` that `hook` gave.
    let (tile, kernel) = unsafe { (&*tile, &*(*tile).user.cast::<TileKernel<'_>>()) };
    // SAFETY: there is an offset for each row.
    let offsets = unsafe { std::slice::from_raw_parts(tile.row_offsets, tile.rows) };
    let strides = |row: usize| [offsets[row + 1] - offsets[row]; 2];
    for (first, rows) in runs(tile.rows, strides) {
        // SAFETY: the rows lie within the tile.
        unsafe {
            let part = Part {
                at: [tile.c.offset(offsets[first]).cast(); 2],
                first,
                rows,
                strides: if rows > 1 { strides(first) } else { [0; 2] },
            };
            kernel.run(tile, &part);
        }
    }
}

/// Stores a tile of sums of integers.
unsafe extern "C" fn store_tile(tile: *const EpilogueTile<i32>) {
    // SAFETY: the micro-kernels pass a live tile, with the `user` that `store_hook` gave.
    let (tile, kernel) = unsafe { (&*tile, &*(*tile).user.cast::<TileKernel<'_>>()) };
    // SAFETY: there are two offsets for each row.
    let (offsets, out) = unsafe {
        (
            std::slice::from_raw_parts(tile.row_offsets, tile.rows),
            std::slice::from_raw_parts(tile.out_rows, tile.rows),
        )
    };
    let Some(result) = &kernel.result else {
        kernel.failed.store(true, Ordering::Relaxed);
        return;
    };
    let column = tile.out + tile.n0 as isize * result.place.step;
    let size = result.size as isize;
    let strides = |row: usize| [offsets[row + 1] - offsets[row], out[row + 1] - out[row]];
    let finish = |first: usize, rows: usize| {
        // SAFETY: the rows lie within the tile, and belong where the result was checked to reach.
        unsafe {
            let sums = tile.c.offset(offsets[first]).cast();
            let to = result.pointer.offset((column + out[first]) * size);
            let part = Part {
                at: [sums, to],
                first,
                rows,
                strides: if rows > 1 { strides(first) } else { [0, 1] },
            };
            kernel.run(tile, &part);
        }
    };
    for (first, rows) in runs(tile.rows, strides) {
        let is_fit = rows == 1 || !result.place.are_rows_adjacent || strides(first)[1] == 1;
        if is_fit {
            finish(first, rows);
        } else {
            (first..first + rows).for_each(|row| finish(row, 1));
        }
    }
}
