//! alula-testkit.
