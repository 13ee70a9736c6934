//! alula-tests.
