//! alula-ops.
