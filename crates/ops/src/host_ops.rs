//! Operators that run on the host, because the extents of their results depend on values, or
//! because they sort.

mod nms;
mod select;
mod sort;

use alula_ir::OpDef;

pub use nms::NON_MAX_SUPPRESSION;
pub use select::{COMPRESS, NONZERO};
pub use sort::{TOPK, UNIQUE};

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&COMPRESS, &NON_MAX_SUPPRESSION, &NONZERO, &TOPK, &UNIQUE];
