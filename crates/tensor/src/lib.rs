//! alula-tensor.
