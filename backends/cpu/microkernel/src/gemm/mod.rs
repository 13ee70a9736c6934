//! f32 batch-reduce products: descriptor, plan, kernels, driver.

mod kernel;
mod plan;
mod run;
mod spec;

pub use plan::BatchReduceGemm;
pub(crate) use plan::{check_window, reach};
pub use run::GemmOperands;
pub(crate) use run::SharedScratch;
pub use spec::{ARows, Batch, Bias, CStore, GemmSpec, Init, Window};
