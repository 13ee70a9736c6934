//! Maps as `MapProto`: a list of keys, and a sequence of one tensor for each value.

use alula_onnx::proto::{MapProto, SequenceProto, TensorProto};
use alula_tensor::{DType, Map, Scalar, Tensor, Value};

use super::{TENSOR, code, tensor};

/// A map, to values of a dtype if it has none that tell theirs.
pub(super) fn map(proto: &MapProto, dtype: DType) -> Result<Value, String> {
    let keys = match code(DType::String) == proto.key_type() {
        false => Tensor::from_i64s(&proto.keys),
        true => {
            let keys = proto.string_keys.iter().cloned().map(String::from_utf8);
            let keys = keys.collect::<Result<Vec<_>, _>>();
            let keys = keys.map_err(|error| format!("a key is no text: {error}"))?;
            Tensor::from_strings(&[keys.len()], keys).map_err(|error| error.to_string())?
        }
    };
    let values = proto.values.as_ref().map(|values| &values.tensor_values);
    let values = values.into_iter().flatten().map(tensor);
    let values = list(&values.collect::<Result<Vec<_>, _>>()?, dtype)?;
    let map = Map::new(keys, values).map_err(|error| error.to_string())?;
    Ok(map.into())
}

/// One-element tensors as a list of their elements.
fn list(elements: &[Tensor], dtype: DType) -> Result<Tensor, String> {
    let dtype = elements.first().map_or(dtype, Tensor::dtype);
    let stray = |element: &&Tensor| element.len() != 1 || element.dtype() != dtype;
    if let Some(element) = elements.iter().find(stray) {
        return Err(format!(
            "a value of a map is {}, not one {dtype}",
            element.ty()
        ));
    }
    let shape = [elements.len()];
    let list = match dtype {
        DType::String => {
            let strings = elements.iter().filter_map(Tensor::strings);
            Tensor::from_strings(&shape, strings.flatten().cloned().collect())
        }
        _ => {
            let values = elements.iter().filter_map(|element| element.get(0));
            Tensor::from_scalars(dtype, &shape, &values.collect::<Vec<Scalar>>())
        }
    };
    list.map_err(|error| error.to_string())
}

pub(super) fn map_proto(name: &str, map: &Map) -> MapProto {
    let (keys, values) = (map.keys(), map.values());
    let mut proto = MapProto {
        name: Some(name.to_owned()),
        key_type: Some(code(keys.dtype())),
        ..MapProto::default()
    };
    match keys.strings() {
        Some(strings) => {
            proto.string_keys = strings.iter().map(|s| s.as_bytes().to_vec()).collect();
        }
        None => proto.keys = keys.to_i64s().unwrap_or_default(),
    }
    let elements = (0..values.len()).map(|at| element_proto(values, at));
    proto.values = Some(SequenceProto {
        elem_type: Some(TENSOR),
        tensor_values: elements.collect(),
        ..SequenceProto::default()
    });
    proto
}

/// One element of a list as a tensor of rank 0.
fn element_proto(list: &Tensor, at: usize) -> TensorProto {
    let mut proto = TensorProto {
        data_type: Some(code(list.dtype())),
        ..TensorProto::default()
    };
    match list.strings() {
        Some(strings) => proto.string_data = vec![strings[at].as_bytes().to_vec()],
        None => {
            let size = list.dtype().size_bytes();
            // An element of less than a byte has a byte of its own in both.
            proto.raw_data = Some(list.bytes()[at * size..][..size].to_vec().into());
        }
    }
    proto
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::pb::{from_bytes, tensor_proto};
    use alula_tensor::ValueType;
    use prost::Message;

    /// A map of every kind of keys to values of every dtype, and empty ones.
    pub(in crate::pb) fn maps() -> Vec<(Value, ValueType)> {
        let texts = |count: usize| {
            let texts = (0..count).map(|at| format!("k{at}")).collect();
            Tensor::from_strings(&[count], texts).expect("tensor")
        };
        let ints = |count: usize| Tensor::from_i64s(&(0..count as i64).collect::<Vec<_>>());
        let mut maps = Vec::new();
        for (dtype, count) in DType::ALL
            .into_iter()
            .flat_map(|dtype| [(dtype, 2), (dtype, 0)])
        {
            let values = match dtype {
                DType::String => texts(count),
                _ => {
                    let ones = vec![Scalar::Int(1); count];
                    Tensor::from_scalars(dtype, &[count], &ones).expect("tensor")
                }
            };
            for keys in [texts(count), ints(count)] {
                let ty = ValueType::Map {
                    key: keys.dtype(),
                    value: dtype,
                };
                maps.push((Map::new(keys, values.clone()).expect("a map").into(), ty));
            }
        }
        maps
    }

    #[test]
    fn messages_that_are_no_map_are_refused() {
        let ty = ValueType::Map {
            key: DType::I64,
            value: DType::F32,
        };
        let read = |keys: &[i64], values: &[&[f32]]| {
            let values = values.iter().map(|values| {
                let tensor = Tensor::from_slice(&[values.len()], values).expect("tensor");
                tensor_proto("", &tensor)
            });
            let proto = MapProto {
                key_type: Some(code(DType::I64)),
                keys: keys.to_vec(),
                values: Some(SequenceProto {
                    tensor_values: values.collect(),
                    ..SequenceProto::default()
                }),
                ..MapProto::default()
            };
            from_bytes(&proto.encode_to_vec().into(), &ty)
        };
        assert!(read(&[2, 1], &[&[0.5], &[1.5]]).is_ok());
        let error = read(&[1, 1], &[&[0.5], &[1.5]]).expect_err("a key is there twice");
        assert_eq!(error, "key 1 is there twice");
        let error = read(&[1, 2], &[&[0.5]]).expect_err("a value is missing");
        assert!(error.contains("lists of one length"), "{error}");
        let error = read(&[1], &[&[0.5, 1.5]]).expect_err("a value is no element");
        assert_eq!(error, "a value of a map is f32[2], not one f32");
    }
}
