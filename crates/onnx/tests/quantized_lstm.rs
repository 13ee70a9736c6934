//! `DynamicQuantizeLSTM` against ONNX Runtime 1.32 on made-up numbers: two directions, two
//! sequences of which one is shorter, a scale for each direction.

use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, tensor_shape_proto, type_proto,
};
use alula_onnx::{ImportOptions, import_bytes};
use alula_tensor::Tensor;
use prost::Message;

/// ONNX Runtime's results `Y` (`[3, 2, 2, 3]`), `Y_h` and `Y_c` (`[2, 2, 3]`), on one thread.
const EXPECTED: [&[f32]; 3] = [
    &[
        0.1850933,
        -0.05929361,
        -0.0299613,
        0.0813112,
        -0.005963152,
        -0.0612739,
        -0.3585471,
        0.08006794,
        0.04546689,
        -0.3892626,
        0.09546786,
        -0.04418632,
        -0.03278763,
        -0.6049301,
        -0.2853054,
        -0.05301374,
        -0.4970694,
        -0.3877641,
        -0.1440175,
        -0.14832,
        0.2276783,
        -0.1544269,
        -0.08790172,
        0.08589205,
        -0.0933504,
        0.01229603,
        0.1765084,
        0.0,
        0.0,
        0.0,
        -0.1278159,
        0.1568357,
        0.3026865,
        0.0,
        0.0,
        0.0,
    ],
    &[
        -0.0933504,
        0.01229603,
        0.1765084,
        -0.05301374,
        -0.4970694,
        -0.3877641,
        -0.3585471,
        0.08006794,
        0.04546689,
        -0.3892626,
        0.09546786,
        -0.04418632,
    ],
    &[
        -0.1093523, 0.01424205, 0.1993242, -0.2573608, -0.8619143, -0.5517635, -0.89719, 0.4675232,
        0.277734, -0.7593907, 0.554839, -0.2341576,
    ],
];

/// `(k * step + first) % modulus`, moved by `offset`, for each element.
fn made_up(dims: &[i64], [step, first, modulus, offset]: [i64; 4]) -> Vec<i64> {
    let count = dims.iter().product();
    (0..count)
        .map(|k| (k * step + first) % modulus + offset)
        .collect()
}

fn tensor(name: &str, dtype: DataType, dims: &[i64], raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(dtype.into()),
        dims: dims.to_vec(),
        raw_data: Some(raw.into()),
        ..TensorProto::default()
    }
}

fn bytes(name: &str, dims: &[i64], rule: [i64; 4]) -> TensorProto {
    let raw = made_up(dims, rule).iter().map(|k| *k as i8 as u8).collect();
    tensor(name, DataType::Int8, dims, raw)
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    tensor(name, DataType::Float, dims, raw)
}

fn scaled(dims: &[i64], rule: [i64; 4], scale: f32) -> Vec<f32> {
    made_up(dims, rule)
        .iter()
        .map(|k| *k as f32 * scale)
        .collect()
}

fn model() -> Vec<u8> {
    let attribute = |name: &str| AttributeProto {
        name: Some(name.to_owned()),
        ..AttributeProto::default()
    };
    let direction = AttributeProto {
        r#type: Some(attribute_proto::AttributeType::String.into()),
        s: Some(b"bidirectional".to_vec()),
        ..attribute("direction")
    };
    let hidden = AttributeProto {
        r#type: Some(attribute_proto::AttributeType::Int.into()),
        i: Some(3),
        ..attribute("hidden_size")
    };
    let dim = |extent: i64| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(extent)),
        ..tensor_shape_proto::Dimension::default()
    };
    let input = type_proto::Tensor {
        elem_type: Some(DataType::Float.into()),
        shape: Some(TensorShapeProto {
            dim: [3, 2, 4].map(dim).to_vec(),
        }),
    };
    let named = |name: &str| ValueInfoProto {
        name: Some(name.to_owned()),
        ..ValueInfoProto::default()
    };
    let names = |names: &str| names.split(',').map(str::to_owned).collect();
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    let lengths = [3_i32, 2].iter().flat_map(|n| n.to_le_bytes()).collect();
    let graph = GraphProto {
        input: vec![ValueInfoProto {
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(input)),
                ..TypeProto::default()
            }),
            ..named("X")
        }],
        node: vec![NodeProto {
            op_type: Some("DynamicQuantizeLSTM".to_owned()),
            domain: Some("com.microsoft".to_owned()),
            input: names("X,W,R,B,L,,,,ws,z,rs,z"),
            output: names("Y,Yh,Yc"),
            attribute: vec![direction, hidden],
            ..NodeProto::default()
        }],
        initializer: vec![
            bytes("W", &[2, 4, 12], [37, 11, 255, -127]),
            bytes("R", &[2, 3, 12], [53, 5, 255, -127]),
            bytes("z", &[2], [0, 0, 1, 0]),
            floats(
                "B",
                &[2, 24],
                &scaled(&[2, 24], [29, 3, 64, -32], 1.0 / 32.0),
            ),
            floats("ws", &[2], &[1.0 / 128.0, 1.0 / 256.0]),
            floats("rs", &[2], &[1.0 / 128.0, 1.0 / 64.0]),
            tensor("L", DataType::Int32, &[2], lengths),
        ],
        output: vec![named("Y"), named("Yh"), named("Yc")],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset("", 14), opset("com.microsoft", 1)],
        graph: Some(graph),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

#[test]
fn states_are_quantized_at_each_step() {
    let imported = import_bytes(model(), &ImportOptions::default()).expect("the model imports");
    let dims = [3, 2, 4];
    let x = scaled(&dims.map(i64::from), [19, 7, 64, -32], 1.0 / 16.0);
    let x = Tensor::from_slice(&[3, 2, 4], &x).expect("the count fits");
    let results = alula_ops::evaluate(&imported.graph, vec![x.into()]).expect("it evaluates");
    for (result, expected) in results.iter().zip(EXPECTED) {
        let values = result.as_tensor().expect("a tensor").to_f64s();
        assert_eq!(values.len(), expected.len());
        // One step of a quantized state moves results by more than 1e-4.
        for (value, expected) in values.iter().zip(expected) {
            let error = (value - f64::from(*expected)).abs();
            assert!(error < 2e-6, "{value} is not {expected}");
        }
    }
}
