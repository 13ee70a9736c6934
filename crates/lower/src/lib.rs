//! alula-lower.
