//! Tests across crates that are code.

mod backends;
mod check;
mod differential;
mod memory;
mod operators;
mod targets;
mod variants;
