//! What a test is about: its operator, that operator's version, the dtypes of inputs and outputs.

use std::collections::BTreeSet;
use std::path::Path;

use alula::onnx::proto::tensor_proto::DataType;
use alula::onnx::proto::{ModelProto, TypeProto, decode_model, type_proto};
use alula::onnx::rows;

/// What a test is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Subject {
    /// The operator, with its domain unless that is the main one.
    pub(super) operator: String,
    /// The version of the operator's definition that the test's opset holds, if we know it.
    pub(super) version: Option<i64>,
    /// ONNX's names of the dtypes, in lower case.
    pub(super) dtypes: BTreeSet<String>,
}

impl Subject {
    /// The subject of the test in a folder. A test of an operator's function body is about that
    /// operator, which the test that it stems from names.
    pub(super) fn of(folder: &Path) -> Subject {
        let own = read(folder);
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let stem = name
            .split_once("_expanded")
            .map(|(stem, _)| folder.with_file_name(stem));
        let source = stem.as_deref().and_then(read).or(own);
        source.as_ref().map(subject).unwrap_or_default()
    }
}

fn read(folder: &Path) -> Option<ModelProto> {
    let bytes = std::fs::read(folder.join("model.onnx")).ok()?;
    decode_model(bytes).ok()
}

fn subject(model: &ModelProto) -> Subject {
    let Some(graph) = &model.graph else {
        return Subject::default();
    };
    let ports = graph.input.iter().chain(&graph.output);
    let dtypes = ports
        .filter_map(|port| dtype(port.r#type.as_ref()?))
        .collect();
    let Some(node) = graph.node.first() else {
        return Subject::default();
    };
    let domain = match node.domain() {
        "ai.onnx" => "",
        domain => domain,
    };
    let imported = |import: &&alula::onnx::proto::OperatorSetIdProto| {
        import.domain() == domain || (domain.is_empty() && import.domain() == "ai.onnx")
    };
    let opset = model.opset_import.iter().find(imported);
    let opset = opset.map(|import| import.version());
    let row = rows::find(domain, node.op_type(), opset).ok();
    Subject {
        operator: match domain {
            "" => node.op_type().to_owned(),
            domain => format!("{domain}::{}", node.op_type()),
        },
        version: row.zip(opset).map(|(row, opset)| row.version(opset)),
        dtypes,
    }
}

/// The dtype at the bottom of a type.
fn dtype(ty: &TypeProto) -> Option<String> {
    match ty.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => {
            let code = DataType::try_from(tensor.elem_type?).ok()?;
            Some(code.as_str_name().to_lowercase())
        }
        type_proto::Value::SequenceType(sequence) => dtype(sequence.elem_type.as_deref()?),
        type_proto::Value::OptionalType(optional) => dtype(optional.elem_type.as_deref()?),
        type_proto::Value::MapType(map) => dtype(map.value_type.as_deref()?),
        _ => None,
    }
}
