//! A contraction with sizes: scratch, and runs.

use alula_microkernel::{
    BatchReduceGemm, Depthwise, DepthwiseOperands, GemmOperands, GemmSpec, Hook, KernelError, Pool,
    Stored,
};
use alula_tensor::DimError;
use thiserror::Error;

use super::image::Image;
use super::packing::Packing;

/// Why a contraction could not be bound or run. Nothing has been written when one is returned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContractError {
    /// A dim has no value.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// A dim has a value that cannot be.
    #[error("dim {dim} is {value}, which is out of range")]
    Size {
        /// The dim.
        dim: String,
        /// Its value.
        value: i64,
    },
    /// The sizes exceed what memory can address.
    #[error("the sizes of a contraction exceed memory")]
    TooLarge,
    /// Axes that the micro-kernels walk as one have no common stride.
    #[error("{what} have no constant stride")]
    Strides {
        /// Which axes.
        what: &'static str,
    },
    /// A buffer does not reach as far as it must, or begins before its start.
    #[error("{what} has {len} elements and begins at element {first}")]
    First {
        /// The buffer.
        what: &'static str,
        /// Where the contraction begins.
        first: isize,
        /// Its length in elements.
        len: usize,
    },
    /// The micro-kernels refused it.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What runs.
#[derive(Clone, Debug)]
pub(super) enum Kernel {
    Gemm(Box<BatchReduceGemm>),
    Depthwise(Box<Depthwise>),
}

/// A contraction that can run. Immutable; share it between threads.
#[derive(Clone, Debug)]
pub struct BoundContract {
    pub(super) kernel: Kernel,
    pub(super) packing: Packing,
    /// What is copied before the kernel runs, and read by it.
    pub(super) image: Option<Image>,
    /// First element of the left side, result and bias.
    pub(super) first: [isize; 3],
    pub(super) threads: usize,
}

/// The memory of one run, each a pointer and a length in elements.
#[derive(Clone, Copy, Debug)]
pub struct ContractOperands {
    /// The left side, of its dtype.
    pub a: (*const u8, usize),
    /// The packed right side.
    pub b: (*const f32, usize),
    /// The result, of its dtype.
    pub c: (*mut u8, usize),
    /// The bias, if the epilogue has one.
    pub bias: Option<(*const f32, usize)>,
    /// The residual, of its dtype, if the epilogue has one.
    pub residual: Option<(*const u8, usize)>,
    /// Finishes each tile, if the epilogue is a tile kernel.
    pub hook: Option<Hook>,
}

/// What lies behind the first element: nothing where that is behind the end, as of a part without
/// elements. What a kernel needs it checks itself. An element has so many bytes.
pub(super) fn behind(
    what: &'static str,
    (pointer, len): (*const u8, usize),
    first: isize,
    bytes: usize,
) -> Result<(*const u8, usize), ContractError> {
    match usize::try_from(first) {
        Ok(first) if first <= len => Ok((pointer.wrapping_add(first * bytes), len - first)),
        Ok(_) => Ok((pointer, 0)),
        Err(_) => Err(ContractError::First { what, first, len }),
    }
}

/// Bytes of an element of the left side, of the result and of a residual.
pub(super) fn element_bytes(spec: &GemmSpec) -> [usize; 3] {
    let of_c = spec.c_store.stored();
    [spec.a_stored, of_c, spec.residual_stored].map(Stored::bytes)
}

impl Kernel {
    fn element_bytes(&self) -> [usize; 3] {
        match self {
            Kernel::Gemm(gemm) => element_bytes(gemm.spec()),
            Kernel::Depthwise(depthwise) => {
                let spec = depthwise.spec();
                [spec.x_stored, spec.y_stored, Stored::F32].map(Stored::bytes)
            }
        }
    }
}

