//! From definitions to kernels that a target can run.

pub mod build;
