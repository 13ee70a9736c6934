//! Small models, and what the reference evaluation makes of them.

use alula_ir::Graph;
use alula_onnx::proto::attribute_proto::AttributeType;
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use alula_onnx::{ImportOptions, import_bytes};
use alula_ops::evaluate;
use alula_tensor::{Tensor, Value};
use prost::Message;

pub(crate) const TRAINING: &str = "ai.onnx.preview.training";

/// The type of a tensor; an extent of -1 is the symbol `n`, and no extents are no rank.
pub(crate) fn tensor(dtype: DataType, dims: Option<&[i64]>) -> TypeProto {
    let dim = |extent: &i64| tensor_shape_proto::Dimension {
        value: Some(match extent {
            -1 => tensor_shape_proto::dimension::Value::DimParam("n".to_owned()),
            extent => tensor_shape_proto::dimension::Value::DimValue(*extent),
        }),
        ..tensor_shape_proto::Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(dtype.into()),
        shape: dims.map(|dims| TensorShapeProto {
            dim: dims.iter().map(dim).collect(),
        }),
    };
    TypeProto {
        value: Some(type_proto::Value::TensorType(tensor)),
        ..TypeProto::default()
    }
}

pub(crate) fn sequence(held: TypeProto) -> TypeProto {
    let sequence = type_proto::Sequence {
        elem_type: Some(Box::new(held)),
    };
    TypeProto {
        value: Some(type_proto::Value::SequenceType(Box::new(sequence))),
        ..TypeProto::default()
    }
}

/// The type of a map to elements.
pub(crate) fn map(key: DataType, value: DataType) -> TypeProto {
    map_to(key, tensor(value, None))
}

pub(crate) fn map_to(key: DataType, value: TypeProto) -> TypeProto {
    let map = type_proto::Map {
        key_type: Some(key.into()),
        value_type: Some(Box::new(value)),
    };
    TypeProto {
        value: Some(type_proto::Value::MapType(Box::new(map))),
        ..TypeProto::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind.into()),
        ..AttributeProto::default()
    }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: Some(value),
        ..attribute(name, AttributeType::Int)
    }
}

pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, AttributeType::Float)
    }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        ints: values.to_vec(),
        ..attribute(name, AttributeType::Ints)
    }
}

pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Some(value.as_bytes().to_vec()),
        ..attribute(name, AttributeType::String)
    }
}

pub(crate) fn texts(name: &str, values: &[&str]) -> AttributeProto {
    AttributeProto {
        strings: values
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect(),
        ..attribute(name, AttributeType::Strings)
    }
}

pub(crate) fn graph(name: &str, value: GraphProto) -> AttributeProto {
    AttributeProto {
        g: Some(value),
        ..attribute(name, AttributeType::Graph)
    }
}

/// A node, its operands and results as words: `-` stands for one that is absent.
pub(crate) fn node(
    op_type: &str,
    operands: &str,
    results: &str,
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    let names = |words: &str| {
        let words = words.split_whitespace();
        words
            .map(|word| word.trim_matches('-').to_owned())
            .collect()
    };
    let (domain, op_type) = op_type.split_once("::").unwrap_or(("", op_type));
    NodeProto {
        op_type: Some(op_type.to_owned()),
        domain: Some(domain.to_owned()),
        input: names(operands),
        output: names(results),
        attribute: attributes,
        ..NodeProto::default()
    }
}

/// A graph of nodes; outputs as words.
pub(crate) fn nodes(
    inputs: &[(&str, TypeProto)],
    nodes: Vec<NodeProto>,
    outputs: &str,
) -> GraphProto {
    let info = |name: &str, ty: Option<TypeProto>| ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: ty,
        ..ValueInfoProto::default()
    };
    GraphProto {
        name: Some("test".to_owned()),
        input: inputs
            .iter()
            .map(|(name, ty)| info(name, Some(ty.clone())))
            .collect(),
        output: outputs
            .split_whitespace()
            .map(|name| info(name, None))
            .collect(),
        node: nodes,
        ..GraphProto::default()
    }
}

/// The graph that the importer makes of a model.
pub(crate) fn import(opset: i64, graph: GraphProto) -> Result<Graph, String> {
    let import_of = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![import_of("", opset), import_of(TRAINING, 1)],
        graph: Some(graph),
        ..ModelProto::default()
    };
    let import = import_bytes(model.encode_to_vec(), &ImportOptions::default());
    import
        .map(|import| import.graph)
        .map_err(|error| error.to_string())
}

/// The outputs of a model.
pub(crate) fn run(opset: i64, graph: GraphProto, inputs: Vec<Value>) -> Result<Vec<Value>, String> {
    let graph = import(opset, graph)?;
    evaluate(&graph, inputs).map_err(|error| error.to_string())
}

pub(crate) fn floats(shape: &[usize], values: &[f32]) -> Value {
    Tensor::from_slice(shape, values).expect("a tensor").into()
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_tensor().expect("a tensor").to_f64s()
}
