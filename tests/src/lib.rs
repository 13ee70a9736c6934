//! Tests across crates: rules on IR text, emitted code, the example model on every target.
