//! Values as ONNX messages in files: `TensorProto`, `SequenceProto`, `OptionalProto`, `MapProto`:
//! what the conformance tests keep inputs and outputs as. Every dtype has a place here.

mod map;

use std::fs;
use std::path::Path;

use alula_onnx::external::ExternalFiles;
use alula_onnx::proto::{OptionalProto, SequenceProto, TensorProto, decode};
use alula_onnx::tensor::import_tensor;
use alula_tensor::{DType, Tensor, Value, ValueType};
use bytes::Bytes;
use prost::Message;

use crate::Error;
use map::{map, map_proto};

/// Reads a value of a type from a file. The file does not say which message it holds: the type
/// does.
///
/// # Errors
/// [`Error::Io`], or [`Error::Tensor`] saying what is wrong with the contents.
pub fn read(path: impl AsRef<Path>, ty: &ValueType) -> Result<Value, Error> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    from_bytes(&bytes.into(), ty).map_err(|reason| Error::Tensor {
        path: path.to_owned(),
        reason,
    })
}

/// Writes a value to a file.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: impl AsRef<Path>, name: &str, value: &Value) -> Result<(), Error> {
    let path = path.as_ref();
    fs::write(path, to_bytes(name, value)).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// A value of a type out of the bytes of a file.
///
/// # Errors
/// What is wrong with them.
pub fn from_bytes(bytes: &Bytes, ty: &ValueType) -> Result<Value, String> {
    fn message<M: Message + Default>(bytes: &Bytes) -> Result<M, String> {
        decode(bytes.clone()).map_err(|error| error.to_string())
    }
    match ty {
        ValueType::Tensor(_) | ValueType::Unranked(_) => Ok(tensor(&message(bytes)?)?.into()),
        ValueType::Sequence(inner) => sequence(&message(bytes)?, inner),
        ValueType::Map { value, .. } => map(&message(bytes)?, *value),
        ValueType::Optional(inner) => {
            // Test data hold the bare element of an optional that has one.
            let wrapped: Result<OptionalProto, String> = message(bytes);
            match wrapped {
                Ok(wrapped) if wraps(&wrapped, inner) => optional(&wrapped, inner),
                _ => Ok(Value::Optional(Some(Box::new(from_bytes(bytes, inner)?)))),
            }
        }
    }
}

/// Whether a message that decodes as an optional is one: a sequence's message looks much the same,
/// but says what its own elements are.
fn wraps(proto: &OptionalProto, inner: &ValueType) -> bool {
    let is_empty = proto.tensor_value.is_none()
        && proto.sequence_value.is_none()
        && proto.optional_value.is_none()
        && proto.map_value.is_none();
    let kind = match inner {
        ValueType::Tensor(_) | ValueType::Unranked(_) => TENSOR,
        ValueType::Sequence(_) => SEQUENCE,
        ValueType::Optional(_) => OPTIONAL,
        ValueType::Map { .. } => MAP,
    };
    match proto.elem_type {
        Some(UNDEFINED) => is_empty,
        Some(given) => given == kind || is_empty,
        None => false,
    }
}

fn tensor(proto: &TensorProto) -> Result<Tensor, String> {
    import_tensor(proto, &ExternalFiles::none()).map_err(|error| error.to_string())
}

/// A sequence; `held` is what its elements are, as far as the messages leave it open.
fn sequence(proto: &SequenceProto, held: &ValueType) -> Result<Value, String> {
    let tensors = proto
        .tensor_values
        .iter()
        .map(|t| tensor(t).map(Value::from));
    let inner = inner(held);
    let sequences = proto.sequence_values.iter();
    let sequences = sequences.map(|proto| sequence(proto, inner));
    let optionals = proto.optional_values.iter();
    let optionals = optionals.map(|proto| optional(proto, inner));
    let maps = proto.map_values.iter();
    let maps = maps.map(|proto| map(proto, value_dtype(held)));
    let values = tensors.chain(sequences).chain(optionals).chain(maps);
    Ok(Value::Sequence(values.collect::<Result<_, _>>()?))
}

