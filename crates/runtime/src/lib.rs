//! Runs compiled programs: binds symbols, keeps memory, walks plans, runs host steps.
//!
//! - [`Session`] is a loaded program. It is `Send + Sync`; runs take `&self` and may be
//!   concurrent, each with memory of its own that is kept for later runs.
//! - [`Session::run`] takes and returns values by name; [`Session::run_into`] writes into the
//!   caller's memory and allocates nothing after the first run of a binding of symbols.
//! - [`artifact`] stores programs in a file and reads them back without copying weights.
//!
//! Nothing here knows an operator, a graph or a target. Whatever a caller passes in, runs end in
//! results or in a [`RunError`] that names the step; they do not panic.

pub mod artifact;
mod bind;
mod control;
mod error;
mod execute;
mod feed;
mod frame;
mod host;
mod launch;
mod options;
mod prepare;
mod profile;
mod session;
mod symbols;
mod validate;

pub use error::{RunError, SessionError, StepError};
pub use feed::TensorRef;
pub use options::{Limits, RunOptions, SessionOptions};
pub use profile::{Profile, StepKind, StepTime};
pub use session::{Outcome, Session};
