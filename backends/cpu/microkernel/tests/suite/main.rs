//! Every kernel of every family that this CPU has, against plain references.

mod depthwise;
mod exact;
mod gemm;
mod int8;
mod narrow;
mod pack;
mod pool;
mod split;
mod support;
mod transpose;
mod version;
