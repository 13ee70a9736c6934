//! Every operator of the graph IR, once: a row of data with its inference, its reference
//! evaluation and its lowering. A family is a folder or file; each lists its rows in `ROWS`.

pub mod attention;
pub mod contraction;
pub mod control;
pub mod elementwise;
pub mod host_ops;
pub mod indexing;
pub mod normalization;
pub mod pooling;
pub mod quantization;
pub mod random;
pub mod recurrent;
pub mod reduce;
pub mod resampling;
pub mod shape;

mod evaluate;
mod extent;
mod families;
mod loops;
mod movement;
mod points;
mod window;

pub use evaluate::{EvaluateError, evaluate, evaluate_node};
pub use families::registry;
