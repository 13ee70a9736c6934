//! Annotations on a value's type: how it is quantized, how it is sparse.
//!
//! Meaning is by definition: a quantized operator is dequantize, operator, quantize; a sparse one
//! is densify, then the operator. A back end that ignores the annotation is therefore right.

use serde::{Deserialize, Serialize};

use crate::DType;

/// Over which elements one scale holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Granularity {
    /// One scale for the whole tensor.
    Tensor,
    /// One scale for each index of this axis.
    Axis(usize),
    /// One scale for each run of `size` elements along `axis`.
    Block {
        /// The blocked axis.
        axis: usize,
        /// Elements a block.
        size: usize,
    },
}

/// An affine quantization: `expressed = (stored - zero_point) * scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quant {
    /// The integer or narrow float type that is stored.
    pub storage: DType,
    /// Over which elements one scale holds.
    pub granularity: Granularity,
    /// Scales, in index order of the granularity.
    pub scale: Vec<f32>,
    /// Zero points, as many as scales, or empty for all zero.
    pub zero_point: Vec<i32>,
}

/// The shape of a sparsity pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SparsityKind {
    /// At most `n` of each `m` consecutive elements along `axis` are not zero.
    NofM {
        /// Non-zero elements a group.
        n: usize,
        /// Elements a group.
        m: usize,
        /// The grouped axis.
        axis: usize,
    },
    /// Whole blocks of `height` x `width` over the last two axes are zero or not.
    Block {
        /// Rows a block.
        height: usize,
        /// Columns a block.
        width: usize,
    },
    /// Single elements are zero.
    Unstructured,
}

/// A promise that elements of a constant are zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sparsity {
    /// The pattern.
    pub kind: SparsityKind,
    /// Elements that are zero, per mille of all, rounded down.
    pub zeros_per_mille: u16,
}

impl std::fmt::Display for Quant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "quant<{}", self.storage)?;
        match self.granularity {
            Granularity::Tensor => {}
            Granularity::Axis(axis) => write!(f, ", axis {axis}")?,
            Granularity::Block { axis, size } => write!(f, ", axis {axis} block {size}")?,
        }
        let list = |values: Vec<String>| values.join(", ");
        write!(
            f,
            ", scale [{}]",
            list(self.scale.iter().map(|s| format!("{s:?}")).collect())
        )?;
        if !self.zero_point.is_empty() {
            let points = self.zero_point.iter().map(i32::to_string).collect();
            write!(f, ", zero [{}]", list(points))?;
        }
        f.write_str(">")
    }
}

impl std::fmt::Display for Sparsity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            SparsityKind::NofM { n, m, axis } => write!(f, "sparse<{n}:{m}, axis {axis}")?,
            SparsityKind::Block { height, width } => write!(f, "sparse<block {height}x{width}")?,
            SparsityKind::Unstructured => f.write_str("sparse<unstructured")?,
        }
        write!(f, ", zeros {}>", self.zeros_per_mille)
    }
}
