//! Compiled epilogues as hooks of the micro-kernels: one call for each finished tile.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use alula_kernel::Access;
use alula_microkernel::{EpilogueTile, Hook};
use alula_tensor::{Dim, Symbol};

use super::module::Entry;
use super::{Buffer, CpuModule, LaunchError};
use crate::TILE_SYMBOLS;

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

/// A tile kernel with its operands for one run.
#[derive(Debug)]
pub struct TileKernel<'m> {
    entry: Entry,
    name: &'m str,
    names: &'m [Symbol],
    sources: Vec<Source>,
    grid: &'m [Dim],
    /// The operands, then two places for the tile.
    pointers: Vec<*mut u8>,
    failed: AtomicBool,
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
        let mut sources = Vec::with_capacity(kernel.symbols.len());
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
        let mut pointers: Vec<*mut u8> = operands.iter().map(|buffer| buffer.pointer).collect();
        pointers.extend([std::ptr::null_mut(); 2]);
        let (names, grid) = (kernel.symbols.as_slice(), kernel.grid.as_slice());
        let failed = AtomicBool::new(false);
        Ok(TileKernel {
            entry,
            name,
            names,
            sources,
            grid,
            pointers,
            failed,
        })
    }

    /// The hook. It refers to `self`, which must outlive its use; the operands must be valid then.
    pub fn hook(&self) -> Hook {
        Hook {
            function: finish_tile,
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

    /// Runs the kernel on `rows` rows, `stride` elements apart, of which the first is at `start`.
    ///
    /// # Safety
    /// The elements are live and exclusively ours, and the operands are valid.
    unsafe fn run(
        &self,
        tile: &EpilogueTile,
        start: *mut f32,
        first: usize,
        rows: usize,
        stride: isize,
    ) {
        let values = [
            rows,
            tile.cols,
            stride as usize,
            tile.m0 + first,
            tile.n0,
            tile.batch,
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
            points.checked_mul(extent.eval(&bind).ok()?.max(0))
        });
        let Some(points) = points else {
            self.failed.store(true, Ordering::Relaxed);
            return;
        };
        let mut pointers = [std::ptr::null_mut(); SLOTS_MAX];
        let count = self.pointers.len();
        pointers[..count].copy_from_slice(&self.pointers);
        pointers[count - 2..count].fill(start.cast());
        // SAFETY: operands were checked when this was made; the tile is the caller's.
        unsafe { (self.entry)(pointers.as_ptr(), symbols.as_ptr(), 0, points) };
    }
}

/// Finishes a tile in runs of rows that are evenly apart.
unsafe extern "C" fn finish_tile(tile: *const EpilogueTile) {
    // SAFETY: the micro-kernels pass a live tile, with the `user` that `hook` gave.
    let (tile, kernel) = unsafe { (&*tile, &*(*tile).user.cast::<TileKernel<'_>>()) };
    // SAFETY: there is an offset for each row.
    let offsets = unsafe { std::slice::from_raw_parts(tile.row_offsets, tile.rows) };
    let mut first = 0;
    while first < offsets.len() {
        let stride = offsets
            .get(first + 1)
            .map_or(0, |next| next - offsets[first]);
        let even = offsets[first..]
            .windows(2)
            .take_while(|pair| pair[1] - pair[0] == stride);
        let rows = 1 + even.count();
        // SAFETY: the rows lie within the tile.
        unsafe { kernel.run(tile, tile.c.offset(offsets[first]), first, rows, stride) };
        first += rows;
    }
}
