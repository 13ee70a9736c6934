//! Every file of ONNX's conformance tests decodes, and every tensor in them is whole.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use alula_onnx::external::ExternalFiles;
use alula_onnx::proto::{self, TensorProto, TypeProto, type_proto::Value};
use alula_onnx::tensor_data::decode_tensor;
use bytes::Bytes;

/// The kinds of message that test data holds, by the type that the model declares.
fn check_value(path: &Path, declared: &TypeProto) -> Result<usize, String> {
    let bytes = Bytes::from(fs::read(path).map_err(|e| e.to_string())?);
    match &declared.value {
        Some(Value::TensorType(_)) => check_tensor(&decode(bytes)?),
        Some(Value::SequenceType(_)) => check_sequence(&decode(bytes)?),
        Some(Value::OptionalType(_)) => {
            let optional: proto::OptionalProto = decode(bytes)?;
            let tensor = optional.tensor_value.as_ref().map_or(Ok(0), check_tensor)?;
            Ok(tensor
                + optional
                    .sequence_value
                    .as_ref()
                    .map_or(Ok(0), check_sequence)?)
        }
        other => Err(format!("a value of type {other:?}")),
    }
}

fn decode<M: prost::Message + Default>(bytes: Bytes) -> Result<M, String> {
    proto::decode(bytes).map_err(|e| e.to_string())
}

fn check_sequence(sequence: &proto::SequenceProto) -> Result<usize, String> {
    let tensors = sequence
        .tensor_values
        .iter()
        .map(check_tensor)
        .sum::<Result<usize, _>>()?;
    Ok(tensors
        + sequence
            .sequence_values
            .iter()
            .map(check_sequence)
            .sum::<Result<usize, _>>()?)
}

fn check_tensor(tensor: &TensorProto) -> Result<usize, String> {
    decode_tensor(tensor, &ExternalFiles::none())
        .map(|_| 1)
        .map_err(|e| e.to_string())
}

/// One test's folder: how many tensors were read.
fn check_test(folder: &Path) -> Result<usize, String> {
    let bytes = fs::read(folder.join("model.onnx")).map_err(|e| e.to_string())?;
    let model = proto::decode_model(bytes).map_err(|e| e.to_string())?;
    let graph = model.graph.ok_or("no graph")?;
    let mut tensors = graph
        .initializer
        .iter()
        .map(check_tensor)
        .sum::<Result<usize, _>>()?;
    for set in 0.. {
        let data = folder.join(format!("test_data_set_{set}"));
        if !data.is_dir() {
            break;
        }
        for (stem, values) in [("input", &graph.input), ("output", &graph.output)] {
            for (index, value) in values.iter().enumerate() {
                let path = data.join(format!("{stem}_{index}.pb"));
                let declared = value.r#type.as_ref().ok_or("a value without a type")?;
                if path.exists() {
                    tensors += check_value(&path, declared)
                        .map_err(|e| format!("{stem} {index} of set {set}: {e}"))?;
                }
            }
        }
    }
    Ok(tensors)
}

fn conformance() -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cache/alula"));
    let cache = env::var_os("ALULA_CACHE")
        .map(PathBuf::from)
        .or_else(home)?;
    Some(cache.join("conformance")).filter(|folder| folder.is_dir())
}

#[test]
fn every_tensor_is_whole() {
    let Some(root) = conformance() else {
        let reason = "no conformance tests: tools/models/setup.py conformance";
        return alula_testkit::skip("conformance_data", reason);
    };
    let (mut tests, mut tensors, mut failures) = (0, 0, Vec::new());
    for kind in ["node", "simple", "pytorch-converted", "pytorch-operator"] {
        let entries = fs::read_dir(root.join(kind)).expect("setup.py made every kind");
        for folder in entries.flatten().map(|entry| entry.path()) {
            tests += 1;
            match check_test(&folder) {
                Ok(count) => tensors += count,
                Err(error) => failures.push(format!("{}: {error}", folder.display())),
            }
        }
    }
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {tests}:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(
        tests >= 2000 && tensors >= 5000,
        "only {tests} tests with {tensors} tensors"
    );
}
