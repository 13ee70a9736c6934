//! What every other room agrees on: dtypes, symbolic dims, tensor types with their quantization
//! and sparsity annotations, scalar operators with their exact meaning, and host tensors.
//!
//! This crate knows no graph, no kernel and no file format.

mod annotation;
mod dim;
mod dim_text;
mod dtype;
mod element;
mod map;
mod minifloat;
mod scalar;
mod scalar_eval;
mod sparse;
mod storage;
mod tensor;
mod types;
mod value;

pub use annotation::{Granularity, Quant, Sparsity, SparsityKind};
pub use dim::{Atom, Dim, DimError, Monomial, Symbol};
pub use dtype::{DType, DTypeClass};
pub use element::Element;
pub use map::{Map, MapError};
pub use minifloat::{MiniFloat, Specials};
pub use scalar::{Scalar, ScalarOp};
pub use storage::{OutOfMemory, Storage};
pub use tensor::{Tensor, TensorError, strides};
pub use types::{Shape, TensorType, ValueType};
pub use value::Value;
