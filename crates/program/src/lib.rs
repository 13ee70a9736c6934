//! alula-program.
