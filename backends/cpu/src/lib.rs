//! alula-cpu.
