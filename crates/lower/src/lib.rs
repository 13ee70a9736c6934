//! From a graph to plans and kernels that a target can run.
//!
//! [`expand`] replaces composite operators; [`cluster`] turns nodes into work items and fuses them
//! under a named strategy; [`layout`] orders the axes of buffers; [`build`] lays out loops;
//! [`legalize`] expands what a target lacks; [`plan`] gives values slots and puts steps in order.
//! Nothing here knows a target beyond the capabilities that it is told.

pub mod build;
pub mod cluster;
pub mod layout;
pub mod legalize;
pub mod plan;
pub mod schedule;

mod error;
mod expand;

pub use error::LowerFailure;
pub use expand::expand;
