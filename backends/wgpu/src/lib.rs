//! alula-wgpu.
