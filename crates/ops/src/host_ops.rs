//! Operators that run on the host, because the extents of their results depend on values, or
//! because they sort, because their values are strings, sequences, optionals or maps, or because
//! they need 64-bit floats everywhere.

mod image;
mod map;
mod mel;
mod nms;
mod numerals;
mod select;
mod sequence;
mod sort;
mod text;

use alula_ir::OpDef;

pub use image::DECODE_IMAGE;
pub use map::{MAP_ENTRIES, ZIP_MAPS, map_of};
pub use mel::MEL_EDGES;
pub use nms::NON_MAX_SUPPRESSION;
pub use numerals::{STRING_FORMAT, STRING_PARSE};
pub use select::{COMPRESS, NONZERO};
pub use sequence::{
    CONCAT_FROM_SEQUENCE, OPTIONAL, OPTIONAL_GET_ELEMENT, OPTIONAL_HAS_ELEMENT, SEQUENCE_AT,
    SEQUENCE_CONSTRUCT, SEQUENCE_EMPTY, SEQUENCE_ERASE, SEQUENCE_INSERT, SEQUENCE_LENGTH,
    SPLIT_TO_SEQUENCE, merged,
};
pub use sort::{TOPK, UNIQUE};
pub use text::{
    LOOKUP, REGEX_FULL_MATCH, STRING_CONCAT, STRING_EQUAL, STRING_NORMALIZE, STRING_SPLIT,
};

/// The family's rows.
pub const ROWS: &[&OpDef] = &[
    &COMPRESS,
    &CONCAT_FROM_SEQUENCE,
    &DECODE_IMAGE,
    &LOOKUP,
    &MAP_ENTRIES,
    &MEL_EDGES,
    &NON_MAX_SUPPRESSION,
    &NONZERO,
    &OPTIONAL,
    &OPTIONAL_GET_ELEMENT,
    &OPTIONAL_HAS_ELEMENT,
    &REGEX_FULL_MATCH,
    &SEQUENCE_AT,
    &SEQUENCE_CONSTRUCT,
    &SEQUENCE_EMPTY,
    &SEQUENCE_ERASE,
    &SEQUENCE_INSERT,
    &SEQUENCE_LENGTH,
    &SPLIT_TO_SEQUENCE,
    &STRING_CONCAT,
    &STRING_EQUAL,
    &STRING_FORMAT,
    &STRING_NORMALIZE,
    &STRING_PARSE,
    &STRING_SPLIT,
    &TOPK,
    &UNIQUE,
    &ZIP_MAPS,
];
