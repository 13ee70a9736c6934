//! What an import says: everything unsupported at once, warnings, and names.

use alula_onnx::proto::type_proto::Value as TypeValue;
use alula_onnx::proto::{
    FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    TensorAnnotation, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use alula_onnx::{Import, ImportError, ImportOptions, import_bytes};
use prost::Message;

const FLOAT: i32 = 1;
const INT32: i32 = 6;
const INT64: i32 = 7;
const COMPLEX64: i32 = 14;

fn named(name: &str, value: Option<TypeValue>) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value,
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn tensor_of(elem_type: i32, shape: Option<TensorShapeProto>) -> Option<TypeValue> {
    Some(TypeValue::TensorType(type_proto::Tensor {
        elem_type: Some(elem_type),
        shape,
    }))
}

/// An input of rank 0.
fn scalar(name: &str) -> ValueInfoProto {
    named(name, tensor_of(FLOAT, Some(TensorShapeProto::default())))
}

/// `domain::Op:overload inputs -> output`, named by its output with `n_` before it.
fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    let (domain, op) = op.split_once("::").unwrap_or(("", op));
    let (op, overload) = op.split_once(':').unwrap_or((op, ""));
    NodeProto {
        name: Some(format!("n_{output}")),
        domain: Some(domain.to_owned()),
        op_type: Some(op.to_owned()),
        overload: Some(overload.to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn opsets() -> Vec<OperatorSetIdProto> {
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    vec![opset("", 17), opset("loc", 1)]
}

/// A function of `loc` from `a` to `b`.
fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    let (name, overload) = name.split_once(':').unwrap_or((name, ""));
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("loc".to_owned()),
        overload: Some(overload.to_owned()),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: nodes,
        opset_import: opsets(),
        ..FunctionProto::default()
    }
}

/// A model with a scalar input `x` and an output `y`.
fn model(nodes: Vec<NodeProto>) -> ModelProto {
    ModelProto {
        ir_version: Some(10),
        opset_import: opsets(),
        graph: Some(GraphProto {
            node: nodes,
            input: vec![scalar("x")],
            output: vec![scalar("y")],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().expect("models have a graph")
}

fn import(model: &ModelProto) -> Result<Import, ImportError> {
    import_bytes(model.encode_to_vec(), &ImportOptions::default())
}

/// The lines of the report on a model that is not supported.
fn check(model: &ModelProto, lines: &[&str]) {
    match import(model) {
        Err(ImportError::Unsupported(items)) => {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            assert_eq!(items, lines);
        }
        other => panic!("{other:?}"),
    }
}

fn tensor(name: &str, data_type: i32, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type),
        dims: dims.to_vec(),
        ..TensorProto::default()
    }
}

fn sparse(
    values: &[f32],
    indices: &[i64],
    indices_dims: &[i64],
    dims: &[i64],
) -> SparseTensorProto {
    SparseTensorProto {
        values: Some(TensorProto {
            float_data: values.to_vec(),
            ..tensor("w", FLOAT, &[values.len() as i64])
        }),
        indices: Some(TensorProto {
            int64_data: indices.to_vec(),
            ..tensor("", INT64, indices_dims)
        }),
        dims: dims.to_vec(),
    }
}

#[test]
fn inputs_and_initializers_are_in_the_report_with_the_nodes() {
    let mut model = model(vec![
        node("Foo", &["x"], "p"),
        node("Add", &["p", "m"], "q"),
        node("Bar", &["r"], "y"),
    ]);
    let map = type_proto::Map {
        key_type: Some(INT32),
        ..type_proto::Map::default()
    };
    let map = TypeValue::MapType(Box::new(map));
    graph(&mut model).input.extend([
        named("m", Some(map)),
        named("r", tensor_of(FLOAT, None)),
        named("c", tensor_of(COMPLEX64, Some(TensorShapeProto::default()))),
    ]);
    let complex = TensorProto {
        float_data: vec![0.0, 1.0],
        ..tensor("i", COMPLEX64, &[])
    };
    graph(&mut model).initializer.push(complex);
    let lines = [
        "initializer \"i\": data type COMPLEX64 is not supported",
        "input \"m\": keys of a map are i64 or string, not i32",
        "input \"r\": its rank is not declared: give its shape",
        "input \"c\": data type COMPLEX64 is not supported",
        "Foo \"n_p\" (opset 17): the operator is not supported",
        "Bar \"n_y\" (opset 17): the operator is not supported",
    ];
    // What uses something that is not supported is not reported for it.
    check(&model, &lines);
}

#[test]
fn an_input_without_a_rank_takes_the_shape_that_is_given() {
    let mut model = model(vec![node("Relu", &["x"], "y")]);
    graph(&mut model).input = vec![named("x", tensor_of(FLOAT, None))];
    let mut options = ImportOptions::default();
    options.shapes.insert("x".to_owned(), vec![2, 3]);
    let import = import_bytes(model.encode_to_vec(), &options).expect("its shape is given");
    let ty = import.graph.ty(import.graph.inputs()[0]);
    assert_eq!(ty.to_string(), "f32[2, 3]");
    options.shapes.insert("z".to_owned(), vec![2]);
    let error = import_bytes(model.encode_to_vec(), &options).expect_err("there is no z");
    assert_eq!(
        error.to_string(),
        "there is no input \"z\": the model's are \"x\""
    );
}

#[test]
fn unsupported_nodes_of_functions_name_the_call() {
    let mut model = model(vec![
        node("loc::F", &["x"], "p"),
        node("loc::F", &["x"], "q"),
        node("Baz", &["x"], "y"),
    ]);
    model.functions = vec![
        function(
            "F",
            vec![node("loc::G", &["a"], "t"), node("Foo", &["t"], "b")],
        ),
        function("G", vec![node("Bar", &["a"], "b")]),
    ];
    let lines = [
        "Bar \"n_b\" (opset 17) in loc::G called by \"n_t\" in loc::F called by \"n_p\": the \
         operator is not supported (1 more call)",
        "Foo \"n_b\" (opset 17) in loc::F called by \"n_p\": the operator is not supported \
         (1 more call)",
        "Baz \"n_y\" (opset 17): the operator is not supported",
    ];
    check(&model, &lines);
}

#[test]
fn overloads_may_call_each_other() {
    let mut model = model(vec![node("loc::F:one", &["x"], "y")]);
    model.functions = vec![
        function("F:one", vec![node("loc::F:two", &["a"], "b")]),
        function("F:two", vec![node("Relu", &["a"], "b")]),
    ];
    let imported = import(&model).expect("the overloads are different functions");
    assert_eq!(imported.graph.num_nodes(), 1);
    model.functions[1].node = vec![node("loc::F:one", &["a"], "b")];
    let error = import(&model).expect_err("they call each other without end");
    assert!(
        error.to_string().ends_with("the function calls itself"),
        "{error}"
    );
}

#[test]
fn sparse_initializers_are_dense_afterwards() {
    let mut model = model(vec![node("Add", &["x", "w"], "y")]);
    let as_numbers = sparse(&[1.5, -2.0], &[1, 5], &[2], &[2, 3]);
    let as_positions = sparse(&[1.5, -2.0], &[0, 1, 1, 2], &[2, 2], &[2, 3]);
    for tensor in [as_numbers, as_positions] {
        graph(&mut model).sparse_initializer = vec![tensor];
        let imported = import(&model).expect("sparse tensors are made dense").graph;
        let constants = imported
            .values()
            .filter_map(|(id, _)| imported.as_constant(id));
        let values: Vec<Vec<f64>> = constants.map(|tensor| tensor.to_f64s()).collect();
        assert_eq!(values, [[0.0, 1.5, 0.0, 0.0, 0.0, -2.0]]);
    }
}

#[test]
fn sparse_initializers_that_make_no_sense_are_refused() {
    let mut model = model(vec![node("Add", &["x", "w"], "y")]);
    let cases = [
        (sparse(&[1.0], &[6], &[1], &[2, 3]), "index 6 of 6 elements"),
        (
            sparse(&[1.0], &[-1], &[1], &[2, 3]),
            "index -1 of 6 elements",
        ),
        (
            sparse(&[1.0], &[0, 3], &[1, 2], &[2, 3]),
            "index [0, 3] of [2, 3]",
        ),
        (
            sparse(&[1.0, 2.0], &[4, 4], &[2], &[2, 3]),
            "its indices do not ascend",
        ),
        (
            sparse(&[1.0, 2.0], &[4], &[1], &[2, 3]),
            "indices of shape [1] for 2 values",
        ),
        (sparse(&[1.0], &[0], &[1], &[-1]), "extents [-1]"),
        (
            sparse(&[1.0], &[0], &[1], &[1 << 20, 1 << 20]),
            "the model has more than 134217728 bytes left for sparse tensors made dense",
        ),
        (
            sparse(&[1.0], &[0], &[1], &[1 << 40, 1 << 40]),
            "the model has more than 134217728 bytes left for sparse tensors made dense",
        ),
    ];
    for (tensor, reason) in cases {
        graph(&mut model).sparse_initializer = vec![tensor];
        let error = import(&model).expect_err(reason);
        assert!(error.to_string().ends_with(reason), "{error}");
    }
}

#[test]
fn what_is_ignored_is_warned_of() {
    let mut model = model(vec![node("Relu", &["x"], "y")]);
    model.ir_version = Some(99);
    model.opset_import[0].version = Some(40);
    graph(&mut model).quantization_annotation = vec![TensorAnnotation::default(); 3];
    let warnings = import(&model).expect("newer models are taken").warnings;
    let expected = [
        "IR version 99 is newer than 14",
        "opset 40 is newer than 28",
        "the quantization annotations of 3 tensors are not used: only quantizing and dequantizing \
         nodes count",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn valid_nodes_whose_rank_is_not_known_are_unsupported() {
    let dim = |value| alula_onnx::proto::tensor_shape_proto::Dimension {
        value: Some(value),
        ..Default::default()
    };
    use alula_onnx::proto::tensor_shape_proto::dimension::Value;
    let mut model = model(vec![
        node("GatherND", &["d", "i"], "y"),
        node("Foo", &["x"], "z"),
    ]);
    let shape = |dims| Some(TensorShapeProto { dim: dims });
    let positions = shape(vec![
        dim(Value::DimValue(2)),
        dim(Value::DimParam("K".to_owned())),
    ]);
    graph(&mut model).input.extend([
        named("d", tensor_of(FLOAT, shape(vec![dim(Value::DimValue(4))]))),
        named("i", tensor_of(INT64, positions)),
    ]);
    let lines = [
        "GatherND \"n_y\" (opset 17): gather_nd: indices i64[2, K] whose last extent is not known, \
         and so not the result's rank",
        "Foo \"n_z\" (opset 17): the operator is not supported",
    ];
    check(&model, &lines);
}
