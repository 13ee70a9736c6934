//! Every attribute of every ONNX row counts: in some test of ONNX's own it can be changed so that
//! the outputs change or the model is refused. Those that count for nothing are listed with the
//! reason in `inert.txt`. And whatever is left out of a test's node is missed by name,
//! or was optional; nothing panics.

use std::collections::BTreeSet;

use alula_onnx::proto::AttributeProto;
use alula_onnx::proto::attribute_proto::AttributeType;
use alula_onnx::{ImportOptions, import_bytes, rows};
use prost::Message;

use crate::cases::{Case, by_operator, cases, operator, run};

fn of_kind(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind.into()),
        ..AttributeProto::default()
    }
}

const WORD: &[u8] = b"no such word";
/// A locale of letters of its own.
const TURKISH: &[u8] = b"tr_TR";

/// An attribute in other ways than it is; `None` without it.
fn changes(name: &str, given: Option<&AttributeProto>) -> Vec<Option<AttributeProto>> {
    let int = |value| AttributeProto {
        i: Some(value),
        ..of_kind(name, AttributeType::Int)
    };
    let float = |value| AttributeProto {
        f: Some(value),
        ..of_kind(name, AttributeType::Float)
    };
    let ints = |values: Vec<i64>| AttributeProto {
        ints: values,
        ..of_kind(name, AttributeType::Ints)
    };
    let floats = |values: Vec<f32>| AttributeProto {
        floats: values,
        ..of_kind(name, AttributeType::Floats)
    };
    let text = |value: &[u8]| AttributeProto {
        s: Some(value.to_vec()),
        ..of_kind(name, AttributeType::String)
    };
    let strings = |values: Vec<Vec<u8>>| AttributeProto {
        strings: values,
        ..of_kind(name, AttributeType::Strings)
    };
    let Some(given) = given else {
        let kinds = vec![
            int(1),
            int(0),
            int(2),
            int(-1),
            int(7),
            float(0.37),
            float(3.5),
            text(WORD),
            ints(vec![1]),
            ints(vec![1, 0]),
            ints(vec![0, 2]),
            floats(vec![0.3]),
            strings(vec![WORD.to_vec()]),
        ];
        return kinds.into_iter().map(Some).collect();
    };
    let mut changed = vec![None];
    if let Some(value) = given.i {
        changed.extend([value + 1, value - 1, 0, 1, 2, 9].map(|value| Some(int(value))));
    }
    if let Some(value) = given.f {
        changed.extend([value + 0.7, value * 2.0 + 0.3, 0.0].map(|value| Some(float(value))));
    }
    if given.s.is_some() {
        changed.extend([WORD, TURKISH].map(|word| Some(text(word))));
    }
    if !given.ints.is_empty() {
        let more = given.ints.iter().map(|value| value + 1).collect();
        let back = given.ints.iter().rev().copied().collect();
        changed.extend([more, back, vec![1]].map(|values| Some(ints(values))));
    }
    if !given.floats.is_empty() {
        let more = given.floats.iter().map(|value| value + 0.7).collect();
        changed.push(Some(floats(more)));
    }
    if !given.strings.is_empty() {
        let mut values = given.strings.clone();
        values[0] = WORD.to_vec();
        changed.push(Some(strings(values)));
    }
    changed
}

/// Whether changing an attribute of a test's node changes the outputs or is refused.
fn counts(case: &Case, attribute: &str) -> bool {
    let given = case
        .node()
        .attribute
        .iter()
        .find(|given| given.name() == attribute);
    changes(attribute, given).into_iter().any(|change| {
        let model = case.with(|node| {
            node.attribute.retain(|given| given.name() != attribute);
            node.attribute.extend(change);
        });
        match run(&model, &case.inputs) {
            Ok(outputs) => outputs != case.outputs,
            // What is said of a value of another kind says nothing of what the attribute means.
            Err(error) => !error.contains("holds"),
        }
    })
}

#[test]
fn every_attribute_counts() {
    let cases = cases();
    if cases.is_empty() {
        return alula_testkit::skip(
            "every_attribute_counts",
            "no conformance tests in the cache",
        );
    }
    let by_operator = by_operator(&cases);
    let mut inert = BTreeSet::new();
    for row in rows::all() {
        let name = operator(row.domain, row.op_type);
        let cases = by_operator.get(&name).map_or(&[][..], Vec::as_slice);
        for attribute in row.attrs {
            if !cases.iter().any(|case| counts(case, attribute)) {
                inert.insert(format!("{name} {attribute}"));
            }
        }
    }
    let listed = include_str!("inert.txt");
    let listed: BTreeSet<String> = listed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .map(|(pair, _)| pair.to_owned())
        .collect();
    let new: Vec<&String> = inert.difference(&listed).collect();
    let stale: Vec<&String> = listed.difference(&inert).collect();
    assert!(
        new.is_empty() && stale.is_empty(),
        "count for nothing and are not listed: {new:#?}\nlisted, but count: {stale:#?}"
    );
}

#[test]
fn what_is_left_out_is_missed_by_name() {
    let cases = cases();
    if cases.is_empty() {
        let reason = "no conformance tests in the cache";
        return alula_testkit::skip("what_is_left_out_is_missed_by_name", reason);
    }
    let mut findings = Vec::new();
    for case in &cases {
        let node = case.node();
        let inputs = (0..node.input.len()).map(|position| {
            let model = case.with(|node| node.input[position].clear());
            (format!("without input {position}"), model)
        });
        let attributes = node.attribute.iter().map(|given| {
            let name = given.name().to_owned();
            let model = case.with(|node| node.attribute.retain(|given| given.name() != name));
            (format!("without attribute {name}"), model)
        });
        let unknown = case.with(|node| {
            node.attribute.push(AttributeProto {
                i: Some(1),
                ..of_kind("not_an_attribute", AttributeType::Int)
            });
        });
        let unknown = ("with an unknown attribute".to_owned(), unknown);
        for (what, model) in inputs.chain(attributes).chain([unknown]) {
            let (name, op_type) = (&case.name, node.op_type());
            let import = std::panic::catch_unwind(|| {
                import_bytes(model.encode_to_vec(), &ImportOptions::default())
            });
            match import {
                Ok(Ok(_)) if what.ends_with("unknown attribute") => {
                    findings.push(format!("{name} {what}: it is accepted"));
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.to_string().contains(op_type) => {}
                Ok(Err(error)) => findings.push(format!("{name} {what}: {error}")),
                Err(_) => findings.push(format!("{name} {what}: a panic")),
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
