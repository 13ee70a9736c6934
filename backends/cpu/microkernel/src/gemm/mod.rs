//! f32 batch-reduce products: descriptor, plan, kernels, driver.

mod blocks;
mod check;
mod deliver;
mod kernel;
mod narrow;
mod pack_a;
mod pack_window;
mod plan;
mod rows;
mod run;
mod spec;
mod split;
mod stream;

pub(crate) use blocks::{Blocks, GROUP_MAX, M_BLOCK, Sizes};
pub(crate) use check::{Needed, check, check_window, extents, reach};
pub(crate) use kernel::{advanced, fetch};
pub use plan::BatchReduceGemm;
pub(crate) use plan::{ALIGN, cutter};
pub(crate) use rows::{ROWS_MAX, fill_starts};
pub use run::GemmOperands;
pub(crate) use run::SharedScratch;
pub use spec::{ARows, Batch, Bias, BlockLimit, CStore, GemmSpec, Init, Products, Stored, Window};
pub use split::FEW_ROWS;
pub(crate) use split::{STRIP, TileSizes, pack_panel, to_bf16, unpack_panel};
