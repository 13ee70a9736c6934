//! Models that ask for the absurd: a clear error or a graph, at once, and never a panic.

use std::time::{Duration, Instant};

use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use alula_onnx::proto::{TensorShapeProto, attribute_proto::AttributeType};
use alula_onnx::{Import, ImportError, ImportOptions, import_bytes};
use prost::Message;

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op.to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        ..NodeProto::default()
    }
}

fn with_ints(mut node: NodeProto, name: &str, ints: &[i64]) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Ints.into()),
        ints: ints.to_vec(),
        ..AttributeProto::default()
    });
    node
}

fn with_graph(mut node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Graph.into()),
        g: Some(graph),
        ..AttributeProto::default()
    });
    node
}

fn i64s(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Int64.into()),
        dims: vec![values.len() as i64],
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |extent: &i64| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(*extent)),
        ..tensor_shape_proto::Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(DataType::Float.into()),
        shape: Some(TensorShapeProto {
            dim: dims.iter().map(dim).collect(),
        }),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn opset() -> Vec<OperatorSetIdProto> {
    let entry = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    vec![entry("", 17), entry("own", 1)]
}

/// A model of nodes over the input `x: f32[2, 3]`, with initializers and functions.
fn model(
    nodes: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    functions: Vec<FunctionProto>,
) -> ModelProto {
    let output = nodes
        .last()
        .and_then(|node| node.output.last())
        .cloned()
        .unwrap_or_default();
    ModelProto {
        ir_version: Some(9),
        opset_import: opset(),
        graph: Some(GraphProto {
            node: nodes,
            initializer,
            input: vec![value("x", &[2, 3])],
            output: vec![ValueInfoProto {
                name: Some(output),
                ..ValueInfoProto::default()
            }],
            ..GraphProto::default()
        }),
        functions,
        ..ModelProto::default()
    }
}

/// Imports within a second.
fn import(name: &str, model: &ModelProto) -> Result<Import, Box<ImportError>> {
    let bytes = model.encode_to_vec();
    let start = Instant::now();
    let result = import_bytes(bytes, &ImportOptions::default());
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 }),
        "{name}: {took:?}"
    );
    result.map_err(Box::new)
}

fn refused(name: &str, model: &ModelProto, says: &str) {
    match import(name, model) {
        Ok(_) => panic!("{name} was imported"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(says), "{name}: {text}");
        }
    }
}

fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("own".to_owned()),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: nodes,
        opset_import: opset(),
        ..FunctionProto::default()
    }
}

fn call(name: &str, input: &str, output: &str) -> NodeProto {
    NodeProto {
        domain: Some("own".to_owned()),
        ..node(name, &[input], &[output])
    }
}

#[test]
fn recursive_functions_are_refused() {
    let own = function("f", vec![call("f", "a", "b")]);
    refused(
        "direct",
        &model(vec![call("f", "x", "y")], vec![], vec![own]),
        "calls itself",
    );
    let there = function("f", vec![call("g", "a", "b")]);
    let back = function("g", vec![call("f", "a", "b")]);
    let cyclic = model(vec![call("f", "x", "y")], vec![], vec![there, back]);
    refused("cyclic", &cyclic, "calls itself");
}

#[test]
fn functions_that_double_meet_the_limit() {
    let mut functions = vec![function("f0", vec![node("Neg", &["a"], &["b"])])];
    for level in 1..=28 {
        let inner = format!("f{}", level - 1);
        let body = vec![call(&inner, "a", "t"), call(&inner, "t", "b")];
        functions.push(function(&format!("f{level}"), body));
    }
    let doubling = model(vec![call("f28", "x", "y")], vec![], functions);
    let options = ImportOptions {
        limits: alula_onnx::ImportLimits {
            nodes: 1 << 14,
            ..Default::default()
        },
        ..ImportOptions::default()
    };
    let error = import_bytes(doubling.encode_to_vec(), &options).expect_err("2^28 nodes");
    assert!(matches!(error, ImportError::Limit { .. }), "{error}");
}

