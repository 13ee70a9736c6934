//! ONNX models: bytes to graph.

pub mod external;
pub mod proto;
pub mod tensor_data;
