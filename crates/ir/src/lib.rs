//! alula-ir.