#[test]
fn deep_nesting_is_refused() {
    let mut graph = GraphProto {
        node: vec![node("Neg", &["x"], &["y"])],
        output: vec![ValueInfoProto {
            name: Some("y".into()),
            ..Default::default()
        }],
        ..GraphProto::default()
    };
    for _ in 0..80 {
        let branch = with_graph(node("If", &["c"], &["y"]), "then_branch", graph.clone());
        let inner = GraphProto {
            node: vec![with_graph(branch, "else_branch", GraphProto::default())],
            output: graph.output.clone(),
            ..GraphProto::default()
        };
        graph = inner;
    }
    let nested = ModelProto {
        graph: Some(graph),
        ..model(vec![], vec![], vec![])
    };
    assert!(import("80 levels", &nested).is_err());
}

#[test]
fn names_are_defined_once() {
    let twice = vec![node("Neg", &["x"], &["y"]), node("Abs", &["x"], &["y"])];
    refused("twice", &model(twice, vec![], vec![]), "defined twice");
    let backwards = vec![node("Neg", &["z"], &["y"]), node("Abs", &["x"], &["z"])];
    refused(
        "backwards",
        &model(backwards, vec![], vec![]),
        "not defined",
    );
}

#[test]
fn absurd_extents_are_refused_or_harmless() {
    let huge = 1_i64 << 62;
    let cases = [
        (
            "expand",
            vec![node("Expand", &["x", "s"], &["y"])],
            vec![huge, 2, 3],
        ),
        (
            "constant of shape",
            vec![node("ConstantOfShape", &["s"], &["y"])],
            vec![huge, huge],
        ),
        (
            "tile",
            vec![node("Tile", &["x", "s"], &["y"])],
            vec![huge, huge],
        ),
        (
            "pad",
            vec![node("Pad", &["x", "s"], &["y"])],
            vec![huge, huge, huge, huge],
        ),
        (
            "reshape",
            vec![node("Reshape", &["x", "s"], &["y"])],
            vec![huge, -1],
        ),
        (
            "negative",
            vec![node("ConstantOfShape", &["s"], &["y"])],
            vec![-5],
        ),
    ];
    for (name, nodes, shape) in cases {
        let text = match import(name, &model(nodes, vec![i64s("s", &shape)], vec![])) {
            Ok(_) => panic!("{name} was imported"),
            Err(error) => error.to_string(),
        };
        assert!(!text.is_empty(), "{name} says why");
    }
    // Large, but an honest request: it types, and a run would meet the limit of memory.
    let large = vec![node("ConstantOfShape", &["s"], &["y"])];
    let shape = i64s("s", &[1 << 20, 1 << 20]);
    assert!(import("2^40 elements", &model(large, vec![shape], vec![])).is_ok());
}

#[test]
fn attributes_out_of_range_are_refused() {
    let slice = vec![node("Slice", &["x", "s", "e", "a", "t"], &["y"])];
    let zero_step = vec![
        i64s("s", &[0]),
        i64s("e", &[2]),
        i64s("a", &[0]),
        i64s("t", &[0]),
    ];
    refused("step 0", &model(slice, zero_step, vec![]), "step");
    let perm = with_ints(node("Transpose", &["x"], &["y"]), "perm", &[0, 7]);
    assert!(import("perm", &model(vec![perm], vec![], vec![])).is_err());
    let pool = with_ints(node("MaxPool", &["x"], &["y"]), "kernel_shape", &[0, 0]);
    assert!(import("pool of rank 2", &model(vec![pool], vec![], vec![])).is_err());
    let unknown = with_ints(node("Neg", &["x"], &["y"]), "surprise", &[1]);
    refused(
        "unknown attribute",
        &model(vec![unknown], vec![], vec![]),
        "surprise",
    );
}

#[test]
fn damaged_bytes_are_refused() {
    let whole = model(vec![node("Neg", &["x"], &["y"])], vec![], vec![]).encode_to_vec();
    for end in 0..whole.len() {
        let _ = import_bytes(whole[..end].to_vec(), &ImportOptions::default());
    }
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = import_bytes(damaged, &ImportOptions::default());
    }
}
