//! The table of ONNX operators. A family is a file beside this one that lists its rows; a new
//! family is one line in [`FAMILIES`].

mod anywhere;
mod attention;
mod axes;
mod blocks;
mod bnb;
mod channels_last;
mod classifier;
mod compose;
mod constant;
mod context;
mod contraction;
mod control;
mod coupling;
mod crops;
mod deform;
mod demand;
mod det;
mod dropout;
mod einsum;
mod elementwise;
mod exponent;
mod flex;
mod fused;
mod fused_matmul;
mod generate;
mod gradient;
mod grid;
mod group_query;
mod group_scores;
mod heads;
mod host;
mod image;
mod indexing;
mod inverse;
mod known;
mod legacy;
mod linear_attention;
mod loss;
mod map;
mod microsoft;
mod ml;
mod multi_head;
mod nbits;
mod ngrams;
mod normalization;
mod pivots;
mod pooling;
mod qlinear;
mod quantization;
mod random;
mod recurrent;
mod reduce;
mod regressor;
mod resample;
mod resampling;
mod roi;
mod sampling;
mod scan;
mod sequence;
mod sequence_map;
mod shape;
mod signal;
mod state;
mod steps;
mod svm;
mod text;
mod tfidf;
mod training;
mod trees;
mod window;

pub use context::{RowCtx, RowError};

use alula_ir::ValueId;

/// Result of a row: one value for each output that the operator can make here, in order.
pub type Built = Result<Vec<ValueId>, RowError>;

/// An ONNX operator.
pub struct Row {
    /// Domain; the main one is the empty string.
    pub domain: &'static str,
    /// The operator's name.
    pub op_type: &'static str,
    /// The `since` versions that the row knows, ascending; the least is the oldest it accepts.
    pub versions: &'static [i64],
    /// Attributes that the row consumes, of any version.
    pub attrs: &'static [&'static str],
    /// Builds the node's results.
    pub build: fn(&mut RowCtx<'_, '_>) -> Built,
}

/// A row of the main domain.
pub const fn row(
    op_type: &'static str,
    versions: &'static [i64],
    attrs: &'static [&'static str],
    build: fn(&mut RowCtx<'_, '_>) -> Built,
) -> Row {
    Row {
        domain: "",
        op_type,
        versions,
        attrs,
        build,
    }
}

/// A row of the domain `com.microsoft`, version 1.
pub const fn microsoft_row(
    op_type: &'static str,
    attrs: &'static [&'static str],
    build: fn(&mut RowCtx<'_, '_>) -> Built,
) -> Row {
    Row {
        domain: "com.microsoft",
        op_type,
        versions: &[1],
        attrs,
        build,
    }
}

/// The rows of every family.
const FAMILIES: &[&[Row]] = &[
    attention::ROWS,
    blocks::ROWS,
    bnb::ROWS,
    channels_last::ROWS,
    classifier::ROWS,
    constant::ROWS,
    contraction::ROWS,
    control::ROWS,
    crops::ROWS,
    deform::ROWS,
    det::ROWS,
    dropout::ROWS,
    einsum::ROWS,
    elementwise::ROWS,
    flex::ROWS,
    fused::ROWS,
    fused_matmul::ROWS,
    generate::ROWS,
    gradient::ROWS,
    grid::ROWS,
    group_query::ROWS,
    heads::ROWS,
    host::ROWS,
    image::ROWS,
    indexing::ROWS,
    inverse::ROWS,
    linear_attention::ROWS,
    loss::ROWS,
    map::ROWS,
    microsoft::ROWS,
    ml::ROWS,
    multi_head::ROWS,
    nbits::ROWS,
    ngrams::ROWS,
    normalization::ROWS,
    pooling::ROWS,
    qlinear::ROWS,
    quantization::ROWS,
    random::ROWS,
    recurrent::ROWS,
    reduce::ROWS,
    regressor::ROWS,
    resampling::ROWS,
    roi::ROWS,
    scan::ROWS,
    sequence::ROWS,
    sequence_map::ROWS,
    shape::ROWS,
    signal::ROWS,
    state::ROWS,
    svm::ROWS,
    text::ROWS,
    tfidf::ROWS,
    training::ROWS,
    trees::ROWS,
];

impl Row {
    /// The version of the operator's definition that holds in an opset.
    pub fn version(&self, opset: i64) -> i64 {
        let known = self.versions.iter().rev().find(|since| **since <= opset);
        known.or(self.versions.first()).copied().unwrap_or(1)
    }
}

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().flat_map(|rows| rows.iter())
}

/// The row of an operator.
///
/// # Errors
/// The reason, when no row takes the operator in this opset.
pub fn find(domain: &str, op_type: &str, opset: Option<i64>) -> Result<&'static Row, String> {
    let row = all().find(|row| row.domain == domain && row.op_type == op_type);
    let Some(row) = row else {
        return Err("the operator is not supported".to_owned());
    };
    let Some(opset) = opset else {
        // Vendors' operators are often used without importing their domain.
        return if domain.is_empty() {
            Err("the model imports no version of the operator's domain".to_owned())
        } else {
            Ok(row)
        };
    };
    match row.versions.first() {
        Some(oldest) if opset < *oldest => Err(format!(
            "version {opset} of the operator is older than {oldest}"
        )),
        _ => Ok(row),
    }
}
