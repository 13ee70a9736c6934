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

/// An extent of the grid of a tile: most are the tile's rows or columns, and a tile is finished
/// in less time than an expression takes.
#[derive(Clone, Debug)]
enum Extent {
    Fixed(i64),
    /// The value of a symbol, by its position.
    Symbol(usize),
    Expression(Dim),
}

/// A tile kernel with its sizes for one binding of symbols: evaluated once, used in many runs.
#[derive(Debug)]
pub struct TilePlan {
    entry: Entry,
    name: String,
    names: Vec<Symbol>,
    /// Name and least bytes of each operand.
    needed: Vec<(String, u64)>,
    /// The value of each symbol; of those that a tile decides, any.
    values: Vec<i64>,
    /// Positions of symbols that a tile decides, and which of [`TILE_SYMBOLS`] they are.
    of_tile: Vec<(usize, usize)>,
    grid: Vec<Extent>,
}

/// A tile kernel with its operands for one run.
#[derive(Debug)]
pub struct TileKernel<'p> {
    plan: &'p TilePlan,
    /// The operands, then two places for the tile.
    pointers: SmallVec<[*mut u8; 8]>,
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

impl TilePlan {
    /// Evaluates a tile kernel's sizes under a binding.
    ///
    /// # Errors
    /// [`LaunchError`] if the kernel does not exist or is no tile kernel, or a symbol is unbound.
    pub fn new(
        module: &CpuModule,
        index: usize,
        bind: &dyn Fn(&Symbol) -> Option<i64>,
    ) -> Result<TilePlan, LaunchError> {
        let count = module.kernels().len();
        let missing = || LaunchError::NoKernel { index, count };
        let entry = module.entry(index).ok_or_else(missing)?;
        let kernel = module.kernels().get(index).ok_or_else(missing)?;
        let name = kernel.name.as_str();
        let size = |detail: String| LaunchError::Size {
            kernel: name.to_owned(),
            detail,
        };
        let most = kernel.params.len().max(kernel.symbols.len());
        let Some(operands) = kernel.params.len().checked_sub(2) else {
            return Err(size("it takes no tile".to_owned()));
        };
        if most > SLOTS_MAX {
            return Err(size(format!("{most} buffers or symbols")));
        }
        let mut needed = Vec::with_capacity(operands);
        for param in &kernel.params[..operands] {
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
            needed.push((param.name.clone(), bytes));
        }
        let (mut values, mut of_tile) = (Vec::new(), Vec::new());
        for (position, symbol) in kernel.symbols.iter().enumerate() {
            let known = TILE_SYMBOLS.iter().position(|name| *name == symbol.name());
            if let Some(known) = known {
                of_tile.push((position, known));
                values.push(0);
                continue;
            }
            let unbound = || size(format!("{} is not bound", symbol.name()));
            values.push(bind(symbol).ok_or_else(unbound)?);
        }
        let extent = |extent: &Dim| {
            let symbol = extent.as_symbol();
            let position = |symbol| kernel.symbols.iter().position(|name| name == symbol);
            match (extent.as_const(), symbol.and_then(position)) {
                (Some(extent), _) => Extent::Fixed(extent),
                (None, Some(position)) => Extent::Symbol(position),
                (None, None) => Extent::Expression(extent.clone()),
            }
        };
        Ok(TilePlan {
            entry,
            name: name.to_owned(),
            names: kernel.symbols.clone(),
            needed,
            values,
            of_tile,
            grid: kernel.grid.iter().map(extent).collect(),
        })
    }
}

impl<'p> TileKernel<'p> {
    /// Checks a tile kernel's operands (those of its parameters before the last two). They and the
    /// module of the plan must be there as long as the kernel is used.
    ///
    /// # Errors
    /// [`LaunchError`] if an operand is missing or too short.
    pub fn new(plan: &'p TilePlan, operands: &[Buffer]) -> Result<TileKernel<'p>, LaunchError> {
        if plan.needed.len() != operands.len() {
            return Err(LaunchError::Count {
                kernel: plan.name.clone(),
                what: "buffers",
                wanted: plan.needed.len() + 2,
                given: operands.len() + 2,
            });
        }
        for ((param, wanted), buffer) in plan.needed.iter().zip(operands) {
            if (buffer.bytes as u64) < *wanted {
                return Err(LaunchError::Short {
                    kernel: plan.name.clone(),
                    param: param.clone(),
                    wanted: *wanted,
                    given: buffer.bytes,
                });
            }
        }
        let pointers = operands.iter().map(|buffer| buffer.pointer);
        Ok(TileKernel {
            plan,
            pointers: pointers.chain([std::ptr::null_mut(); 2]).collect(),
            result: None,
            failed: AtomicBool::new(false),
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
                kernel: self.plan.name.clone(),
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
        let plan = self.plan;
        let mut symbols = [0_i64; SLOTS_MAX];
        symbols[..plan.values.len()].copy_from_slice(&plan.values);
        for &(position, of_tile) in &plan.of_tile {
            symbols[position] = values[of_tile];
        }
        let bind = |symbol: &Symbol| {
            let position = plan.names.iter().position(|name| name == symbol)?;
            symbols.get(position).copied()
        };
        let points = plan.grid.iter().try_fold(1_i64, |points, extent| {
            let extent = match extent {
                Extent::Fixed(extent) => *extent,
                Extent::Symbol(position) => symbols[*position],
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
        unsafe { (plan.entry)(pointers.as_ptr(), symbols.as_ptr(), 0, points) };
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
