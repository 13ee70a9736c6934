//! Maps as inputs and outputs of models, compiled and out of artifacts.

use alula::onnx::proto::attribute_proto::AttributeType;
use alula::onnx::proto::tensor_proto::DataType;
use alula::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use alula::{Map, Model, Session, Tensor, Value, ValueType};
use prost::Message;

fn port(name: &str, value: type_proto::Value) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(value),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn floats(dims: &[i64]) -> type_proto::Tensor {
    let dim = |extent: &i64| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(*extent)),
        ..tensor_shape_proto::Dimension::default()
    };
    type_proto::Tensor {
        elem_type: Some(DataType::Float.into()),
        shape: Some(TensorShapeProto {
            dim: dims.iter().map(dim).collect(),
        }),
    }
}

fn words(name: &str, words: &[&str]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Strings.into()),
        strings: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        ..AttributeProto::default()
    }
}

/// Sessions of a model of one node, `y` of `x`, as it is compiled and out of its artifact.
fn sessions(op_type: &str, x: type_proto::Value, attribute: AttributeProto) -> Vec<Session> {
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    let node = NodeProto {
        op_type: Some(op_type.to_owned()),
        domain: Some("ai.onnx.ml".to_owned()),
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        attribute: vec![attribute],
        ..NodeProto::default()
    };
    let model = ModelProto {
        ir_version: Some(9),
        opset_import: vec![opset("", 18), opset("ai.onnx.ml", 3)],
        graph: Some(GraphProto {
            node: vec![node],
            input: vec![port("x", x)],
            output: vec![ValueInfoProto {
                name: Some("y".to_owned()),
                ..ValueInfoProto::default()
            }],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (path, artifact) = (folder.path().join("x.onnx"), folder.path().join("x.alula"));
    std::fs::write(&path, model.encode_to_vec()).expect("written");
    let model = Model::open(&path).expect("it compiles");
    model.save(&artifact).expect("it is saved");
    let stored = Model::from_artifact(&artifact).expect("it loads");
    let opened = [model, stored].map(|model| model.session().expect("a session"));
    opened.into_iter().collect()
}

fn slice(values: &[f32]) -> Tensor {
    Tensor::from_slice(&[values.len()], values).expect("a tensor")
}

fn map(keys: &[&str], values: Tensor) -> Value {
    let strings = keys.iter().map(|key| (*key).to_owned()).collect();
    let keys = Tensor::from_strings(&[keys.len()], strings).expect("a tensor");
    Map::new(keys, values).expect("a map").into()
}

#[test]
fn rows_come_out_as_maps() {
    let x = type_proto::Value::TensorType(floats(&[2, 2]));
    let labels = words("classlabels_strings", &["no", "maybe"]);
    for session in sessions("ZipMap", x, labels) {
        let held = "seq<map<string, f32>>";
        assert_eq!(session.outputs()[0].ty.to_string(), held);
        let x = slice(&[0.25, 0.75, 1.0, 0.0])
            .reshape(&[2, 2])
            .expect("a table");
        let y = session
            .run(&[("x", x.into())])
            .expect("it runs")
            .remove(0)
            .1;
        let first = map(&["no", "maybe"], slice(&[0.25, 0.75]));
        let second = map(&["no", "maybe"], slice(&[1.0, 0.0]));
        assert_eq!(y, Value::Sequence(vec![first, second]));
    }
}

#[test]
fn maps_go_in_and_others_are_refused_by_name() {
    let x = type_proto::Value::MapType(Box::new(type_proto::Map {
        key_type: Some(DataType::String.into()),
        value_type: Some(Box::new(TypeProto {
            value: Some(type_proto::Value::TensorType(floats(&[]))),
            ..TypeProto::default()
        })),
    }));
    let vocabulary = words("string_vocabulary", &["c", "b", "a"]);
    for session in sessions("DictVectorizer", x, vocabulary) {
        assert!(matches!(session.inputs()[0].ty, ValueType::Map { .. }));
        let given = map(&["c", "a"], slice(&[0.5, 1.5]));
        let y = session.run(&[("x", given)]).expect("it runs").remove(0).1;
        let expected = slice(&[0.5, 0.0, 1.5]).reshape(&[1, 3]).expect("a row");
        assert_eq!(y, expected.into());
        let wide = Tensor::from_slice(&[1], &[0.5_f64]).expect("a tensor");
        let error = session.run(&[("x", map(&["a"], wide))]);
        let error = error.expect_err("the values are wider").to_string();
        let words = ["\"x\"", "map<string, f32>", "map<string, f64> of 1"];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}
