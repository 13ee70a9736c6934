//! alula-onnx.
