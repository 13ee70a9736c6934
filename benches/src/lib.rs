//! alula-benches.
