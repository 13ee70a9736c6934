//! alula-artifact.
