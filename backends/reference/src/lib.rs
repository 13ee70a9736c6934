//! alula-reference.