/// What a sequence or an optional holds; itself, if it is neither.
fn inner(ty: &ValueType) -> &ValueType {
    match ty {
        ValueType::Sequence(inner) | ValueType::Optional(inner) => inner,
        ValueType::Tensor(_) | ValueType::Unranked(_) | ValueType::Map { .. } => ty,
    }
}

/// The dtype of values of a map.
fn value_dtype(ty: &ValueType) -> DType {
    match ty {
        ValueType::Map { value, .. } => *value,
        // A message of maps where none are declared: what it holds will not fit.
        _ => DType::F32,
    }
}

fn optional(proto: &OptionalProto, held: &ValueType) -> Result<Value, String> {
    let value = if let Some(proto) = &proto.tensor_value {
        Some(tensor(proto)?.into())
    } else if let Some(proto) = &proto.sequence_value {
        Some(sequence(proto, inner(held))?)
    } else if let Some(proto) = &proto.optional_value {
        Some(optional(proto, inner(held))?)
    } else if let Some(proto) = &proto.map_value {
        Some(map(proto, value_dtype(held))?)
    } else {
        None
    };
    Ok(Value::Optional(value.map(Box::new)))
}

/// The bytes of a file that holds a value.
pub fn to_bytes(name: &str, value: &Value) -> Vec<u8> {
    match value {
        Value::Tensor(tensor) => tensor_proto(name, tensor).encode_to_vec(),
        Value::Sequence(values) => sequence_proto(name, values).encode_to_vec(),
        Value::Optional(value) => optional_proto(name, value.as_deref()).encode_to_vec(),
        Value::Map(map) => map_proto(name, map).encode_to_vec(),
    }
}

/// ONNX's codes of what sequences and optionals hold.
const UNDEFINED: i32 = 0;
const TENSOR: i32 = 1;
const SEQUENCE: i32 = 3;
const MAP: i32 = 4;
const OPTIONAL: i32 = 5;

fn kind(value: &Value) -> i32 {
    match value {
        Value::Tensor(_) => TENSOR,
        Value::Sequence(_) => SEQUENCE,
        Value::Optional(_) => OPTIONAL,
        Value::Map(_) => MAP,
    }
}

fn sequence_proto(name: &str, values: &[Value]) -> SequenceProto {
    let mut proto = SequenceProto {
        name: Some(name.to_owned()),
        elem_type: Some(values.first().map_or(TENSOR, kind)),
        ..SequenceProto::default()
    };
    for value in values {
        match value {
            Value::Tensor(tensor) => proto.tensor_values.push(tensor_proto("", tensor)),
            Value::Sequence(values) => proto.sequence_values.push(sequence_proto("", values)),
            Value::Optional(value) => {
                let value = optional_proto("", value.as_deref());
                proto.optional_values.push(value);
            }
            Value::Map(map) => proto.map_values.push(map_proto("", map)),
        }
    }
    proto
}

fn optional_proto(name: &str, value: Option<&Value>) -> OptionalProto {
    let mut proto = OptionalProto {
        name: Some(name.to_owned()),
        elem_type: Some(value.map_or(TENSOR, kind)),
        ..OptionalProto::default()
    };
    match value {
        None => {}
        Some(Value::Tensor(tensor)) => proto.tensor_value = Some(tensor_proto("", tensor)),
        Some(Value::Sequence(values)) => {
            proto.sequence_value = Some(sequence_proto("", values));
        }
        Some(Value::Optional(value)) => {
            let value = optional_proto("", value.as_deref());
            proto.optional_value = Some(Box::new(value));
        }
        Some(Value::Map(map)) => proto.map_value = Some(map_proto("", map)),
    }
    proto
}

fn tensor_proto(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = TensorProto {
        dims: tensor.shape().iter().map(|&extent| extent as i64).collect(),
        data_type: Some(code(tensor.dtype())),
        name: Some(name.to_owned()),
        ..TensorProto::default()
    };
    match tensor.strings() {
        Some(strings) => {
            proto.string_data = strings.iter().map(|s| s.as_bytes().to_vec()).collect();
        }
        None => proto.raw_data = Some(pack(tensor).into()),
    }
    proto
}

