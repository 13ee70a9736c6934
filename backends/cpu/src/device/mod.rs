//! Machine code to results: loading, checking and launching.

mod error;
mod launch;
mod module;
mod pages;
mod tile;

pub use error::{LaunchError, LoadError};
pub use launch::{Buffer, Launch};
pub use module::CpuModule;
pub use tile::TileKernel;
