//! ONNX models: bytes to graph.

pub mod proto;
