//! Tests across crates that are code.

mod differential;
mod operators;
mod targets;
