//! Launches: sizes checked once, then grid points spread evenly over a pool of threads.

use std::ops::Range;

use alula_kernel::Access;
use alula_microkernel::{KernelError, Pool};
use alula_tensor::Symbol;
use smallvec::SmallVec;

use super::module::Entry;
use super::watch::{Stop, flag, is_set};
use super::{CpuModule, LaunchError};

/// Parts of a launch for each thread at most: who is done early takes those of others.
const PARTS_EACH: usize = 4;

/// Memory passed for one parameter.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub(super) pointer: *mut u8,
    pub(super) bytes: usize,
    writable: bool,
}

impl Buffer {
    /// Memory that the kernel reads.
    pub fn read(bytes: &[u8]) -> Buffer {
        Buffer {
            pointer: bytes.as_ptr().cast_mut(),
            bytes: bytes.len(),
            writable: false,
        }
    }

    /// Memory that the kernel writes.
    pub fn write(bytes: &mut [u8]) -> Buffer {
        Buffer {
            pointer: bytes.as_mut_ptr(),
            bytes: bytes.len(),
            writable: true,
        }
    }

    /// Memory that the kernel reads, by address.
    pub fn raw_read(pointer: *mut u8, bytes: usize) -> Buffer {
        Buffer {
            pointer,
            bytes,
            writable: false,
        }
    }

    /// Memory by address, for arenas whose parts are handed out by a plan.
    pub fn raw(pointer: *mut u8, bytes: usize) -> Buffer {
        Buffer {
            pointer,
            bytes,
            writable: true,
        }
    }
}

/// A kernel with its sizes for one binding of symbols: checked and evaluated once, launched often.
#[derive(Debug)]
pub struct Launch<'m> {
    entry: Entry,
    name: &'m str,
    /// Name, bytes and access of each parameter.
    params: Vec<(&'m str, u64, Access)>,
    symbols: Vec<i64>,
    points: i64,
}

