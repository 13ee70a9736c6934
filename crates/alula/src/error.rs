//! Everything that can go wrong, as one type.

use std::path::PathBuf;

use alula_artifact::{ReadError, WriteError};
use alula_runtime::{RunError, SessionError};

use crate::Target;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The model cannot be imported.
    #[cfg(feature = "emit")]
    #[error(transparent)]
    Import(Box<alula_onnx::ImportError>),
    /// The options of the optimizer name what does not exist, or it broke a graph.
    #[cfg(feature = "emit")]
    #[error(transparent)]
    Optimize(#[from] alula_opt::OptError),
    /// The graph cannot be compiled.
    #[cfg(feature = "emit")]
    #[error(transparent)]
    Compile(#[from] crate::compile::CompileError),
    /// The reference could not evaluate the graph.
    #[cfg(feature = "emit")]
    #[error(transparent)]
    Evaluate(#[from] alula_ops::EvaluateError),
    /// There is no compiler or device for a target in this build.
    #[error("this build has no {what} for target {target}")]
    Missing {
        /// `compiler` or `device`.
        what: &'static str,
        /// The target.
        target: Target,
    },
    /// A target does not do what a run was asked to.
    #[error("target {target} heeds no {what}")]
    Unheeded {
        /// What was asked for.
        what: &'static str,
        /// The target.
        target: Target,
    },
    /// The reference is no program that could be stored.
    #[error("the reference target evaluates the graph: there is nothing to store")]
    NotStorable,
    /// A table of schedules cannot be used.
    #[cfg(feature = "emit")]
    #[error(transparent)]
    Table(#[from] crate::tune::TableError),
    /// An artifact cannot be read.
    #[error(transparent)]
    Artifact(#[from] ReadError),
    /// An artifact cannot be written.
    #[error(transparent)]
    Save(#[from] WriteError),
    /// A device is not there.
    #[error(transparent)]
    Device(#[from] alula_program::DeviceError),
    /// A program cannot be loaded.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A run did not finish.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file of a tensor makes no sense.
    #[error("{}: {reason}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[cfg(feature = "emit")]
impl From<alula_onnx::ImportError> for Error {
    fn from(error: alula_onnx::ImportError) -> Error {
        Error::Import(Box::new(error))
    }
}

/// Whose matter an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for makes no sense: a file, a name, a shape, a limit.
    User,
    /// It makes sense, and Alula does not do it.
    Unsupported,
    /// Alula or the machine failed.
    Internal,
}

impl Error {
    /// Whose matter it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            #[cfg(feature = "emit")]
            Error::Import(error) => match error.as_ref() {
                alula_onnx::ImportError::Unsupported(_)
                | alula_onnx::ImportError::DataType { .. } => ErrorKind::Unsupported,
                _ => ErrorKind::User,
            },
            #[cfg(feature = "emit")]
            Error::Optimize(alula_opt::OptError::Verify { .. }) => ErrorKind::Internal,
            #[cfg(feature = "emit")]
            Error::Compile(crate::compile::CompileError::Lower(
                alula_lower::LowerFailure::FusionPlan(_),
            )) => ErrorKind::User,
            #[cfg(feature = "emit")]
            Error::Compile(crate::compile::CompileError::Choice { .. }) => ErrorKind::User,
            #[cfg(feature = "emit")]
            Error::Compile(
                crate::compile::CompileError::Lower(_)
                | crate::compile::CompileError::Refused { .. }
                | crate::compile::CompileError::NoStage { .. }
                | crate::compile::CompileError::Missing(_),
            ) => ErrorKind::Unsupported,
            #[cfg(feature = "emit")]
            Error::Compile(_) => ErrorKind::Internal,
            #[cfg(feature = "emit")]
            Error::Evaluate(_) => ErrorKind::User,
            Error::Missing { .. } | Error::Unheeded { .. } | Error::NotStorable => {
                ErrorKind::Unsupported
            }
            Error::Run(
                RunError::Step { error, .. }
                | RunError::Bind(error)
                | RunError::Output { error, .. },
            ) => match error {
                // A machine with more memory would do it.
                error if error.is_out_of_memory() => ErrorKind::User,
                alula_runtime::StepError::Device(_) => ErrorKind::Internal,
                _ => ErrorKind::User,
            },
            _ => ErrorKind::User,
        }
    }
}
