//! Every version of every ONNX row takes what ONNX says, and nothing else: an operand too many, one
//! that is missing, a type or rank that the version does not allow, and a missing attribute are
//! errors that name the operator and what is wrong.

use std::collections::BTreeSet;
use std::panic::catch_unwind;

use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::type_proto::{self, Value};
use alula_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_shape_proto,
};
use alula_onnx::rows::{self, Row};
use alula_onnx::schema::{self, Arity, Schema};
use alula_onnx::{ImportError, ImportOptions, import_bytes};
use prost::Message;

use crate::cases::{Case, by_operator, cases, operator};

/// Cases of each version that are changed.
const CASES_MOST: usize = 4;
/// Opset of the main domain beside another one.
const MAIN_OPSET: i64 = 21;

const DTYPES: [(&str, DataType); 24] = [
    ("bool", DataType::Bool),
    ("string", DataType::String),
    ("i2", DataType::Int2),
    ("i4", DataType::Int4),
    ("i8", DataType::Int8),
    ("i16", DataType::Int16),
    ("i32", DataType::Int32),
    ("i64", DataType::Int64),
    ("u2", DataType::Uint2),
    ("u4", DataType::Uint4),
    ("u8", DataType::Uint8),
    ("u16", DataType::Uint16),
    ("u32", DataType::Uint32),
    ("u64", DataType::Uint64),
    ("f4e2m1", DataType::Float4e2m1),
    ("f8e4m3fn", DataType::Float8e4m3fn),
    ("f8e4m3fnuz", DataType::Float8e4m3fnuz),
    ("f8e5m2", DataType::Float8e5m2),
    ("f8e5m2fnuz", DataType::Float8e5m2fnuz),
    ("f8e8m0", DataType::Float8e8m0),
    ("f16", DataType::Float16),
    ("bf16", DataType::Bfloat16),
    ("f32", DataType::Float),
    ("f64", DataType::Double),
];

fn tensor(dtype: DataType, shape: TensorShapeProto) -> TypeProto {
    let tensor = type_proto::Tensor {
        elem_type: Some(dtype.into()),
        shape: Some(shape),
    };
    TypeProto {
        value: Some(Value::TensorType(tensor)),
        ..TypeProto::default()
    }
}

fn shape(dims: &[i64]) -> TensorShapeProto {
    let dim = |extent: &i64| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(*extent)),
        ..tensor_shape_proto::Dimension::default()
    };
    TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    }
}

fn sequence(held: TypeProto) -> TypeProto {
    let sequence = type_proto::Sequence {
        elem_type: Some(Box::new(held)),
    };
    TypeProto {
        value: Some(Value::SequenceType(Box::new(sequence))),
        ..TypeProto::default()
    }
}

fn optional(held: TypeProto) -> TypeProto {
    let optional = type_proto::Optional {
        elem_type: Some(Box::new(held)),
    };
    TypeProto {
        value: Some(Value::OptionalType(Box::new(optional))),
        ..TypeProto::default()
    }
}

fn map(key: DataType, value: DataType) -> TypeProto {
    let map = type_proto::Map {
        key_type: Some(key.into()),
        value_type: Some(Box::new(tensor(value, shape(&[])))),
    };
    TypeProto {
        value: Some(Value::MapType(Box::new(map))),
        ..TypeProto::default()
    }
}

/// Types by their names in the list, of these extents where they are tensors.
fn types(dims: &TensorShapeProto) -> Vec<(String, TypeProto)> {
    let tensors = DTYPES.iter().map(|(name, dtype)| {
        let name = (*name).to_owned();
        (name, tensor(*dtype, dims.clone()))
    });
    let floats = || tensor(DataType::Float, shape(&[2]));
    let others = [
        ("seq(f32)".to_owned(), sequence(floats())),
        ("opt(f32)".to_owned(), optional(floats())),
        ("opt(seq(f32))".to_owned(), optional(sequence(floats()))),
        (
            "seq(map(i64,f32))".to_owned(),
            sequence(map(DataType::Int64, DataType::Float)),
        ),
    ];
    let keys = [("i64", DataType::Int64), ("string", DataType::String)];
    let held = [
        ("i32", DataType::Int32),
        ("i64", DataType::Int64),
        ("f32", DataType::Float),
        ("f64", DataType::Double),
        ("string", DataType::String),
    ];
    let maps = keys.into_iter().flat_map(|(key, of_key)| {
        held.map(|(value, of_value)| (format!("map({key},{value})"), map(of_key, of_value)))
    });
    tensors.chain(others).chain(maps).collect()
}

/// The name of a type in the list.
fn word(ty: &TypeProto) -> Option<String> {
    match ty.value.as_ref()? {
        Value::TensorType(tensor) => {
            let code = tensor.elem_type();
            let named = DTYPES.iter().find(|(_, dtype)| *dtype as i32 == code);
            named.map(|(name, _)| (*name).to_owned())
        }
        Value::SequenceType(held) => Some(format!("seq({})", word(held.elem_type.as_deref()?)?)),
        Value::OptionalType(held) => Some(format!("opt({})", word(held.elem_type.as_deref()?)?)),
        Value::MapType(map) => {
            let key = DTYPES
                .iter()
                .find(|(_, dtype)| *dtype as i32 == map.key_type());
            Some(format!(
                "map({},{})",
                key?.0,
                word(map.value_type.as_deref()?)?
            ))
        }
        _ => None,
    }
}

