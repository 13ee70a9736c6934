//! alula-opt.
