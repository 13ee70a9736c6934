//! Host steps: the few functions that run on host tensors, because their result shapes depend on
//! data, or because their values are sequences, optionals, maps or strings.

use alula_tensor::DType;
use serde::{Deserialize, Serialize};

/// What becomes of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LetterCase {
    /// They stay.
    Keep,
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
}

/// What the pixels of a decoded image hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PixelFormat {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel.
    Grayscale,
}

impl PixelFormat {
    /// Values of a pixel.
    pub const fn channels(self) -> usize {
        match self {
            PixelFormat::Rgb | PixelFormat::Bgr => 3,
            PixelFormat::Grayscale => 1,
        }
    }
}

/// A function of host values. Operands and results are those of the operator of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HostFn {
    /// Indices of non-zero elements: `i64[rank, count]`.
    NonZero,
    /// The `k` greatest or least along an axis, with their indices (`i64`). Operand 1 is `k`.
    TopK {
        /// Axis, not negative.
        axis: usize,
        /// Greatest first, else least first.
        largest: bool,
        /// In order, else in any order (we sort all the same).
        sorted: bool,
    },
    /// Distinct elements: values, first indices, inverse indices, counts.
    Unique {
        /// Slices along this axis, or elements of the flattened tensor.
        axis: Option<usize>,
        /// Sorted, else in order of first occurrence.
        sorted: bool,
    },
    /// Elements or slices where a condition is true.
    Compress {
        /// Slices along this axis, or elements of the flattened tensor.
        axis: Option<usize>,
    },
    /// Boxes that survive suppression: `i64[count, 3]`.
    NonMaxSuppression {
        /// Boxes are given as centre and size, else as corners.
        center_point_box: bool,
    },
    /// Normal random numbers, seeded.
    RandomNormal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        scale: f64,
        /// Seed; runs with the same seed give the same numbers.
        seed: u64,
        /// Element type of the result.
        dtype: DType,
    },
    /// Uniform random numbers, seeded.
    RandomUniform {
        /// Least.
        low: f64,
        /// Bound.
        high: f64,
        /// Seed; runs with the same seed give the same numbers.
        seed: u64,
        /// Element type of the result.
        dtype: DType,
    },
    /// The pixels of an encoded image: `u8[height, width, channels]`.
    DecodeImage {
        /// What a pixel holds.
        format: PixelFormat,
    },
    /// Strings of two operands one after the other, broadcast.
    StringConcat,
    /// Whether strings are the same, broadcast.
    StringEqual,
    /// Parts of strings along a new last axis, and their number.
    StringSplit {
        /// What parts are split at; empty: any run of white space.
        delimiter: String,
        /// Most splits of one string.
        splits: Option<usize>,
    },
    /// One row of strings without stop words.
    StringNormalize {
        /// The case that is made.
        case: LetterCase,
        /// Stop words are compared with their case.
        sensitive: bool,
        /// What is left out.
        stopwords: Vec<String>,
    },
    /// Whether a regular expression matches all of each string.
    RegexFullMatch {
        /// The expression.
        pattern: String,
    },
    /// What keys (operand 1) are mapped to (operand 2), else operand 3.
    Lookup,
    /// A sequence of the operands.
    SequenceConstruct,
    /// An empty sequence.
    SequenceEmpty,
    /// The element at operand 1 of sequence operand 0.
    SequenceAt,
    /// A sequence with operand 1 inserted at operand 2 (or the end).
    SequenceInsert,
    /// A sequence without the element at operand 1 (or the last).
    SequenceErase,
    /// The number of elements, an `i64` scalar.
    SequenceLength,
    /// Elements joined along an axis.
    ConcatFromSequence {
        /// Axis, may be negative.
        axis: i64,
        /// Along a new axis.
        new_axis: bool,
    },
    /// A tensor split into a sequence along an axis.
    SplitToSequence {
        /// Axis, may be negative.
        axis: i64,
        /// Keep the axis where the parts have extent 1 by default.
        keepdims: bool,
    },
    /// Something, or nothing when there is no operand.
    Optional,
    /// What an optional holds.
    OptionalGetElement,
    /// Whether an optional holds something, a bool scalar.
    OptionalHasElement,
    /// A sequence of maps, one for each row of operand 0, whose columns have keys (operand 1).
    ZipMaps,
    /// Keys of a map, ascending, and their values.
    MapEntries,
    /// Numbers as text.
    StringFormat {
        /// Digits after the point of floats; else the shortest text that reads back.
        digits: Option<usize>,
    },
    /// The numbers that strings spell.
    StringParse {
        /// Element type of the result.
        to: DType,
    },
    /// Bins of a spectrum, `i64`, at equal steps of mel: operands are its length, the rate, the
    /// least and the greatest frequency.
    MelEdges,
}
