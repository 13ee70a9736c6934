//! alula-microkernel.
