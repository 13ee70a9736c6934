//! f32 batch-reduce products: descriptor, plan, kernels, driver.

mod kernel;
mod plan;
mod run;
mod spec;

pub use plan::BatchReduceGemm;
pub use run::GemmOperands;
pub use spec::{ARows, Batch, Bias, CStore, GemmSpec, Init, Window};
