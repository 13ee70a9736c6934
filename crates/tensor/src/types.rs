//! Types of values: tensors with symbolic shapes, and the host-only sequences, optionals and maps.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DType, Dim, Map, MapError, Quant, Sparsity, Symbol};

/// Extents, outermost first.
pub type Shape = Vec<Dim>;

/// The type of a tensor value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorType {
    /// Element type of the value's meaning (the expressed type, if quantized).
    pub dtype: DType,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Shape,
    /// How the value is stored quantized, if it is.
    pub quant: Option<Arc<Quant>>,
    /// What is known to be zero, if anything.
    pub sparsity: Option<Arc<Sparsity>>,
}

/// The type of any value in a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ValueType {
    /// A tensor.
    Tensor(TensorType),
    /// A tensor of any rank: what a sequence of tensors of several ranks holds; lives on the host.
    Unranked(DType),
    /// A sequence of values of one type; lives on the host.
    Sequence(Box<ValueType>),
    /// A value or nothing; lives on the host.
    Optional(Box<ValueType>),
    /// A map; lives on the host.
    Map {
        /// Dtype of keys: `i64` or string.
        key: DType,
        /// Dtype of values.
        value: DType,
    },
}

impl TensorType {
    /// A dense tensor type without annotations.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> TensorType {
        TensorType {
            dtype,
            shape: shape.into(),
            quant: None,
            sparsity: None,
        }
    }

    /// A dense tensor type of known extents.
    pub fn of(dtype: DType, shape: &[usize]) -> TensorType {
        TensorType::new(
            dtype,
            shape
                .iter()
                .map(|&extent| Dim::from(extent))
                .collect::<Shape>(),
        )
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The extents, if all are known.
    pub fn static_shape(&self) -> Option<Vec<usize>> {
        self.shape
            .iter()
            .map(|dim| usize::try_from(dim.as_const()?).ok())
            .collect()
    }

    /// The product of the extents.
    pub fn num_elements(&self) -> Dim {
        self.shape.iter().cloned().product()
    }

    /// The type without annotations.
    #[must_use]
    pub fn plain(&self) -> TensorType {
        TensorType::new(self.dtype, self.shape.clone())
    }

    /// Checks that annotations fit dtype and shape.
    ///
    /// # Errors
    /// The facts that disagree.
    pub fn check_annotations(&self) -> Result<(), String> {
        let quant = self.quant.iter().try_for_each(|quant| quant.check(self));
        quant.and_then(|()| self.sparsity.iter().try_for_each(|s| s.check(self)))
    }

    /// The type with every dim passed through `map`.
    pub fn substitute(&self, map: &dyn Fn(&Symbol) -> Option<Dim>) -> TensorType {
        let shape = self.shape.iter().map(|dim| dim.substitute(map)).collect();
        TensorType {
            shape,
            ..self.clone()
        }
    }
}

impl ValueType {
    /// The tensor type, if this is one.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            ValueType::Tensor(ty) => Some(ty),
            ValueType::Unranked(_)
            | ValueType::Sequence(_)
            | ValueType::Optional(_)
            | ValueType::Map { .. } => None,
        }
    }

    /// Checks what a type may hold: annotations that fit dtype and shape, keys that a map may have.
    ///
    /// # Errors
    /// The facts that disagree.
    pub fn check(&self) -> Result<(), String> {
        match self {
            ValueType::Tensor(ty) => ty.check_annotations(),
            ValueType::Unranked(_) => Ok(()),
            ValueType::Sequence(inner) | ValueType::Optional(inner) => inner.check(),
            ValueType::Map { key, .. } if Map::takes_keys(*key) => Ok(()),
            ValueType::Map { key, .. } => Err(MapError::KeyType(*key).to_string()),
        }
    }

    /// Whether values of this type can only live on the host.
    pub fn is_host_only(&self) -> bool {
        self.as_tensor().is_none_or(|ty| ty.dtype == DType::String)
    }
}

impl From<TensorType> for ValueType {
    fn from(ty: TensorType) -> ValueType {
        ValueType::Tensor(ty)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (axis, dim) in self.shape.iter().enumerate() {
            write!(f, "{}{dim}", if axis == 0 { "" } else { ", " })?;
        }
        f.write_str("]")?;
        if let Some(quant) = &self.quant {
            write!(f, " {quant}")?;
        }
        if let Some(sparsity) = &self.sparsity {
            write!(f, " {sparsity}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueType::Tensor(ty) => ty.fmt(f),
            ValueType::Unranked(dtype) => dtype.fmt(f),
            ValueType::Sequence(inner) => write!(f, "seq<{inner}>"),
            ValueType::Optional(inner) => write!(f, "opt<{inner}>"),
            ValueType::Map { key, value } => write!(f, "map<{key}, {value}>"),
        }
    }
}
