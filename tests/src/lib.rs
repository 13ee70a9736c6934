//! What tests across crates share: random graphs ([`random`]), every stage of the pipeline as a
//! function from a graph and inputs to outputs ([`differential`]), graphs made again with
//! something changed ([`rebuild`]).

pub mod differential;
pub mod random;
pub mod rebuild;