fn declared<'m>(graph: &'m GraphProto, name: &str) -> Option<&'m TypeProto> {
    let info = graph.input.iter().find(|info| info.name() == name)?;
    info.r#type.as_ref()
}

/// A model of one node as changed by a test.
#[derive(Clone)]
pub(crate) struct Given {
    model: ModelProto,
    at: usize,
}

impl Given {
    pub(crate) fn of(case: &Case) -> Given {
        Given {
            model: case.model.clone(),
            at: case.at,
        }
    }

    fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().expect("a test has a graph")
    }

    fn node(&mut self) -> &mut NodeProto {
        let at = self.at;
        &mut self.graph().node[at]
    }

    fn set_version(&mut self, domain: &str, version: i64) {
        let is_main = |domain: &str| matches!(domain, "" | "ai.onnx");
        for entry in &mut self.model.opset_import {
            if entry.domain() == domain || (is_main(domain) && is_main(entry.domain())) {
                entry.version = Some(version);
            }
        }
    }

    /// An input of the model of another type in the place of an operand.
    pub(crate) fn with(&self, position: usize, ty: TypeProto) -> Given {
        let mut changed = self.clone();
        changed.graph().input.push(ValueInfoProto {
            name: Some("changed".to_owned()),
            r#type: Some(ty),
            ..ValueInfoProto::default()
        });
        let inputs = &mut changed.node().input;
        if inputs.len() <= position {
            inputs.resize(position + 1, String::new());
        }
        inputs[position] = "changed".to_owned();
        changed
    }

    /// Types of the operands that are inputs or initializers of the model.
    pub(crate) fn operands(&self) -> Vec<Option<TypeProto>> {
        let graph = self.model.graph.as_ref().expect("a test has a graph");
        let operand = |name: &String| {
            let constant = graph.initializer.iter().find(|c| c.name() == name);
            let constant = constant.and_then(|constant| {
                let dtype = DataType::try_from(constant.data_type()).ok()?;
                Some(tensor(dtype, shape(&constant.dims)))
            });
            declared(graph, name).cloned().or(constant)
        };
        graph.node[self.at].input.iter().map(operand).collect()
    }

    /// What importing says: `None` if nothing is wrong, and a panic as a message of its own.
    pub(crate) fn error(&self) -> Option<String> {
        let bytes = self.model.encode_to_vec();
        match catch_unwind(|| import_bytes(bytes, &ImportOptions::default())) {
            Ok(Ok(_)) => None,
            Ok(Err(ImportError::Unsupported(items))) => {
                Some(items.iter().map(|item| format!("{item}\n")).collect())
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("PANIC".to_owned()),
        }
    }
}

/// A node with every operand that must be there, of the first type that it may have, and with some
/// value for every attribute that must.
fn made(row: &Row, version: i64, schema: &Schema) -> Given {
    let mut graph = GraphProto::default();
    let mut node = NodeProto {
        op_type: Some(row.op_type.to_owned()),
        domain: Some(row.domain.to_owned()),
        output: vec!["y".to_owned()],
        ..NodeProto::default()
    };
    let required = schema.attributes.iter().filter(|(_, required)| *required);
    node.attribute
        .extend(required.map(|(name, _)| AttributeProto {
            name: Some((*name).to_owned()),
            i: Some(1),
            ..AttributeProto::default()
        }));
    let all = types(&shape(&[1, 2, 3]));
    for position in 0..schema.inputs().0 {
        let operand = schema
            .operand(position)
            .expect("it is one that must be there");
        let is_absent = operand.arity == Arity::Optional;
        let ty = all
            .iter()
            .find(|(word, _)| operand.takes(word) && !is_absent);
        let Some((_, ty)) = ty else {
            node.input.push(String::new());
            continue;
        };
        let name = format!("x{position}");
        node.input.push(name.clone());
        graph.input.push(ValueInfoProto {
            name: Some(name),
            r#type: Some(ty.clone()),
            ..ValueInfoProto::default()
        });
    }
    graph.node = vec![node];
    graph.output = vec![ValueInfoProto {
        name: Some("y".to_owned()),
        ..ValueInfoProto::default()
    }];
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    let mut opsets = vec![opset(row.domain, version)];
    if !row.domain.is_empty() {
        opsets.push(opset("", MAIN_OPSET));
    }
    let model = ModelProto {
        ir_version: Some(9),
        opset_import: opsets,
        graph: Some(graph),
        ..ModelProto::default()
    };
    Given { model, at: 0 }
}

