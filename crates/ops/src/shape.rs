//! Operators that move elements or make them from positions: reshapes, transpositions, slices,
//! pads, concatenations, ranges.
//!
//! Extents are attributes (`Dims`). Where a model computes them while it runs, `as_dims` gives
//! each element of the integer tensor a symbol, and the attribute is an expression of symbols.

mod arrange;
mod concat;
mod depth_to_space;
mod expand;
mod generate;
mod pad;
mod reshape;
mod scan;
mod slice;

use alula_ir::{OpDef, Traits};

pub use crate::extent::is_negative;
pub use arrange::{REVERSE_SEQUENCE, TRANSPOSE, TRILU};
pub use concat::{CONCAT, SPLIT};
pub use depth_to_space::DEPTH_TO_SPACE;
pub use expand::{EXPAND, TILE};
pub use generate::{DIMS, EYE, ONE_HOT, RANGE, range_count};
pub use pad::PAD;
pub use reshape::{AS_DIMS, RESHAPE, resolve_target};
pub use scan::{CUM_PROD, CUM_SUM};
pub use slice::SLICE;

/// The family's rows.
pub const ROWS: &[&OpDef] = &[
    &AS_DIMS,
    &CONCAT,
    &CUM_PROD,
    &CUM_SUM,
    &DEPTH_TO_SPACE,
    &DIMS,
    &EXPAND,
    &EYE,
    &ONE_HOT,
    &PAD,
    &RANGE,
    &RESHAPE,
    &REVERSE_SEQUENCE,
    &SLICE,
    &SPLIT,
    &TILE,
    &TRANSPOSE,
    &TRILU,
];

/// Traits of an operator that has none.
pub(crate) const PLAIN: Traits = Traits {
    commutative: false,
    random: false,
    elementwise: false,
    control_flow: false,
};
