//! Contractions of bytes with sizes: packing of the right side, scratch, and runs.
//!
//! Sums are exact, in `i32` modulo 2^32. A compiled epilogue stores them in the result's dtype; the
//! micro-kernels themselves never touch the result.

use alula_microkernel::{
    ByteSign, CStore, GemmSpec, Hook, IntDepthwise, IntDepthwiseOperands, IntGemm, IntGemmOperands,
    KernelError, Pool,
};
use alula_tensor::{Dim, Symbol};
use smallvec::SmallVec;

use super::bind::{Sizes, pack_depthwise};
use super::bound::ContractError;
use super::packing::{Packing, sign};
use super::{AxisMap, CpuContract, Form, TILE_SYMBOLS};

/// Zero points, which fit without an allocation unless many columns have their own.
pub(crate) type ZeroPoints = SmallVec<[i32; 256]>;

/// A contraction of bytes that can run. Immutable; share it between threads.
#[derive(Clone, Debug)]
pub struct BoundInteger {
    kernel: Kernel,
    packing: Packing,
    b_sign: ByteSign,
    /// First element of the left side and of the result.
    first: [isize; 2],
    /// Distance of a tile's columns in the result.
    step: isize,
    /// Whether a tile's rows are next to each other in the result.
    are_rows_adjacent: bool,
    /// Elements of the result that are reached.
    result_len: usize,
}

/// Where tiles are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Element of the result that offsets count from.
    pub(crate) first: isize,
    /// Distance of columns.
    pub(crate) step: isize,
    /// Whether the kernel takes rows that are next to each other in the result.
    pub(crate) are_rows_adjacent: bool,
    /// Elements that a run reaches behind the first.
    pub(crate) len: usize,
}

#[derive(Clone, Debug)]
enum Kernel {
    Gemm(Box<IntGemm>),
    Depthwise(Box<IntDepthwise>),
}

/// The memory of one run, each a pointer and a length in bytes.
#[derive(Clone, Copy, Debug)]
pub struct IntegerOperands<'z> {
    /// The left side.
    pub a: (*const u8, usize),
    /// The packed right side.
    pub b: (*const u8, usize),
    /// Zero point of the left side.
    pub a_zero: i32,
    /// Zero points of the right side: none, one, or one for each column.
    pub b_zero: &'z [i32],
    /// Stores finished tiles.
    pub hook: Hook<i32>,
}

/// Where a tile of this form goes: the distance of its rows and of its columns in the result. Rows
/// that are next to each other in the result are said to be, so that they can be stored as vectors;
/// the tile is then handed over in parts in which they are.
pub(super) fn place(form: &Form) -> [Dim; 2] {
    let one = Dim::new(1);
    let stride = |axis: Option<&AxisMap>| axis.map_or(one.clone(), |axis| axis.c.clone());
    let (row, col) = match form {
        Form::Product(product) => (stride(product.rows.last()), stride(product.cols.last())),
        Form::Depthwise(map) => (map.out[2].clone(), one.clone()),
    };
    let is_row = row.is(1) && !col.is(1);
    let row = if is_row {
        one
    } else {
        Dim::named(TILE_SYMBOLS[6])
    };
    [row, col]
}

impl CpuContract {
    /// Sizes and blocks a contraction of bytes, as [`CpuContract::bind`] does one of floats.
    ///
    /// # Errors
    /// As [`CpuContract::bind`].
    pub fn bind_integer(
        &self,
        bind: &dyn Fn(&Symbol) -> Option<i64>,
        threads: usize,
    ) -> Result<BoundInteger, ContractError> {
        let sizes = Sizes { bind };
        let are_rows_adjacent = place(&self.form)[0].is(1);
        let signs = [sign(self.a_dtype), sign(self.b_dtype)];
        match &self.form {
            Form::Product(product) => {
                let packing = self.pack_product(&sizes, product)?;
                let (spec, first) = self.product_spec(&sizes, product, &packing)?;
                let step = match spec.c_store {
                    CStore::Strided(step) => step,
                    CStore::Rows | CStore::Bf16 | CStore::ByHook => 1,
                };
                let axes = [&product.batch, &product.rows, &product.cols];
                let axes = axes.into_iter().flatten();
                let result_len = reach(&sizes, axes.map(|axis| (&axis.extent, &axis.c)))?;
                let spec = GemmSpec {
                    c_store: CStore::ByHook,
                    ..spec
                };
                Ok(BoundInteger {
                    kernel: Kernel::Gemm(Box::new(IntGemm::new(spec, signs[0], threads)?)),
                    packing,
                    b_sign: signs[1],
                    first,
                    step,
                    are_rows_adjacent,
                    result_len,
                })
            }
            Form::Depthwise(map) => {
                let (spec, first) = self.depthwise_spec(&sizes, map)?;
                let window = &map.window;
                let axes = [
                    (&window.images, &map.out[0]),
                    (&window.out[0], &map.out[1]),
                    (&window.out[1], &map.out[2]),
                    (&map.channels, &map.channel[1]),
                ];
                Ok(BoundInteger {
                    kernel: Kernel::Depthwise(Box::new(IntDepthwise::new(spec, signs)?)),
                    packing: pack_depthwise(&sizes, map, self.b_dtype)?,
                    b_sign: signs[1],
                    first,
                    step: 1,
                    are_rows_adjacent,
                    result_len: reach(&sizes, axes.into_iter())?,
                })
            }
        }
    }
}

