//! alula-kernel.
