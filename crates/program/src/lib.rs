//! The contract between compiler and machine: what a compiled model is, without how it was made.
//! The runtime executes what is described here; it never sees an operator.

mod host;

pub use host::HostFn;
