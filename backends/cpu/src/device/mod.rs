//! Machine code to results: loading, checking and launching.

mod arena;
mod chain;
mod contraction;
mod cpu;
mod error;
mod integer;
mod launch;
mod memory;
mod module;
mod pages;
mod program;
mod tile;
mod watch;

pub use cpu::{CpuDevice, TARGET};
pub use error::{LaunchError, LoadError};
pub use launch::{Buffer, Launch};
pub use module::CpuModule;
pub use tile::{TileKernel, TilePlan};