/// One more than the greatest offset; none may be negative.
fn reach<'d>(
    sizes: &Sizes<'_>,
    axes: impl Iterator<Item = (&'d Dim, &'d Dim)>,
) -> Result<usize, ContractError> {
    let mut last = 0_usize;
    let mut is_empty = false;
    for (extent, stride) in axes {
        let (extent, stride) = (sizes.offset(extent)?, sizes.offset(stride)?);
        is_empty |= extent <= 0;
        let far = extent.saturating_sub(1).max(0).checked_mul(stride);
        let far = far.and_then(|far| usize::try_from(far).ok());
        let sum = far.and_then(|far| last.checked_add(far));
        last = sum.ok_or(ContractError::TooLarge)?;
    }
    Ok(if is_empty { 0 } else { last + 1 })
}

impl BoundInteger {
    /// How the right side is packed.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// Bytes of the packed right side.
    ///
    /// # Errors
    /// [`ContractError::TooLarge`].
    pub fn packed_len(&self) -> Result<usize, ContractError> {
        self.packing.elements()
    }

    /// Bytes of scratch of one run with this many threads.
    pub fn scratch_bytes(&self, threads: usize) -> usize {
        let each = match &self.kernel {
            Kernel::Gemm(gemm) => gemm.scratch_bytes(),
            Kernel::Depthwise(depthwise) => depthwise.scratch_bytes(),
        };
        each.saturating_mul(threads)
    }

    /// Multiplications and additions of one run.
    pub fn operations(&self) -> f64 {
        match &self.kernel {
            Kernel::Gemm(gemm) => gemm.operations(),
            Kernel::Depthwise(depthwise) => depthwise.operations(),
        }
    }

    /// Where tiles are stored.
    pub(crate) fn place(&self) -> Place {
        Place {
            first: self.first[1],
            step: self.step,
            are_rows_adjacent: self.are_rows_adjacent,
            len: self.result_len,
        }
    }

    /// Packs the right side, on the pool if there is one.
    ///
    /// # Errors
    /// [`ContractError`] if a slice is too short.
    pub fn pack(
        &self,
        pool: Option<&Pool>,
        source: &[u8],
        out: &mut [u8],
    ) -> Result<(), ContractError> {
        let (parts, each) = (self.packing.parts(), self.packing.part_len());
        let len = out.len();
        let Some(out) = out.get_mut(..self.packed_len()?) else {
            let (what, first) = ("the packed right side", (parts * each) as isize);
            return Err(ContractError::First { what, first, len });
        };
        let Some(pool) = pool.filter(|pool| pool.threads() > 1 && parts > 1) else {
            return self.packing.pack_bytes(source, 0..parts, out);
        };
        let chunks: Vec<std::sync::Mutex<&mut [u8]>> = out
            .chunks_exact_mut(each.max(1))
            .map(std::sync::Mutex::new)
            .collect();
        let failed = std::sync::OnceLock::new();
        pool.run(parts, |part, _worker| {
            let mut out = chunks[part]
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Err(error) = self.packing.pack_bytes(source, part..part + 1, &mut out) {
                failed.get_or_init(|| error);
            }
        })?;
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// Runs everything on the pool. `scratch` holds [`BoundInteger::scratch_bytes`].
    ///
    /// # Errors
    /// [`ContractError`] if an operand or the scratch is too short, or a task panicked.
    ///
    /// # Safety
    /// The pointers of `operands` are valid for their lengths for the time of the call, and nobody
    /// else writes there; the hook may store tiles where they belong.
    pub unsafe fn run(
        &self,
        pool: &Pool,
        operands: &IntegerOperands<'_>,
        scratch: &mut [u8],
    ) -> Result<(), ContractError> {
        let (pointer, len) = operands.a;
        let first = self.first[0];
        // A part without elements may begin behind the end: the kernel says what it needs.
        let at = usize::try_from(first).map(|first| first.min(len));
        let at = at.map_err(|_| ContractError::First {
            what: "the left side",
            first,
            len,
        })?;
        let a = (pointer.wrapping_add(at), len - at);
        match &self.kernel {
            Kernel::Gemm(gemm) => {
                // Unsigned bytes were packed 128 lower, and so are their zero points.
                let lower = match self.b_sign {
                    ByteSign::Unsigned => 128,
                    ByteSign::Signed => 0,
                };
                let given = operands.b_zero;
                let mut zeros: ZeroPoints = given.iter().map(|zero| zero - lower).collect();
                if zeros.is_empty() {
                    zeros.push(-lower);
                }
                if zeros.iter().all(|&zero| zero == 0) {
                    zeros.clear();
                }
                let operands = IntGemmOperands {
                    a,
                    b: operands.b,
                    c: (std::ptr::null_mut(), 0),
                    bias: (std::ptr::null(), 0),
                    a_zero: operands.a_zero,
                    b_zero: (zeros.as_ptr(), zeros.len()),
                    hook: Some(operands.hook),
                };
                // SAFETY: the caller's; zero points live until the end of the call.
                unsafe { gemm.run_on(pool, &operands, scratch)? };
            }
            Kernel::Depthwise(depthwise) => {
                let b_zero = match operands.b_zero {
                    [] => 0,
                    [zero] => *zero,
                    zeros => {
                        let detail = format!("{} zero points of filters", zeros.len());
                        let what = "depthwise";
                        return Err(KernelError::Spec { what, detail }.into());
                    }
                };
                let operands = IntDepthwiseOperands {
                    x: a,
                    w: operands.b,
                    zeros: [operands.a_zero, b_zero],
                    hook: operands.hook,
                };
                // SAFETY: the caller's.
                unsafe { depthwise.run_on(pool, &operands, scratch)? };
            }
        }
        Ok(())
    }
}
