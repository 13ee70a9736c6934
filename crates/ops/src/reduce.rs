//! Reductions: folds over axes with a scalar formula before and after, and positions of extrema.
//!
//! Every row takes `axes` (from the end if negative; none reduces nothing) and `keepdims`.

mod arg;
mod fold;

use alula_ir::OpDef;

pub use arg::{ARGMAX, ARGMIN};
pub use fold::{
    REDUCE_L1, REDUCE_L2, REDUCE_LOG_SUM, REDUCE_LOG_SUM_EXP, REDUCE_MAX, REDUCE_MEAN, REDUCE_MIN,
    REDUCE_PROD, REDUCE_SUM, REDUCE_SUM_SQUARE,
};

/// The family's rows.
pub const ROWS: &[&OpDef] = &[
    &ARGMAX,
    &ARGMIN,
    &REDUCE_L1,
    &REDUCE_L2,
    &REDUCE_LOG_SUM,
    &REDUCE_LOG_SUM_EXP,
    &REDUCE_MAX,
    &REDUCE_MEAN,
    &REDUCE_MIN,
    &REDUCE_PROD,
    &REDUCE_SUM,
    &REDUCE_SUM_SQUARE,
];
