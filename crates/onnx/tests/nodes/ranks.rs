//! Where ONNX's own shape inference refuses a rank, so do we, by name.

use std::collections::BTreeSet;

use alula_onnx::proto::type_proto::Value;
use alula_onnx::proto::{TensorShapeProto, TypeProto, tensor_shape_proto};
use alula_onnx::schema;

use crate::cases::{Case, Inputs, cases, operator};
use crate::types::Given;

/// Made by `tools/models/ranks.py`.
const LIST: &str = include_str!("ranks.txt");

/// Ranks that we take although inference refuses them: `OPERATOR INPUT RANK`, and why.
const TAKEN: &[(&str, &str)] = &[
    ("Dropout 1 1", LIST_OF_ONE),
    ("Dropout 2 1", LIST_OF_ONE),
    ("Loop 1 1", LIST_OF_ONE),
    (
        "OneHot 0 0",
        "a scalar's position has one result: a list of the depth",
    ),
    ("Scan 0 1", BODY),
    ("Scan 0 2", BODY),
    ("Scan 1 1", BODY),
    ("Scan 1 2", BODY),
    ("Scan 1 3", BODY),
    ("Scan 2 1", BODY),
    ("Scan 2 2", BODY),
    ("SequenceMap 1 0", BODY),
    ("SequenceMap 1 2", BODY),
];
const LIST_OF_ONE: &str = "one element is meant, and is there";
const BODY: &str = "a body is imported for the shapes that it gets, not for those that it declares";

/// A type with an axis more or less, and its rank.
fn changed(ty: &TypeProto, more: bool) -> Option<(TypeProto, usize)> {
    let Some(Value::TensorType(tensor)) = &ty.value else {
        return None;
    };
    let mut dims = tensor.shape.as_ref()?.dim.clone();
    match more {
        true => dims.insert(
            0,
            tensor_shape_proto::Dimension {
                value: Some(tensor_shape_proto::dimension::Value::DimValue(1)),
                ..tensor_shape_proto::Dimension::default()
            },
        ),
        false if dims.is_empty() => return None,
        false => drop(dims.remove(0)),
    }
    let (rank, mut tensor) = (dims.len(), tensor.clone());
    tensor.shape = Some(TensorShapeProto { dim: dims });
    let ty = TypeProto {
        value: Some(Value::TensorType(tensor)),
        ..ty.clone()
    };
    Some((ty, rank))
}

/// The operator and the version of it that a test is of.
fn version(case: &Case) -> Option<(String, i64)> {
    let node = case.node();
    let domain = node.domain();
    let imports = case.model.opset_import.iter();
    let opset = imports.filter(|entry| entry.domain() == domain);
    let opset = opset.map(|entry| entry.version()).next()?;
    let since = schema::find(domain, node.op_type(), Some(opset))?.since;
    Some((operator(domain, node.op_type()), since))
}

#[test]
fn ranks_that_onnx_refuses_are_refused_by_name() {
    let cases = cases();
    if cases.is_empty() {
        let reason = "no conformance tests in the cache";
        return alula_testkit::skip("ranks_that_onnx_refuses_are_refused_by_name", reason);
    }
    let listed: BTreeSet<&str> = LIST.lines().filter(|line| !line.starts_with('#')).collect();
    let taken: BTreeSet<&str> = TAKEN.iter().map(|(what, _)| *what).collect();
    let (mut wrong, mut met) = (BTreeSet::new(), BTreeSet::new());
    let of_onnx = |case: &&Case| match &case.inputs {
        Inputs::Folder(folder) => folder
            .parent()
            .is_some_and(|parent| parent.ends_with("node")),
        Inputs::Values(_) => false,
    };
    for case in cases.iter().filter(of_onnx) {
        let Some((name, since)) = version(case) else {
            continue;
        };
        let given = Given::of(case);
        for (position, ty) in given.operands().iter().enumerate() {
            let ranks = [false, true].map(|more| changed(ty.as_ref()?, more));
            for (ty, rank) in ranks.into_iter().flatten() {
                let line = format!("{name} {since} {position} {rank}");
                if !listed.contains(&*line) || taken.contains(&*format!("{name} {position} {rank}"))
                {
                    continue;
                }
                let error = given.with(position, ty).error();
                met.insert(line.clone());
                let op_type = case.node().op_type();
                match error {
                    Some(error) if error.contains(op_type) => {}
                    Some(error) => drop(wrong.insert(format!("{line}: {error}"))),
                    None => drop(wrong.insert(format!("{line}: it is accepted ({})", case.name))),
                }
            }
        }
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(met.len() >= 200, "only {} ranks", met.len());
}
