//! What tests across crates share: random graphs ([`random`]), every stage of the pipeline as a
//! function from a graph and inputs to outputs ([`differential`]), graphs made again with
//! something changed ([`rebuild`]), and whole models from ONNX messages ([`model`]) to results
//! ([`pipeline`]).

pub mod differential;
pub mod model;
pub mod pipeline;
pub mod random;
pub mod rebuild;
