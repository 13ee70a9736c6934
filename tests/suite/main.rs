//! Tests across crates that are code.

mod backends;
mod differential;
mod operators;
mod targets;
