//! What can be wrong with a tensor's payload.

use crate::external::ExternalError;

/// Why a tensor's payload does not make sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorDataError {
    /// `data_type` is undefined or newer than IR version 14.
    #[error("data type {code} is unknown")]
    UnknownType {
        /// The code.
        code: i32,
    },
    /// A negative extent.
    #[error("dims {dims:?} hold a negative extent")]
    NegativeDim {
        /// All of them.
        dims: Vec<i64>,
    },
    /// More bytes than can be counted.
    #[error("dims {dims:?} overflow")]
    TooLarge {
        /// All of them.
        dims: Vec<i64>,
    },
    /// A payload of the wrong size.
    #[error("{field} holds {actual} {unit}, {dtype} of dims {dims:?} needs {expected}")]
    WrongLength {
        /// Field of the protobuf, or `external data`.
        field: &'static str,
        /// `bytes` or `entries`.
        unit: &'static str,
        /// Name of the data type.
        dtype: &'static str,
        /// Extents.
        dims: Vec<i64>,
        /// What is needed.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// Payload in a field that the data type does not use, or in two fields.
    #[error("{field} holds data that a {dtype} tensor with its data in {used} cannot have")]
    StrayData {
        /// The field too many.
        field: &'static str,
        /// The field that counts.
        used: &'static str,
        /// Name of the data type.
        dtype: &'static str,
    },
    /// An `int32_data` or `uint64_data` entry that its data type cannot hold.
    #[error("{field} entry {index} is {value}, out of range for {dtype}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Which entry.
        index: usize,
        /// Its value.
        value: i128,
        /// Name of the data type.
        dtype: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("string {index} is not UTF-8")]
    NotUtf8 {
        /// Which element.
        index: usize,
    },
    /// A tensor cut in segments, which no writer has produced.
    #[error("the tensor is a segment of another, which is not supported")]
    Segment,
    /// Neither in the file nor beside it.
    #[error("data location {code} is unknown")]
    UnknownLocation {
        /// The code.
        code: i32,
    },
    /// Strings cannot be external.
    #[error("string data cannot be external")]
    ExternalStrings,
    /// External data that cannot be read.
    #[error(transparent)]
    External(#[from] ExternalError),
}
