//! ONNX models made in tests: messages of few words.

use alula_onnx::proto::attribute_proto::AttributeType;
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use alula_onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// The opset that the models import.
pub const OPSET: i64 = 18;

/// A node without attributes.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op.to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        ..NodeProto::default()
    }
}

fn attribute(mut node: NodeProto, name: &str, value: AttributeProto) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.to_owned()),
        ..value
    });
    node
}

/// The node with an integer attribute.
pub fn with_int(node: NodeProto, name: &str, value: i64) -> NodeProto {
    let value = AttributeProto {
        r#type: Some(AttributeType::Int.into()),
        i: Some(value),
        ..AttributeProto::default()
    };
    attribute(node, name, value)
}

/// The node with an attribute of integers.
pub fn with_ints(node: NodeProto, name: &str, values: &[i64]) -> NodeProto {
    let value = AttributeProto {
        r#type: Some(AttributeType::Ints.into()),
        ints: values.to_vec(),
        ..AttributeProto::default()
    };
    attribute(node, name, value)
}

/// The node with a sub-graph.
pub fn with_graph(node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    let value = AttributeProto {
        r#type: Some(AttributeType::Graph.into()),
        g: Some(graph),
        ..AttributeProto::default()
    };
    attribute(node, name, value)
}

/// An `If` of two sub-graphs.
pub fn branch(cond: &str, outputs: &[&str], then: GraphProto, otherwise: GraphProto) -> NodeProto {
    let node = with_graph(node("If", &[cond], outputs), "then_branch", then);
    with_graph(node, "else_branch", otherwise)
}

/// A sub-graph without inputs.
pub fn body(nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
    GraphProto {
        node: nodes,
        output: outputs.iter().map(|name| untyped(name)).collect(),
        ..GraphProto::default()
    }
}

/// A value of which nothing is declared but the name.
pub fn untyped(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.to_owned()),
        ..ValueInfoProto::default()
    }
}

/// A declared tensor: extents are numbers or symbols, separated by spaces.
pub fn tensor(name: &str, dtype: DataType, dims: &str) -> ValueInfoProto {
    let dim = |word: &str| Dimension {
        value: Some(match word.parse() {
            Ok(extent) => dimension::Value::DimValue(extent),
            Err(_) => dimension::Value::DimParam(word.to_owned()),
        }),
        ..Dimension::default()
    };
    let ty = type_proto::Tensor {
        elem_type: Some(dtype.into()),
        shape: Some(TensorShapeProto {
            dim: dims.split_whitespace().map(dim).collect(),
        }),
    };
    ValueInfoProto {
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(ty)),
            ..TypeProto::default()
        }),
        ..untyped(name)
    }
}

/// An initializer of integers: a vector.
pub fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Int64.into()),
        dims: vec![values.len() as i64],
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// An initializer of one integer: a scalar.
pub fn int(name: &str, value: i64) -> TensorProto {
    TensorProto {
        dims: Vec::new(),
        ..ints(name, &[value])
    }
}

/// An initializer of floats: a vector.
pub fn floats(name: &str, values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Float.into()),
        dims: vec![values.len() as i64],
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// A function of the domain `own` from `a` to `b`.
pub fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("own".to_owned()),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: nodes,
        opset_import: opsets(),
        ..FunctionProto::default()
    }
}

/// A call of such a function.
pub fn call(name: &str, input: &str, output: &str) -> NodeProto {
    NodeProto {
        domain: Some("own".to_owned()),
        ..node(name, &[input], &[output])
    }
}

fn opsets() -> Vec<OperatorSetIdProto> {
    let entry = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    vec![entry("", OPSET), entry("own", 1)]
}

/// A model; its outputs are the last node's, or those named.
pub fn model(
    inputs: Vec<ValueInfoProto>,
    initializer: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
) -> ModelProto {
    let outputs: Vec<String> = nodes.last().map(|n| n.output.clone()).unwrap_or_default();
    ModelProto {
        ir_version: Some(9),
        opset_import: opsets(),
        graph: Some(GraphProto {
            name: Some("test".to_owned()),
            node: nodes,
            initializer,
            input: inputs,
            output: outputs.iter().map(|name| untyped(name)).collect(),
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}
