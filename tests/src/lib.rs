//! Tests across crates: rules on IR text, emitted code, the example model on every target; and
//! what they share: random graphs ([`random`]) and every stage of the pipeline as a function from
//! a graph and inputs to outputs ([`differential`]).

pub mod differential;
pub mod random;
