//! The meaning of definitions and kernels, executed.
//!
//! [`evaluate`] computes a [`Compute`](crate::Compute) element by element, straight from its
//! expressions: it tests that an operator's definition says what its reference says. [`run`]
//! executes a [`Kernel`](crate::Kernel) at any stage, scheduled ones included: `Lanes` loops keep
//! the documented partial accumulators, workgroups run in lock step between barriers. Scalars
//! mean what [`ScalarOp::eval`](alula_tensor::ScalarOp::eval) and
//! [`Scalar::cast`](alula_tensor::Scalar::cast) say; an `f32` is rounded after each operator.
//!
//! Both are bounded: every load and store is checked, and a step limit ends runaway loops.

mod decode;
mod evaluate;
mod exec;
mod value;

use alula_tensor::{DimError, TensorError};

pub use evaluate::evaluate;
pub use exec::{run, run_tensors};

/// A buffer lent to [`run`].
#[derive(Debug)]
pub enum Bytes<'b> {
    /// For parameters that are only read.
    Read(&'b [u8]),
    /// For any parameter.
    Write(&'b mut [u8]),
}

impl Bytes<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Bytes::Read(bytes) => bytes,
            Bytes::Write(bytes) => bytes,
        }
    }
}

/// What a run may use and what it checks.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Greatest number of executed instructions.
    pub steps_max: u64,
    /// Whether two grid points (or lanes) that touch one element of a parameter, one of them
    /// writing, are an error.
    pub check_races: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            steps_max: 2_000_000_000,
            check_races: true,
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Grid points executed; for workgroups, groups.
    pub points: u64,
    /// Instructions executed.
    pub steps: u64,
    /// Elements loaded.
    pub loads: u64,
    /// Elements stored.
    pub stores: u64,
    /// Barriers passed, once for each workgroup.
    pub barriers: u64,
}

/// Why a definition or a kernel could not be run to its end.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InterpretError {
    /// The number of buffers or operands is wrong.
    #[error("{name} takes {wanted} buffers, {given} were given")]
    Count {
        /// Kernel name.
        name: String,
        /// Parameters.
        wanted: usize,
        /// Buffers given.
        given: usize,
    },
    /// A buffer is shorter than its parameter.
    #[error("{buffer} needs {wanted} bytes, {given} were given")]
    Length {
        /// Parameter name.
        buffer: String,
        /// Bytes needed.
        wanted: i128,
        /// Bytes given.
        given: usize,
    },
    /// An operand has another dtype or shape than the definition says.
    #[error("operand {operand} is {given}, the definition says {wanted}")]
    Operand {
        /// Position.
        operand: usize,
        /// What the definition says.
        wanted: String,
        /// What was given.
        given: String,
    },
    /// A load or store outside its buffer.
    #[error("{access} {buffer}[{index}] is outside its {elements} elements")]
    OutOfBounds {
        /// `load` or `store`.
        access: &'static str,
        /// Buffer name.
        buffer: String,
        /// Linear index.
        index: i64,
        /// Number of elements.
        elements: usize,
    },
    /// A store to a buffer that may only be read.
    #[error("store to {0}, which is read-only")]
    ReadOnly(String),
    /// Two lanes or grid points touch one element and at least one writes, with no barrier between.
    #[error("{buffer}[{index}] is touched by {first} and {second}, one of them writing")]
    Race {
        /// Buffer name.
        buffer: String,
        /// Linear index.
        index: i64,
        /// A lane or point.
        first: u64,
        /// Another one.
        second: u64,
    },
    /// Lanes of one workgroup disagree about control flow around a barrier.
    #[error("lanes {first} and {second} disagree about reaching a barrier")]
    DivergentBarrier {
        /// A lane.
        first: usize,
        /// Another one.
        second: usize,
    },
    /// The step limit was reached.
    #[error("more than {0} steps")]
    StepLimit(u64),
    /// The kernel breaks a rule of the verifier.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A dim has no value.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// A result cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
