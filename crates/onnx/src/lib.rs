//! ONNX models: bytes to graph, by table.
//!
//! [`import_file`] and [`import_bytes`] decode the protobuf, inline functions, resolve external
//! data and build the graph by [`rows`]: one row an operator, naming the versions it knows and the
//! attributes it consumes. Before a row sees a node, [`schema`] holds it to what ONNX lists for its
//! version. What no row takes is refused by name, all of it in one report. Nothing after this crate
//! knows ONNX.

mod declared;
mod dtype;
mod error;
mod function;
mod import;
mod limits;
mod map;
mod model;
mod paths;
mod scope;
mod sparse;
mod symbols;
mod types;

pub mod external;
pub mod proto;
pub mod rows;
pub mod schema;
pub mod tensor;
pub mod tensor_data;

pub use error::{CallRef, ImportError, NodeRef, Unsupported};
pub use import::{Import, ImportOptions, import_bytes, import_file};
pub use limits::ImportLimits;
