//! Sessions on a device whose kernels are Rust functions.

mod artifact;
mod control;
mod device;
mod dynamic;
mod lent;
mod limits;
mod plans;
mod simple;
