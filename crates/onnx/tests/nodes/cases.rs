//! Models of one node, with inputs and what we make of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alula_onnx::external::ExternalFiles;
use alula_onnx::proto::{ModelProto, NodeProto, SequenceProto, TensorProto, decode, decode_model};
use alula_onnx::tensor::import_tensor;
use alula_onnx::{ImportOptions, import_bytes};
use alula_ops::evaluate;
use alula_tensor::{Value, ValueType};
use prost::Message;

use crate::made::made;

/// Where the inputs of a case are.
pub(crate) enum Inputs {
    /// In the files of a test.
    Folder(PathBuf),
    /// Here.
    Values(Vec<Value>),
}

/// A test of a node: its model and inputs, and what we make of them.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) model: ModelProto,
    /// The node's place in the model.
    pub(crate) at: usize,
    pub(crate) inputs: Inputs,
    pub(crate) outputs: Vec<Value>,
}

impl Case {
    pub(crate) fn node(&self) -> &NodeProto {
        &self.model.graph.as_ref().expect("a test has a graph").node[self.at]
    }

    /// The model with its node changed.
    pub(crate) fn with(&self, change: impl FnOnce(&mut NodeProto)) -> ModelProto {
        let mut model = self.model.clone();
        change(&mut model.graph.as_mut().expect("a test has a graph").node[self.at]);
        model
    }
}

/// A tensor, or a sequence of tensors, in a file.
fn read(path: &Path, ty: &ValueType) -> Result<Value, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let value = |proto: &TensorProto| {
        let tensor = import_tensor(proto, &ExternalFiles::none());
        tensor.map(Value::from).map_err(|error| error.to_string())
    };
    match ty {
        ValueType::Tensor(_) => value(&decode(bytes).map_err(|error| error.to_string())?),
        ValueType::Sequence(_) => {
            let proto: SequenceProto = decode(bytes).map_err(|error| error.to_string())?;
            let values = proto.tensor_values.iter().map(value);
            Ok(Value::Sequence(values.collect::<Result<_, _>>()?))
        }
        other => Err(format!("{other} is not read here")),
    }
}

/// The outputs by the reference evaluation, or why there are none.
pub(crate) fn run(model: &ModelProto, given: &Inputs) -> Result<Vec<Value>, String> {
    let import = import_bytes(model.encode_to_vec(), &ImportOptions::default());
    let graph = import.map_err(|error| error.to_string())?.graph;
    let inputs = match given {
        Inputs::Values(values) => values.clone(),
        Inputs::Folder(folder) => {
            let ports = graph.inputs().iter().enumerate();
            let values = ports.map(|(position, id)| {
                let path = folder.join(format!("test_data_set_0/input_{position}.pb"));
                read(&path, graph.ty(*id))
            });
            values.collect::<Result<_, _>>()?
        }
    };
    evaluate(&graph, inputs).map_err(|error| error.to_string())
}

/// The tests of one node that we run: ONNX's own, the judged ones, and those made here; none where
/// there is no test data.
pub(crate) fn cases() -> Vec<Case> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cache = std::env::var_os("ALULA_CACHE");
    let cache = cache.map_or_else(|| home().join(".cache/alula"), PathBuf::from);
    let entries = ["conformance/node", "judged"].map(|kind| std::fs::read_dir(cache.join(kind)));
    let entries = entries.into_iter().flatten().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort();
    let case = |folder: PathBuf| {
        let model = decode_model(std::fs::read(folder.join("model.onnx")).ok()?).ok()?;
        let is_one = model.graph.as_ref()?.node.len() == 1;
        let name = folder.file_name()?.to_string_lossy().into_owned();
        let inputs = Inputs::Folder(folder);
        let outputs = is_one.then(|| run(&model, &inputs).ok()).flatten()?;
        Some(Case {
            name,
            model,
            at: 0,
            inputs,
            outputs,
        })
    };
    let mut cases: Vec<Case> = folders.into_iter().filter_map(case).collect();
    if !cases.is_empty() {
        cases.extend(made());
    }
    cases
}

/// An operator with its domain before it, if that is not ONNX's main one.
pub(crate) fn operator(domain: &str, op_type: &str) -> String {
    match domain {
        "" | "ai.onnx" => op_type.to_owned(),
        domain => format!("{domain}::{op_type}"),
    }
}

/// Cases by operator.
pub(crate) fn by_operator(cases: &[Case]) -> BTreeMap<String, Vec<&Case>> {
    let mut sorted: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        let node = case.node();
        let name = operator(node.domain(), node.op_type());
        sorted.entry(name).or_default().push(case);
    }
    sorted
}
