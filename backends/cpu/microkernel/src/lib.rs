//! Precompiled micro-kernels of the CPU back end: products, convolutions, layout moves, threads.
//!
//! Everything here works on raw element buffers and plain descriptors; it knows no graph, no
//! tensor type and no other crate of the project. The contract:
//!
//! - [`Isa`] names a family of kernels. [`Isa::current`] is what this process should use; every
//!   descriptor takes one by value, and refuses one that the CPU lacks.
//! - [`GemmSpec`] describes a *batch-reduce* product
//!   `C[m, n] (=|+=) sum_t sum_k A[a(m, t) + k * a_k_stride] * B[t][k][n]`: a plain product has one
//!   tap, a convolution has one tap for each kernel position (no im2col, no padded copy). Its
//!   epilogue is, in this order: bias, residual, clip, hook. [`BatchReduceGemm::new`] checks and
//!   blocks it once; [`BatchReduceGemm::run`] executes any range of its tasks with no allocation.
//! - [`Products`] says how values of f32 are multiplied: whole, or as parts of bf16 on AMX tiles,
//!   with six products as exact as f32. Rows and panels whose range parts cannot hold fall back to
//!   f32.
//! - [`IntGemm`] is the same product for bytes, exact, with zero points; B by [`pack_b_i8`].
//! - [`DepthwiseSpec`] and [`Depthwise`] are the same for depthwise convolution, [`IntDepthwise`]
//!   is that for bytes.
//! - B is packed first, by [`pack_b`]: constant weights at compile time, anything else at run time.
//!   [`PackedLayout`] describes the packed form and belongs into an artifact beside the data.
//! - Results depend on the descriptor and the family, not on how many threads run the tasks. Sums
//!   run over taps, then K, in blocks; each block's sum starts at zero and is added to the last.
//! - Offsets and lengths are in elements unless a name says bytes. Lengths are checked at every
//!   entry; pointers are the caller's word, which is what makes the entries `unsafe`.
//! - [`Pool`] runs tasks on threads with the caller as worker 0.
//!
//! ```
//! use alula_microkernel::{BStrides, BatchReduceGemm, GemmOperands, GemmSpec, Isa, pack_b};
//! let (m, k, n) = (5, 7, 3);
//! let (a, b, mut c) = (vec![1.0f32; m * k], vec![2.0f32; k * n], vec![0.0f32; m * n]);
//! let gemm = BatchReduceGemm::new(GemmSpec::matmul(Isa::current()?, m, k, n), 1)?;
//! let layout = gemm.b_layout();
//! let mut packed = vec![0.0; layout.len()];
//! pack_b(&layout, &b, BStrides::rows(n), 0..layout.panels(), &mut packed)?;
//! let mut scratch = vec![0u8; gemm.scratch_bytes()];
//! let operands = GemmOperands::new(&a, &packed, &mut c);
//! // SAFETY: the slices outlive the call, and C overlaps nothing.
//! unsafe { gemm.run(&operands, 0..gemm.tasks(), &mut scratch)? };
//! assert!(c.iter().all(|&x| x == 14.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[macro_use]
mod amx;
mod depthwise;
mod epilogue;
mod error;
mod gemm;
mod int8;
mod isa;
mod layout;
mod offsets;
mod pack;
mod peak;
mod pool;
mod simd;
mod transpose;

pub use depthwise::{ChannelOrder, Depthwise, DepthwiseOperands, DepthwiseSpec, pack_depthwise};
pub use epilogue::{EpilogueFn, EpilogueTile, Hook};
pub use error::{IsaError, KernelError};
pub use gemm::{
    ARows, Batch, BatchReduceGemm, Bias, BlockLimit, CStore, FEW_ROWS, GemmOperands, GemmSpec,
    Init, Products, Stored, Window,
};
pub use int8::{
    ByteSign, IntDepthwise, IntDepthwiseOperands, IntGemm, IntGemmOperands, pack_b_i8, repack_b_i8,
};
pub use isa::{ISA_VARIABLE, Isa};
pub use layout::{PackedElement, PackedLayout};
pub use offsets::Offsets;
pub use pack::{BStrides, pack_b, repack_b};
pub use peak::{byte_peak, fma_peak, product_peak, read_peak};
pub use pool::{Pool, stoppable};
pub use transpose::{pad_rows, transpose, transpose_any};

/// The version of the form in which packed operands lie. It is raised whenever a panel that was
/// packed before would be read as something else; `tests/suite/pack.rs` fails until it is.
pub const PACK_VERSION: u32 = 3;
