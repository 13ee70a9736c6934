//! alula-cuda.