/// Elements as `raw_data` holds them: those of less than a byte packed, low bits first.
fn pack(tensor: &Tensor) -> Vec<u8> {
    let bits = tensor.dtype().bits();
    if bits >= 8 || tensor.dtype() == DType::Bool {
        return tensor.bytes().to_vec();
    }
    let per_byte = (8 / bits) as usize;
    let mask = (1_u8 << bits) - 1;
    let pack = |chunk: &[u8]| {
        let codes = chunk.iter().enumerate();
        codes.fold(0, |byte, (k, code)| {
            byte | (code & mask) << (k as u32 * bits)
        })
    };
    tensor.bytes().chunks(per_byte).map(pack).collect()
}

/// ONNX's code of a dtype (`TensorProto.DataType`).
fn code(dtype: DType) -> i32 {
    use alula_onnx::proto::tensor_proto::DataType as T;
    let code = match dtype {
        DType::Bool => T::Bool,
        DType::I2 => T::Int2,
        DType::I4 => T::Int4,
        DType::I8 => T::Int8,
        DType::I16 => T::Int16,
        DType::I32 => T::Int32,
        DType::I64 => T::Int64,
        DType::U2 => T::Uint2,
        DType::U4 => T::Uint4,
        DType::U8 => T::Uint8,
        DType::U16 => T::Uint16,
        DType::U32 => T::Uint32,
        DType::U64 => T::Uint64,
        DType::F4E2M1 => T::Float4e2m1,
        DType::F8E4M3FN => T::Float8e4m3fn,
        DType::F8E4M3FNUZ => T::Float8e4m3fnuz,
        DType::F8E5M2 => T::Float8e5m2,
        DType::F8E5M2FNUZ => T::Float8e5m2fnuz,
        DType::F8E8M0 => T::Float8e8m0,
        DType::F16 => T::Float16,
        DType::BF16 => T::Bfloat16,
        DType::F32 => T::Float,
        DType::F64 => T::Double,
        DType::String => T::String,
    };
    code as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use alula_tensor::{Dim, Scalar, TensorType};

    #[test]
    fn values_of_every_dtype_survive_the_way_out_and_back() {
        let tensor_ty = ValueType::from(TensorType::new(DType::F32, Vec::<Dim>::new()));
        for dtype in DType::ALL {
            let tensor = match dtype {
                DType::String => Tensor::from_strings(&[2], vec!["a".into(), "ä".into()]),
                _ => {
                    let ones = vec![Scalar::Int(1); 5];
                    Tensor::from_scalars(dtype, &[5], &ones)
                }
            };
            let value = Value::from(tensor.expect("tensor"));
            let bytes = to_bytes("x", &value).into();
            assert_eq!(from_bytes(&bytes, &tensor_ty), Ok(value), "{dtype}");
        }
        let one = Value::from(Tensor::scalar(1.0_f32));
        let list = Value::Sequence(vec![one.clone(), one.clone()]);
        let list_ty = ValueType::Sequence(Box::new(tensor_ty));
        let cases = [
            (list.clone(), list_ty.clone()),
            (
                Value::Optional(Some(Box::new(list))),
                ValueType::Optional(Box::new(list_ty.clone())),
            ),
            (
                Value::Optional(None),
                ValueType::Optional(Box::new(list_ty)),
            ),
        ];
        let maps = map::tests::maps().into_iter().flat_map(|(map, ty)| {
            let list = Value::Sequence(vec![map.clone(), map.clone()]);
            let held = Value::Optional(Some(Box::new(map.clone())));
            let list_ty = ValueType::Sequence(Box::new(ty.clone()));
            let held_ty = ValueType::Optional(Box::new(ty.clone()));
            [(map, ty), (list, list_ty), (held, held_ty)]
        });
        let cases = cases.into_iter().chain(maps);
        for (value, ty) in cases {
            let bytes = to_bytes("x", &value).into();
            assert_eq!(from_bytes(&bytes, &ty), Ok(value));
        }
    }
}
