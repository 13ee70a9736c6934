//! Values at rest on the host: what models are given, what they return, what host steps pass.

use crate::{Dim, Map, Tensor, ValueType};

/// A value on the host. Cloning shares the data of tensors.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// A sequence.
    Sequence(Vec<Value>),
    /// A value or nothing.
    Optional(Option<Box<Value>>),
    /// A map.
    Map(Map),
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Value {
        Value::Tensor(tensor)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Value {
        Value::Map(map)
    }
}

impl Value {
    /// The tensor, if this is one.
    pub fn as_tensor(&self) -> Option<&Tensor> {
        match self {
            Value::Tensor(tensor) => Some(tensor),
            Value::Sequence(_) | Value::Optional(_) | Value::Map(_) => None,
        }
    }

    /// The tensor, if this is one.
    pub fn into_tensor(self) -> Option<Tensor> {
        match self {
            Value::Tensor(tensor) => Some(tensor),
            Value::Sequence(_) | Value::Optional(_) | Value::Map(_) => None,
        }
    }

    /// The elements, if this is a sequence.
    pub fn as_sequence(&self) -> Option<&[Value]> {
        match self {
            Value::Sequence(values) => Some(values),
            Value::Tensor(_) | Value::Optional(_) | Value::Map(_) => None,
        }
    }

    /// The map, if this is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            Value::Tensor(_) | Value::Sequence(_) | Value::Optional(_) => None,
        }
    }

    /// Whether the value may stand where `ty` is declared: symbolic dims take any extent, and an
    /// optional takes the bare value.
    pub fn fits(&self, ty: &ValueType) -> bool {
        match (self, ty) {
            (Value::Tensor(tensor), ValueType::Tensor(ty)) => {
                let fits = |dim: &Dim, extent: usize| match dim.as_const() {
                    Some(known) => usize::try_from(known) == Ok(extent),
                    None => true,
                };
                tensor.dtype() == ty.dtype
                    && tensor.rank() == ty.rank()
                    && ty
                        .shape
                        .iter()
                        .zip(tensor.shape())
                        .all(|(d, &e)| fits(d, e))
            }
            (Value::Tensor(tensor), ValueType::Unranked(dtype)) => tensor.dtype() == *dtype,
            (Value::Sequence(values), ValueType::Sequence(inner)) => {
                values.iter().all(|value| value.fits(inner))
            }
            (Value::Optional(value), ValueType::Optional(inner)) => {
                value.as_ref().is_none_or(|value| value.fits(inner))
            }
            (Value::Map(map), ValueType::Map { key, value }) => {
                map.keys().dtype() == *key && map.values().dtype() == *value
            }
            (value, ValueType::Optional(inner)) => value.fits(inner),
            _ => false,
        }
    }

    /// Bytes of all tensors within, those of keys included.
    pub fn byte_len(&self) -> usize {
        match self {
            Value::Tensor(tensor) => tensor.bytes().len(),
            Value::Sequence(values) => values.iter().map(Value::byte_len).sum(),
            Value::Optional(value) => value.as_ref().map_or(0, |value| value.byte_len()),
            Value::Map(map) => map.keys().bytes().len() + map.values().bytes().len(),
        }
    }

    /// What the value is, in a few words, for messages: `f32[2, 3]`, `sequence of 4`,
    /// `map<i64, f32> of 2`.
    pub fn describe(&self) -> String {
        match self {
            Value::Tensor(tensor) => tensor.ty().to_string(),
            Value::Sequence(values) => format!("sequence of {}", values.len()),
            Value::Optional(Some(value)) => format!("optional {}", value.describe()),
            Value::Optional(None) => "empty optional".to_owned(),
            Value::Map(map) => {
                let (key, value) = (map.keys().dtype(), map.values().dtype());
                format!("{} of {}", ValueType::Map { key, value }, map.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, TensorType};

    #[test]
    fn symbols_take_any_extent_and_constants_one() {
        let value = Value::from(Tensor::from_slice(&[2, 3], &[0.0_f32; 6]).expect("tensor"));
        let ty = |dims: Vec<Dim>| ValueType::from(TensorType::new(DType::F32, dims));
        assert!(value.fits(&ty(vec![Dim::named("N"), Dim::new(3)])));
        assert!(!value.fits(&ty(vec![Dim::named("N"), Dim::new(4)])));
        assert!(!value.fits(&ty(vec![Dim::new(6)])));
        assert_eq!(value.describe(), "f32[2, 3]");
    }

    #[test]
    fn maps_fit_by_the_dtypes_of_both_sides() {
        let map = Map::new(Tensor::from_i64s(&[2, 1]), Tensor::from_i64s(&[5, 6]));
        let value = Value::from(map.expect("a map"));
        let ty = |key, value| ValueType::Map { key, value };
        assert!(value.fits(&ty(DType::I64, DType::I64)));
        assert!(value.fits(&ValueType::Optional(Box::new(ty(DType::I64, DType::I64)))));
        assert!(!value.fits(&ty(DType::I64, DType::F32)));
        assert!(!value.fits(&ty(DType::String, DType::I64)));
        assert!(!value.fits(&ValueType::Unranked(DType::I64)));
        assert_eq!(
            (value.byte_len(), value.describe()),
            (32, "map<i64, i64> of 2".to_owned())
        );
    }
}
