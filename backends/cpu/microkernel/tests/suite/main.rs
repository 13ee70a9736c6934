//! Every kernel of every family that this CPU has, against plain references.

mod depthwise;
mod gemm;
mod pool;
mod support;
