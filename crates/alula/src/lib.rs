//! Compiles ONNX models and runs them.

pub mod compile;
