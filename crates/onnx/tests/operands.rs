//! Every row given operands that it did not expect, of any count, dtype and rank: an error or a
//! graph, and never a panic.

use std::panic::catch_unwind;

use alula_onnx::proto::TensorShapeProto;
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto,
    tensor_shape_proto, type_proto,
};
use alula_onnx::rows::Row;
use alula_onnx::{ImportOptions, import_bytes, rows};
use prost::Message;

const MOST_OPERANDS: usize = 9;

fn value(name: &str, dtype: DataType, dims: &[i64]) -> ValueInfoProto {
    let dim = |extent: &i64| tensor_shape_proto::Dimension {
        value: Some(match extent {
            -1 => tensor_shape_proto::dimension::Value::DimParam("n".to_owned()),
            extent => tensor_shape_proto::dimension::Value::DimValue(*extent),
        }),
        ..tensor_shape_proto::Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(dtype.into()),
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

/// A model of one node without attributes, whose operands are all of one type.
fn model(row: &Row, version: i64, operands: usize, dtype: DataType, dims: &[i64]) -> Vec<u8> {
    let names: Vec<String> = (0..operands).map(|index| format!("x{index}")).collect();
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    let mut opsets = vec![opset("", version)];
    if !row.domain.is_empty() {
        opsets = vec![opset("", 21), opset(row.domain, version)];
    }
    ModelProto {
        ir_version: Some(9),
        opset_import: opsets,
        graph: Some(GraphProto {
            input: names.iter().map(|name| value(name, dtype, dims)).collect(),
            node: vec![NodeProto {
                op_type: Some(row.op_type.to_owned()),
                domain: Some(row.domain.to_owned()),
                input: names,
                output: vec!["y".to_owned()],
                ..NodeProto::default()
            }],
            output: vec![ValueInfoProto {
                name: Some("y".to_owned()),
                ..ValueInfoProto::default()
            }],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

#[test]
fn no_row_panics_on_operands_it_did_not_expect() {
    const DTYPES: [DataType; 6] = [
        DataType::Float,
        DataType::String,
        DataType::Int64,
        DataType::Bool,
        DataType::Uint8,
        DataType::Complex64,
    ];
    const SHAPES: [&[i64]; 6] = [&[], &[0], &[3], &[2, -1], &[1, 2, 3, 3], &[1, 1, 2, 2, 2]];
    let mut panics = Vec::new();
    let mut imported = 0;
    for row in rows::all() {
        for version in row.versions {
            for operands in 0..=MOST_OPERANDS {
                for dtype in DTYPES {
                    for dims in SHAPES {
                        let bytes = model(row, *version, operands, dtype, dims);
                        match catch_unwind(|| {
                            import_bytes(bytes, &ImportOptions::default()).is_ok()
                        }) {
                            Ok(honest) => imported += usize::from(honest),
                            Err(_) => panics.push(format!(
                                "{}-{version} of {operands} operands {dtype:?}{dims:?}",
                                row.op_type
                            )),
                        }
                    }
                }
            }
        }
    }
    assert!(
        panics.is_empty(),
        "{} panics:\n{}",
        panics.len(),
        panics.join("\n")
    );
    assert!(imported > 5_000, "{imported} models were honest ones");
}
