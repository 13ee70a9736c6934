//! Why a program could not be loaded, or a run did not finish.

use alula_artifact::ReadError;
use alula_program::DeviceError;
use alula_tensor::{DimError, OutOfMemory, TensorError};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The device refused the program.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The file is no artifact, or a damaged one.
    #[error(transparent)]
    Artifact(#[from] ReadError),
    /// The artifact has no program for the target.
    #[error("the artifact holds no program for {target}, only for {}", present.join(", "))]
    NoTarget {
        /// The target asked for.
        target: String,
        /// Those that are there.
        present: Vec<String>,
    },
    /// Another version of Alula wrote the programs.
    #[error("programs of version {found} (by {producer}), this is {supported}: compile again")]
    Version {
        /// Who wrote them.
        producer: String,
        /// Their version.
        found: u32,
        /// [`alula_program::PROGRAM_ABI`].
        supported: u32,
    },
    /// The code was made for another version of the device's back end.
    #[error("the code is for {program:?}, this build runs {device:?}: compile again")]
    Abi {
        /// What the program says.
        program: String,
        /// What the device says.
        device: String,
    },
    /// The program was compiled for another target than the device's.
    #[error("the program is for {program}, the device runs {device}")]
    WrongTarget {
        /// The program's target.
        program: String,
        /// The device's.
        device: String,
    },
    /// The program contradicts itself: it is damaged, or made by another version.
    #[error("the program is damaged: {0}")]
    Damaged(String),
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The device failed or refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An extent or size has no value.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// A tensor cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The system has no memory for a value.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The values do not suit the step.
    #[error("{0}")]
    Value(String),
    /// A limit of the session.
    #[error("{what} would be {needed}, the limit is {limit}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// What the run needs.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// The run's time is over.
    #[error("the deadline has passed")]
    Deadline,
}

impl StepError {
    /// Whether the machine had less memory than the step needs.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(
            self,
            StepError::OutOfMemory(_)
                | StepError::Tensor(TensorError::OutOfMemory(_))
                | StepError::Device(DeviceError::OutOfMemory(_))
        )
    }

    pub(crate) fn value(text: impl Into<String>) -> StepError {
        StepError::Value(text.into())
    }
}

/// Why a run did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// An input that the model does not have.
    #[error("there is no input {name:?}: the model's inputs are {}", known.join(", "))]
    UnknownInput {
        /// The name given.
        name: String,
        /// The model's inputs.
        known: Vec<String>,
    },
    /// An input was not given.
    #[error("input {name:?} ({declared}) is missing")]
    MissingInput {
        /// Its name.
        name: String,
        /// Its declared type.
        declared: String,
    },
    /// An input was given twice.
    #[error("input {0:?} is given twice")]
    RepeatedInput(String),
    /// An input is of another dtype, rank or shape.
    #[error("input {name:?} is declared {declared}, given {given}: {reason}")]
    InputType {
        /// Its name.
        name: String,
        /// Its declared type.
        declared: String,
        /// What was given.
        given: String,
        /// What disagrees.
        reason: String,
    },
    /// The caller's memory for an output is missing or of another length.
    #[error("output {name:?} has {needed} bytes, the caller's buffer has {given}")]
    OutputLength {
        /// Its name.
        name: String,
        /// Bytes of the output.
        needed: usize,
        /// Bytes of the buffer.
        given: usize,
    },
    /// Another number of inputs or outputs than the model has.
    #[error("the model has {wanted} {what}, {given} were given")]
    Count {
        /// `inputs` or `outputs`.
        what: &'static str,
        /// The model's.
        wanted: usize,
        /// The caller's.
        given: usize,
    },
    /// Sizes cannot be decided, or are over a limit, before anything is run.
    #[error("before the first step: {0}")]
    Bind(StepError),
    /// A step failed.
    #[error("step {step} ({name}) of {plan}: {error}")]
    Step {
        /// The plan's name.
        plan: String,
        /// The step's position in its plan.
        step: usize,
        /// The nodes that the step stands for.
        name: String,
        /// Why.
        error: StepError,
    },
    /// An output could not be handed over.
    #[error("output {name:?}: {error}")]
    Output {
        /// Its name.
        name: String,
        /// Why.
        error: StepError,
    },
}

impl RunError {
    /// Whether a limit or the deadline of the caller ended the run.
    pub fn is_limit(&self) -> bool {
        let (RunError::Bind(error) | RunError::Step { error, .. }) = self else {
            return false;
        };
        matches!(error, StepError::Limit { .. } | StepError::Deadline)
    }
}
