//! alula-runtime.
