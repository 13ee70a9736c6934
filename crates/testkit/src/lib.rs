//! What the tests of every room share; nothing that ships links it.
//!
//! - [`filetest`] runs text files that hold inputs and what a stage makes of them.
//! - [`tolerance`] is the one table of how far a result may be from its reference.
//! - [`random`] and [`values`] generate inputs, from a seed, edge values included.
//! - [`schema`] holds serialised forms to their version numbers.
//! - [`skip`](skip()) records that a test cannot run here, which continuous integration refuses.

mod diff;
pub mod filetest;
pub mod random;
pub mod schema;
mod skip;
pub mod tolerance;
pub mod values;

pub use diff::unified_diff;
pub use random::SplitMix64;
pub use skip::{parse_skips, skip};
