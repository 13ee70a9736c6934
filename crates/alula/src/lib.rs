//! alula.
