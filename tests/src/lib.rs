//! What tests across crates share: random graphs ([`random`]), every stage of the pipeline as a
//! function from a graph and inputs to outputs ([`differential`]), whatever runs kernels
//! ([`backends`]) and kernels to run ([`kernels`]), graphs made again with something changed
//! ([`rebuild`]), and whole models from ONNX messages ([`model`]) to results ([`pipeline`]), in a
//! process of their own where they may be absurd ([`child`]).

pub mod backends;
pub mod child;
pub mod definitions;
pub mod differential;
pub mod kernels;
pub mod model;
pub mod pipeline;
pub mod random;
pub mod rebuild;
