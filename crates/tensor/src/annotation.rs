//! Annotations on a value's type: how it is quantized, how it is sparse.
//!
//! Meaning is by definition: a quantized operator is dequantize, operator, quantize; a sparse one
//! is densify, then the operator. A value of a quantized type is therefore what was computed,
//! *quantized and dequantized*, whoever computes it. A sparse value is what it is without the
//! annotation, which a back end may ignore.

use serde::{Deserialize, Serialize};

use crate::{DType, Dim, TensorType};

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

impl Quant {
    /// Checks that the annotation fits a type: real numbers, a stored type of few bits, and a
    /// positive scale (and a zero point that can be stored) for each part of the shape.
    ///
    /// # Errors
    /// The facts that disagree.
    pub fn check(&self, ty: &TensorType) -> Result<(), String> {
        if !ty.dtype.is_float() {
            return Err(format!("{} is no float type to be quantized", ty.dtype));
        }
        let storage = self.storage;
        let bits_max = if storage.is_integer() { 16 } else { 8 };
        if !(storage.is_integer() || storage.is_float()) || storage.bits() > bits_max {
            let what = "integers of 16 bits and floats of 8 at most are stored";
            return Err(format!("{what}, not {storage}"));
        }
        let wanted = self.num_scales(&ty.shape)?;
        let given = Dim::from(self.scale.len());
        if wanted.as_const().is_some() && wanted != given {
            return Err(format!(
                "{given} scales for {wanted} parts of {}",
                ty.plain()
            ));
        }
        if let Some(scale) = self.scale.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(format!("scale {scale:?} is not positive"));
        }
        let (scales, zeros) = (self.scale.len(), self.zero_point.len());
        if zeros != 0 && zeros != scales {
            return Err(format!("{zeros} zero points for {scales} scales"));
        }
        let (least, greatest) = storage.int_range().unwrap_or((0, 0));
        let fits = |zero: &i32| (least..=greatest).contains(&i128::from(*zero));
        match self.zero_point.iter().find(|zero| !fits(zero)) {
            Some(zero) => Err(format!("zero point {zero} does not fit {storage}")),
            None => Ok(()),
        }
    }

    /// How many scales a shape takes.
    fn num_scales(&self, shape: &[Dim]) -> Result<Dim, String> {
        let inside = |axis: usize| match axis < shape.len() {
            true => Ok(axis),
            false => Err(format!(
                "axis {axis} is out of range for rank {}",
                shape.len()
            )),
        };
        match self.granularity {
            Granularity::Tensor => Ok(Dim::new(1)),
            Granularity::Axis(axis) => Ok(shape[inside(axis)?].clone()),
            Granularity::Block { size: 0, .. } => Err("blocks of 0 elements".to_owned()),
            Granularity::Block { axis, size } => {
                let axis = inside(axis)?;
                let parts = |(k, extent): (usize, &Dim)| match k == axis {
                    true => extent.ceil_div(&Dim::from(size)),
                    false => extent.clone(),
                };
                Ok(shape.iter().enumerate().map(parts).product())
            }
        }
    }
}

impl Sparsity {
    /// Checks that the annotation fits a type.
    ///
    /// # Errors
    /// The facts that disagree.
    pub fn check(&self, ty: &TensorType) -> Result<(), String> {
        let rank = ty.rank();
        match self.kind {
            SparsityKind::NofM { axis, .. } if axis >= rank => {
                Err(format!("axis {axis} is out of range for rank {rank}"))
            }
            SparsityKind::NofM { n, m, .. } if n > m || m == 0 => {
                Err(format!("{n} of {m} elements cannot be other than zero"))
            }
            SparsityKind::Block { height, width } if height == 0 || width == 0 || rank < 2 => {
                Err(format!("rank {rank} has no blocks of {height}x{width}"))
            }
            _ if self.zeros_per_mille > 1000 => Err(format!(
                "{} of 1000 elements are zero",
                self.zeros_per_mille
            )),
            _ => Ok(()),
        }
    }
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
