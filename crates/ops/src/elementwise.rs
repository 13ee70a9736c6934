//! Operators whose result at a position depends on the operands at the same position only, with
//! numpy broadcasting (ONNX "Multidirectional Broadcasting").
//!
//! A row is made by one of the small macros below from a formula in scalar operators (the
//! lowering) and an independent function of `f64`s or integers (the reference).

pub mod activation;
pub mod arithmetic;
pub mod bits;
mod broadcast;
pub mod choice;

pub use broadcast::{broadcast_shapes, broadcast_values, infer_broadcast, map_elements};
