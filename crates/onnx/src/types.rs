//! Declared types of graph inputs.

use std::collections::BTreeMap;

use alula_tensor::{Dim, Symbol, TensorType, ValueType};

use crate::dtype;
use crate::proto::tensor_shape_proto::dimension::Value as DimValue;
use crate::proto::type_proto::Value;
use crate::proto::{TypeProto, ValueInfoProto, type_proto};

/// Symbols fixed by the user.
pub(crate) type FixedDims = BTreeMap<String, i64>;

/// The type of a declared value.
pub(crate) fn value_type(info: &ValueInfoProto, fixed: &FixedDims) -> Result<ValueType, String> {
    let ty = info.r#type.as_ref().ok_or("has no type")?;
    convert(ty, info.name(), fixed)
}

fn convert(ty: &TypeProto, name: &str, fixed: &FixedDims) -> Result<ValueType, String> {
    match &ty.value {
        Some(Value::TensorType(tensor)) => Ok(tensor_type(tensor, name, fixed)?.into()),
        Some(Value::SequenceType(sequence)) => {
            let inner = sequence
                .elem_type
                .as_deref()
                .ok_or("is a sequence of nothing")?;
            Ok(ValueType::Sequence(Box::new(convert(inner, name, fixed)?)))
        }
        Some(Value::OptionalType(optional)) => {
            let inner = optional
                .elem_type
                .as_deref()
                .ok_or("is an optional of nothing")?;
            Ok(ValueType::Optional(Box::new(convert(inner, name, fixed)?)))
        }
        Some(Value::MapType(_)) => Err("is a map, which is not supported".to_owned()),
        Some(Value::SparseTensorType(_)) => Err("is sparse, which is not supported".to_owned()),
        Some(Value::OpaqueType(_)) => Err("is opaque, which is not supported".to_owned()),
        None => Err("has no type".to_owned()),
    }
}

fn tensor_type(
    tensor: &type_proto::Tensor,
    name: &str,
    fixed: &FixedDims,
) -> Result<TensorType, String> {
    let dtype = dtype::from_code(tensor.elem_type())?;
    let shape = tensor.shape.as_ref().ok_or("has no rank")?;
    let dims = shape
        .dim
        .iter()
        .enumerate()
        .map(|(axis, dim)| match &dim.value {
            Some(DimValue::DimValue(extent)) if *extent >= 0 => Dim::new(*extent),
            Some(DimValue::DimParam(param)) if !param.is_empty() => {
                symbol_or_fixed(&symbol_name(param), fixed)
            }
            _ => symbol_or_fixed(&symbol_name(&format!("{name}_{axis}")), fixed),
        });
    Ok(TensorType::new(dtype, dims.collect::<Vec<_>>()))
}

fn symbol_or_fixed(name: &str, fixed: &FixedDims) -> Dim {
    match fixed.get(name) {
        Some(extent) => Dim::new(*extent),
        None => Dim::symbol(Symbol::new(name)),
    }
}

/// A symbol's name in our text: letters, digits and `_`, not beginning with a digit.
pub(crate) fn symbol_name(param: &str) -> String {
    let clean: String = param
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    match clean.as_str() {
        "floordiv" | "mod" | "max" | "min" => format!("_{clean}"),
        _ if clean.starts_with(|c: char| c.is_ascii_digit()) => format!("_{clean}"),
        _ => clean,
    }
}
