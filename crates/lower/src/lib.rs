//! From a graph to plans and kernels that a target can run.
//!
//! [`expand`] replaces annotations (see [`quant`]) and composite operators; [`cluster`] turns nodes
//! into work items and fuses them under a named strategy; [`layout`] orders the axes of buffers;
//! [`build`] lays out loops; [`legalize`] expands what a target lacks; [`plan`] gives values slots
//! and puts steps in order, `parts` lets slices and operands of concatenations lie where they are
//! read; [`block`] has definitions of some rows of a result; [`in_place`] lets results take the
//! memory of operands that die; [`narrow`] stores values in a smaller dtype.
//! Nothing here knows a target beyond the capabilities that it is told.

pub mod block;
pub mod build;
pub mod cluster;
pub mod in_place;
pub mod layout;
pub mod legalize;
pub mod narrow;
pub mod plan;
pub mod quant;
pub mod schedule;

mod error;
mod expand;
mod parts;
mod refusals;

pub use error::{LowerFailure, NodeFailure, NodeReason};
pub use expand::expand;
pub use parts::lifetimes;
pub use refusals::refusals;