/// Valid nodes of a version of an operator, or one that at least has what it must.
fn nodes(row: &Row, version: i64, schema: &Schema, cases: &[&Case]) -> (Vec<Given>, bool) {
    let mut found = Vec::new();
    for case in cases {
        let mut given = Given::of(case);
        given.set_version(row.domain, version);
        let inputs = given.node().input.len();
        // Cases of other shapes say more than those of the same.
        let is_new = !found.iter().any(|(many, _)| *many == inputs);
        if (is_new || found.len() < 2) && given.error().is_none() {
            found.push((inputs, given));
        }
        if found.len() == CASES_MOST {
            break;
        }
    }
    if found.is_empty() {
        return (vec![made(row, version, schema)], false);
    }
    (found.into_iter().map(|(_, given)| given).collect(), true)
}

/// What is wrong with what importing says of a node that no version of its operator allows.
fn unlike(given: &Given, row: &Row, words: &str) -> Option<String> {
    match given.error() {
        None => Some("is accepted".to_owned()),
        Some(error) if error == "PANIC" => Some("panics".to_owned()),
        Some(error) => {
            let mut needed = [row.op_type, words].into_iter();
            let missing = needed.find(|word| !error.contains(word))?;
            Some(format!("does not say {missing:?}: {error}"))
        }
    }
}

/// Findings of one node, each with what was done to it.
fn findings(given: &Given, row: &Row, schema: &Schema, is_valid: bool) -> Vec<String> {
    let mut found = Vec::new();
    let refuse = |found: &mut Vec<String>, what: String, given: &Given, words: &str| {
        found.extend(unlike(given, row, words).map(|how| format!("{what} {how}")));
    };
    let operands = given.operands();
    // An operand too many.
    if let (_, Some(most)) = schema.inputs() {
        let more = given.with(most, tensor(DataType::Float, shape(&[2])));
        refuse(&mut found, format!("{} inputs", most + 1), &more, "inputs");
    }
    for position in 0..operands.len().max(schema.inputs().0) {
        let Some(operand) = schema.operand(position) else {
            continue;
        };
        let place = format!("input {position} ({})", operand.name);
        // Each that must be there.
        if operand.arity == Arity::Single {
            let mut less = given.clone();
            if let Some(name) = less.node().input.get_mut(position) {
                name.clear();
            }
            let words = format!("{place} is absent");
            refuse(&mut found, format!("without {place}"), &less, &words);
        }
        // Types.
        let dims = match operands.get(position) {
            Some(Some(TypeProto {
                value: Some(Value::TensorType(tensor)),
                ..
            })) => tensor.shape.clone().unwrap_or_default(),
            _ => shape(&[2]),
        };
        let bound = |variable: &str| {
            let others = operands
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != position);
            others
                .filter(|(at, _)| schema.operand(*at).is_some_and(|o| o.variable == variable))
                .find_map(|(_, ty)| word(ty.as_ref()?))
        };
        let bound = match operand.variable {
            "" => None,
            variable => bound(variable),
        };
        for (name, ty) in types(&dims) {
            let changed = given.with(position, ty);
            let what = format!("{name} for {place}");
            if !operand.takes(&name) {
                let takes = format!("{place} is {name}, version {} takes", schema.since);
                refuse(&mut found, what, &changed, &takes);
            } else if bound.as_ref().is_some_and(|bound| *bound != name) {
                refuse(&mut found, what, &changed, "of the same type");
            } else if let Some(error) = changed.error().filter(|_| is_valid) {
                // What a body's nodes do not take is said of them.
                if !error.contains(row.op_type) && !error.contains("(opset") {
                    found.push(format!("{what}: {error}"));
                }
            }
        }
    }
    for (name, _) in schema.attributes.iter().filter(|(_, required)| *required) {
        let mut less = given.clone();
        less.node().attribute.retain(|given| given.name() != *name);
        let words = format!("attribute {name} is absent");
        refuse(&mut found, format!("without {name}"), &less, &words);
    }
    found
}

#[test]
fn what_a_version_does_not_take_is_refused_by_name() {
    let cases = cases();
    if cases.is_empty() {
        let reason = "no conformance tests in the cache";
        return alula_testkit::skip("what_a_version_does_not_take_is_refused_by_name", reason);
    }
    let by_operator = by_operator(&cases);
    let (mut wrong, mut versions, mut without) = (Vec::new(), 0, BTreeSet::new());
    for row in rows::all() {
        let name = operator(row.domain, row.op_type);
        let cases = by_operator.get(&name).map_or(&[][..], Vec::as_slice);
        for &version in row.versions {
            let Some(schema) = schema::find(row.domain, row.op_type, Some(version)) else {
                wrong.push(format!("{name}-{version}: nothing says what it takes"));
                continue;
            };
            versions += 1;
            let (nodes, is_valid) = nodes(row, version, schema, cases);
            if !is_valid {
                without.insert(format!("{name}-{version}"));
            }
            for given in nodes {
                let found = findings(&given, row, schema, is_valid);
                wrong.extend(found.iter().map(|what| format!("{name}-{version}: {what}")));
            }
        }
    }
    eprintln!("{versions} versions, without a valid node: {without:?}");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(versions >= 500, "only {versions} versions");
}