impl BoundContract {
    /// How the right side is packed.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// Elements of the packed right side.
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
            .saturating_add(self.copied_bytes())
    }

    /// Bytes of scratch for a copied image.
    fn copied_bytes(&self) -> usize {
        self.image.as_ref().map_or(0, |image| image.len() * 4 + 64)
    }

    /// Floating-point operations of one run.
    pub fn flops(&self) -> f64 {
        match &self.kernel {
            Kernel::Gemm(gemm) => gemm.flops(),
            Kernel::Depthwise(depthwise) => depthwise.flops(),
        }
    }

    /// Blocks of rows and of columns that a product is cut into.
    pub fn blocks(&self) -> Option<[usize; 2]> {
        match &self.kernel {
            Kernel::Gemm(gemm) => Some(gemm.blocks()),
            Kernel::Depthwise(_) => None,
        }
    }

    /// Threads that the blocks were chosen for.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs everything on the pool. `scratch` holds [`BoundContract::scratch_bytes`].
    ///
    /// # Errors
    /// [`ContractError`] if an operand or the scratch is too short, or a task panicked.
    ///
    /// # Safety
    /// The pointers of `operands` are valid for their lengths for the time of the call; nobody
    /// else writes what is read or touches the result, which overlaps no other operand (a
    /// residual may be the result itself).
    pub unsafe fn run(
        &self,
        pool: &Pool,
        operands: &ContractOperands,
        scratch: &mut [u8],
    ) -> Result<(), ContractError> {
        let none = (std::ptr::null(), 0);
        let [a_first, c_first, bias_first] = self.first;
        let [of_a, of_c, of_residual] = self.kernel.element_bytes();
        let a = behind("the left side", operands.a, a_first, of_a)?;
        let c = (operands.c.0.cast_const(), operands.c.1);
        let c = behind("the result", c, c_first, of_c)?;
        let bias = operands.bias.unwrap_or((std::ptr::null(), 0));
        let bias = behind("the bias", (bias.0.cast(), bias.1), bias_first, 4)?;
        let bias = (bias.0.cast(), bias.1);
        let residual = match operands.residual {
            Some(residual) => behind("the residual", residual, c_first, of_residual)?,
            None => none,
        };
        let c = (c.0.cast_mut(), c.1);
        let (b, hook) = (operands.b, operands.hook);
        let copied = self.copied_bytes();
        if scratch.len() < copied {
            let (what, first, len) = ("the scratch", copied as isize, scratch.len());
            return Err(ContractError::First { what, first, len });
        }
        let (copy, scratch) = scratch.split_at_mut(copied);
        let mut a = a;
        if let Some(image) = &self.image {
            let shift = copy.as_ptr().align_offset(64);
            let copy = copy[shift..][..image.len() * 4].as_mut_ptr().cast();
            // SAFETY: aligned to 64 and of this many floats, any bytes of which are floats.
            let copy = unsafe { std::slice::from_raw_parts_mut(copy, image.len()) };
            // SAFETY: the caller's.
            unsafe { image.fill(pool, (a.0.cast(), a.1), copy)? };
            a = (copy.as_ptr().cast(), copy.len());
        }
        match &self.kernel {
            Kernel::Gemm(gemm) => {
                let operands = GemmOperands {
                    a,
                    b,
                    c,
                    bias,
                    residual,
                    hook,
                };
                // SAFETY: the caller's.
                unsafe { gemm.run_on(pool, &operands, scratch)? };
            }
            Kernel::Depthwise(depthwise) => {
                let operands = DepthwiseOperands {
                    x: a,
                    w: b,
                    y: c,
                    bias,
                    residual: (residual.0.cast(), residual.1),
                    hook,
                };
                // SAFETY: the caller's.
                unsafe { depthwise.run_on(pool, &operands, scratch)? };
            }
        }
        Ok(())
    }
}

/// A slice that tasks write disjoint parts of.
pub(super) struct SendPointer(pub(super) *mut f32);

// SAFETY: tasks write disjoint parts.
unsafe impl Sync for SendPointer {}

impl SendPointer {
    pub(super) fn at(&self, offset: usize) -> *mut f32 {
        // SAFETY: callers stay within the slice that the pointer came from.
        unsafe { self.0.add(offset) }
    }
}
