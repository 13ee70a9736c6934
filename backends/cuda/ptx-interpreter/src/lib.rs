//! alula-ptx-interpreter.
