//! Alula compiles ONNX models to code and runs them.
//!
//! [`Model`] is a compiled model: out of an ONNX file, by way of [`Model::builder`] or
//! [`Model::open`], or out of an artifact that [`Model::save`] wrote. [`Model::session`] loads it
//! on a device; [`Session::run`] runs it on tensors by name.
//!
//! ```
//! use alula::{Model, Target, Tensor};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("model.onnx");
//! # std::fs::write(&path, alula::doc_model())?;
//! let model = Model::builder(&path)
//!     .target(Target::Reference)
//!     .dim("N", 2)
//!     .compile()?;
//! let session = model.session()?;
//! let x = Tensor::from_slice(&[2], &[1.0_f32, -2.0])?;
//! let outputs = session.run(&[("x", x.into())])?;
//! assert_eq!(outputs[0].0, "y");
//! assert_eq!(outputs[0].1.as_tensor().unwrap().to_vec::<f32>()?, [-1.0, 2.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A compiled model is stored and opened again without a compiler:
//!
//! ```
//! use alula::{Model, Tensor};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("model.onnx");
//! # std::fs::write(&path, alula::doc_model())?;
//! # let file = folder.path().join("model.alula");
//! Model::open(&path)?.save(&file)?;
//! let session = Model::open(&file)?.with_threads(1).session()?;
//! let x = Tensor::from_slice(&[3], &[1.0_f32, 0.5, -2.0])?;
//! let outputs = session.run(&[("x", x.into())])?;
//! assert_eq!(outputs[0].1.as_tensor().unwrap().to_vec::<f32>()?, [-1.0, -0.5, 2.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Without the feature `emit` only artifacts can be opened; the application then links neither the
//! ONNX front end nor a code generator.

#[cfg(feature = "emit")]
pub mod compile;
mod devices;
mod error;
mod model;
pub mod npy;
#[cfg(feature = "emit")]
pub mod pb;
#[cfg(feature = "emit")]
mod precision;
mod session;
mod target;
#[cfg(feature = "emit")]
pub mod tune;

#[cfg(feature = "emit")]
mod builder;

#[cfg(feature = "emit")]
pub use builder::{CompileReport, ModelBuilder, check};
#[cfg(feature = "interpreter")]
pub use devices::ptx_interpreter;
pub use devices::{DeviceInfo, devices, open_device};
pub use error::{Error, ErrorKind};
pub use model::{Model, is_artifact};
#[cfg(feature = "emit")]
pub use precision::Precision;
pub use session::{Port, Session};
pub use target::Target;

pub use alula_artifact::{self as artifact, Verify};
#[cfg(feature = "emit")]
pub use alula_lower::cluster::{FusionPlan, Strategy as Fusion};
#[cfg(feature = "emit")]
pub use alula_lower::quant::{Fate, Native, Part as FatePart};
#[cfg(feature = "emit")]
pub use alula_onnx as onnx;
#[cfg(feature = "emit")]
pub use alula_opt as opt;
pub use alula_program::{Device, Port as ProgramPort, Program, Step as ProgramStep, Tuned};
pub use alula_runtime::{
    Limits, Outcome, Profile, RunError, RunOptions, SessionError, SessionOptions, TensorRef,
};
pub use alula_tensor::{
    DType, DTypeClass, Dim, Map, MapError, Scalar, Symbol, Tensor, TensorType, Value, ValueType,
};
#[cfg(feature = "emit")]
pub use compile::stages::{Stage, StageText};
#[cfg(feature = "emit")]
pub use {alula_ir as ir, alula_ops as ops};

/// The model that the documentation's examples run: `y = -x` with `x: f32[N]`.
#[cfg(feature = "emit")]
#[doc(hidden)]
pub fn doc_model() -> Vec<u8> {
    use alula_onnx::proto::type_proto::{Tensor, Value as Kind};
    use alula_onnx::proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
        ValueInfoProto, tensor_shape_proto,
    };
    use prost::Message;
    let vector = |name: &str| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(Kind::TensorType(Tensor {
                elem_type: Some(1),
                shape: Some(TensorShapeProto {
                    dim: vec![tensor_shape_proto::Dimension {
                        value: Some(tensor_shape_proto::dimension::Value::DimParam("N".into())),
                        ..Default::default()
                    }],
                }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    ModelProto {
        ir_version: Some(9),
        opset_import: vec![OperatorSetIdProto {
            version: Some(17),
            ..Default::default()
        }],
        graph: Some(GraphProto {
            name: Some("negate".into()),
            node: vec![NodeProto {
                op_type: Some("Neg".into()),
                input: vec!["x".into()],
                output: vec!["y".into()],
                ..Default::default()
            }],
            input: vec![vector("x")],
            output: vec![vector("y")],
            ..Default::default()
        }),
        ..Default::default()
    }
    .encode_to_vec()
}