impl<'m> Launch<'m> {
    /// Evaluates the kernel's sizes under a binding.
    ///
    /// # Errors
    /// [`LaunchError`] if the kernel does not exist, a symbol is unbound or a size is out of range.
    pub fn new(
        module: &'m CpuModule,
        kernel: usize,
        bind: &dyn Fn(&Symbol) -> Option<i64>,
    ) -> Result<Launch<'m>, LaunchError> {
        let count = module.kernels().len();
        let missing = || LaunchError::NoKernel {
            index: kernel,
            count,
        };
        let entry = module.entry(kernel).ok_or_else(missing)?;
        let kernel = module.kernels().get(kernel).ok_or_else(missing)?;
        let name = kernel.name.as_str();
        let size = |detail: String| LaunchError::Size {
            kernel: name.to_owned(),
            detail,
        };
        let mut params = Vec::with_capacity(kernel.params.len());
        for param in &kernel.params {
            let elements = param
                .elements
                .eval(bind)
                .map_err(|e| LaunchError::dim(name, &e))?;
            let bytes = u64::try_from(elements.max(0))
                .ok()
                .and_then(|n| n.checked_mul(param.dtype.size_bytes() as u64))
                .filter(|&bytes| i64::try_from(bytes).is_ok())
                .ok_or_else(|| size(format!("buffer {} is too large", param.name)))?;
            params.push((param.name.as_str(), bytes, param.access));
        }
        let mut symbols = Vec::with_capacity(kernel.symbols.len());
        for symbol in &kernel.symbols {
            let value = bind(symbol);
            symbols.push(value.ok_or_else(|| size(format!("{} is not bound", symbol.name())))?);
        }
        let mut points = 1_i64;
        for extent in &kernel.grid {
            let extent = extent.eval(bind).map_err(|e| LaunchError::dim(name, &e))?;
            points = points
                .checked_mul(extent.max(0))
                .ok_or_else(|| size("the grid is too large".to_owned()))?;
        }
        Ok(Launch {
            entry,
            name,
            params,
            symbols,
            points,
        })
    }

    /// Number of grid points.
    pub fn points(&self) -> i64 {
        self.points
    }

    /// Runs every grid point, on the pool in at most `parts` even parts (1 runs on this thread).
    ///
    /// # Errors
    /// [`LaunchError`] if a buffer is missing, too short, or written though given for reading.
    ///
    /// # Safety
    /// Each buffer is valid for its length while this runs. Nobody else writes what the kernel
    /// reads or touches what it writes, and a written buffer overlaps no other one, unless grid
    /// points read and write the same element only.
    pub unsafe fn run(
        &self,
        pool: &Pool,
        parts: usize,
        buffers: &[Buffer],
    ) -> Result<(), LaunchError> {
        self.check(buffers)?;
        // SAFETY: the caller's.
        let done = self.call(buffers, |call| unsafe {
            call.spread(pool, parts, self.points, None)
        });
        done.map_err(|error| LaunchError::Failed {
            kernel: self.name.to_owned(),
            detail: error.to_string(),
        })
    }

    /// The function, for callers that make the checks of a launch themselves.
    pub(super) fn entry(&self) -> Entry {
        self.entry
    }

    /// Whether these bounds, bytes and whether it is written, are at least as strict as the
    /// kernel's own.
    pub(super) fn is_checked_by(&self, params: &[(u64, bool)]) -> bool {
        params.len() == self.params.len()
            && params
                .iter()
                .zip(&self.params)
                .all(|(&(bytes, is_written), own)| {
                    bytes >= own.1 && (is_written || own.2 == Access::Read)
                })
    }

    /// Runs some of the grid points on this thread, in row-major order.
    ///
    /// # Errors
    /// As [`Launch::run`]; also for points that do not exist.
    ///
    /// # Safety
    /// As [`Launch::run`], for these points.
    pub unsafe fn run_points(
        &self,
        buffers: &[Buffer],
        points: Range<i64>,
    ) -> Result<(), LaunchError> {
        self.check(buffers)?;
        if points.start < 0 || points.end > self.points {
            let detail = format!("points {points:?} of {}", self.points);
            return Err(LaunchError::Size {
                kernel: self.name.to_owned(),
                detail,
            });
        }
        self.call(buffers, |call| {
            // SAFETY: the caller's, for these points.
            unsafe { call.points(points.start, points.end) }
        });
        Ok(())
    }

    /// Gives `use_it` the function with the addresses of its buffers.
    fn call<R>(&self, buffers: &[Buffer], use_it: impl FnOnce(&Call<'_>) -> R) -> R {
        let pointers = buffers.iter().map(|buffer| buffer.pointer);
        let pointers: SmallVec<[*mut u8; 32]> = pointers.chain([flag(None)]).collect();
        use_it(&Call {
            entry: self.entry,
            buffers: pointers.as_ptr(),
            symbols: &self.symbols,
        })
    }

    fn check(&self, buffers: &[Buffer]) -> Result<(), LaunchError> {
        let kernel = || self.name.to_owned();
        if buffers.len() != self.params.len() {
            return Err(LaunchError::Count {
                kernel: kernel(),
                what: "buffers",
                wanted: self.params.len(),
                given: buffers.len(),
            });
        }
        for (buffer, &(param, wanted, access)) in buffers.iter().zip(&self.params) {
            if (buffer.bytes as u64) < wanted {
                let (param, given) = (param.to_owned(), buffer.bytes);
                return Err(LaunchError::Short {
                    kernel: kernel(),
                    param,
                    wanted,
                    given,
                });
            }
            if access != Access::Read && !buffer.writable {
                return Err(LaunchError::ReadOnly {
                    kernel: kernel(),
                    param: param.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// One function with its arguments, shared by the threads of a launch.
pub(super) struct Call<'a> {
    pub(super) entry: Entry,
    /// The buffers, then the flag.
    pub(super) buffers: *const *mut u8,
    pub(super) symbols: &'a [i64],
}

// SAFETY: the pointers are only handed on to the function, whose points are independent.
unsafe impl Sync for Call<'_> {}

impl Call<'_> {
    /// # Safety
    /// As [`Launch::run`].
    unsafe fn points(&self, begin: i64, end: i64) {
        // SAFETY: the caller's.
        unsafe { (self.entry)(self.buffers, self.symbols.as_ptr(), begin, end) }
    }

    /// Runs points until the flag of `watch` is set, at which it looks every so many points.
    ///
    /// # Safety
    /// As [`Launch::run`].
    unsafe fn points_until(&self, begin: i64, end: i64, watch: Option<(&Stop, i64)>) {
        let Some((stop, every)) = watch else {
            // SAFETY: the caller's.
            return unsafe { self.points(begin, end) };
        };
        let mut at = begin;
        while at < end && !is_set(Some(stop)) {
            let next = at.saturating_add(every).min(end);
            // SAFETY: the caller's.
            unsafe { self.points(at, next) };
            at = next;
        }
    }

    /// Runs all `points` in at most `parts` even parts, or as many as it can before the flag of
    /// `watch` is set.
    ///
    /// # Safety
    /// As [`Launch::run`].
    pub(super) unsafe fn spread(
        &self,
        pool: &Pool,
        parts: usize,
        points: i64,
        watch: Option<(&Stop, i64)>,
    ) -> Result<(), KernelError> {
        let parts = parts
            .min(pool.threads() * PARTS_EACH)
            .min(usize::try_from(points).unwrap_or(1));
        if parts <= 1 {
            // SAFETY: the caller's.
            unsafe { self.points_until(0, points, watch) };
            return Ok(());
        }
        let cut = |part: usize| (i128::from(points) * part as i128 / parts as i128) as i64;
        pool.run(parts, |part, _worker| {
            // SAFETY: the caller's; parts are disjoint, and points are independent.
            unsafe { self.points_until(cut(part), cut(part + 1), watch) }
        })
    }
}
