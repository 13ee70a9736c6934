//! Declared types of graph inputs.

use alula_tensor::{Dim, Map, MapError, TensorType, ValueType};

use crate::dtype;
use crate::proto::type_proto::Value;
use crate::proto::{TypeProto, ValueInfoProto, type_proto};
use crate::symbols::{FixedDims, Symbols};

/// Why a declared type is not one of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TypeError {
    /// It is no type.
    Invalid(&'static str),
    /// It is one that we do not do.
    Unsupported(String),
}

impl From<&str> for TypeError {
    fn from(reason: &str) -> TypeError {
        TypeError::Unsupported(reason.to_owned())
    }
}

/// The type of a declared value; `shape` is what the user gave for it.
pub(crate) fn value_type(
    info: &ValueInfoProto,
    symbols: &Symbols,
    shape: Option<&[i64]>,
) -> Result<ValueType, TypeError> {
    let ty = info.r#type.as_ref();
    let ty = ty.ok_or(TypeError::Invalid("has no type"))?;
    convert(ty, info.name(), symbols, shape)
}

/// A type as the value of an attribute.
pub(crate) fn attribute_type(ty: &TypeProto) -> Result<ValueType, String> {
    // Its dims are its own.
    let info = ValueInfoProto {
        name: Some("held".to_owned()),
        r#type: Some(ty.clone()),
        ..ValueInfoProto::default()
    };
    let symbols = Symbols::of(std::slice::from_ref(&info), &FixedDims::new())?;
    held_type(ty, info.name(), &symbols).map_err(|error| match error {
        TypeError::Invalid(reason) => reason.to_owned(),
        TypeError::Unsupported(reason) => reason,
    })
}

/// What a sequence or an optional holds; tensors there may have any rank.
fn held_type(ty: &TypeProto, name: &str, symbols: &Symbols) -> Result<ValueType, TypeError> {
    match &ty.value {
        Some(Value::TensorType(tensor)) if tensor.shape.is_none() => {
            let dtype = dtype::from_code(tensor.elem_type()).map_err(TypeError::Unsupported)?;
            Ok(ValueType::Unranked(dtype))
        }
        _ => convert(ty, name, symbols, None),
    }
}

fn convert(
    ty: &TypeProto,
    name: &str,
    symbols: &Symbols,
    shape: Option<&[i64]>,
) -> Result<ValueType, TypeError> {
    match &ty.value {
        Some(Value::TensorType(tensor)) => Ok(tensor_type(tensor, name, symbols, shape)?.into()),
        Some(Value::SequenceType(sequence)) => {
            let inner = sequence.elem_type.as_deref();
            let inner = inner.ok_or(TypeError::Invalid("is a sequence of nothing"))?;
            let inner = held_type(inner, name, symbols)?;
            Ok(ValueType::Sequence(Box::new(inner)))
        }
        Some(Value::OptionalType(optional)) => {
            let inner = optional.elem_type.as_deref();
            let inner = inner.ok_or(TypeError::Invalid("is an optional of nothing"))?;
            let inner = held_type(inner, name, symbols)?;
            Ok(ValueType::Optional(Box::new(inner)))
        }
        Some(Value::MapType(map)) => map_type(map),
        Some(Value::SparseTensorType(_)) => Err("sparse tensors are not supported".into()),
        Some(Value::OpaqueType(_)) => Err("opaque types are not supported".into()),
        None => Err(TypeError::Invalid("has no type")),
    }
}

/// The type of a map, whose values are elements: tensors of rank 0, as ONNX has it.
fn map_type(map: &type_proto::Map) -> Result<ValueType, TypeError> {
    let key = dtype::from_code(map.key_type()).map_err(TypeError::Unsupported)?;
    if !Map::takes_keys(key) {
        return Err(MapError::KeyType(key).to_string().as_str().into());
    }
    let held = map.value_type.as_deref().and_then(|ty| ty.value.as_ref());
    let Some(held) = held else {
        return Err(TypeError::Invalid("is a map to nothing"));
    };
    let Value::TensorType(held) = held else {
        return Err("a map to values that are no tensors is not supported".into());
    };
    if held
        .shape
        .as_ref()
        .is_some_and(|shape| !shape.dim.is_empty())
    {
        return Err("a map to tensors of more than one element is not supported".into());
    }
    let value = dtype::from_code(held.elem_type()).map_err(TypeError::Unsupported)?;
    Ok(ValueType::Map { key, value })
}

fn tensor_type(
    tensor: &type_proto::Tensor,
    name: &str,
    symbols: &Symbols,
    given: Option<&[i64]>,
) -> Result<TensorType, TypeError> {
    let dtype = dtype::from_code(tensor.elem_type()).map_err(TypeError::Unsupported)?;
    let dims: Vec<Dim> = match (&tensor.shape, given) {
        (Some(shape), _) => {
            let dims = shape.dim.iter().enumerate();
            dims.map(|(axis, dim)| symbols.dim(name, axis, dim.value.as_ref()))
                .collect()
        }
        (None, Some(given)) if given.iter().all(|extent| *extent >= 0) => {
            given.iter().map(|extent| Dim::new(*extent)).collect()
        }
        (None, _) => return Err("its rank is not declared: give its shape".into()),
    };
    Ok(TensorType::new(dtype, dims))
}
