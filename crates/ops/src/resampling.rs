//! Resampling: other extents for images and volumes.

mod resize;
mod taps;

use alula_ir::OpDef;

pub use resize::RESIZE;

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&RESIZE];
