//! The versions that rows know are those of ONNX: a version that a row does not list was never
//! looked at, and one that ONNX does not have is a slip.

use std::collections::BTreeMap;

use alula_onnx::{rows, schema};

/// Made by `tools/models/since_versions.py`.
const LIST: &str = include_str!("since_versions.txt");

/// Versions of each operator, by domain and name; deprecated ones are negative.
fn listed() -> BTreeMap<(&'static str, &'static str), Vec<i64>> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, versions) = line.split_once(' ').expect("a name and versions");
            let number = |text: &str| text.parse::<i64>().expect("versions are numbers");
            let versions = versions
                .split(' ')
                .map(|text| match text.strip_prefix('!') {
                    Some(text) => -number(text),
                    None => number(text),
                });
            (
                name.split_once("::").unwrap_or(("", name)),
                versions.collect(),
            )
        })
        .collect()
}

#[test]
fn rows_know_every_version_from_their_oldest_on() {
    let listed = listed();
    let mut wrong = Vec::new();
    for row in rows::all() {
        let Some(versions) = listed.get(&(row.domain, row.op_type)) else {
            // Operators of vendors are not in ONNX's list; one of them goes by the main domain.
            let is_vendors = row.op_type == "SimplifiedLayerNormalization";
            if row.domain != "com.microsoft" && !is_vendors {
                wrong.push(format!("{}::{} is not ONNX's", row.domain, row.op_type));
            }
            continue;
        };
        let oldest = row.versions.first().copied().unwrap_or(1);
        let missing = versions
            .iter()
            .find(|since| **since >= oldest && !row.versions.contains(since));
        if let Some(since) = missing {
            wrong.push(format!("{} does not know version {since}", row.op_type));
        }
        // One in which the operator is deprecated may be known.
        let is_real = |since: &&i64| versions.contains(since) || versions.contains(&-**since);
        if let Some(since) = row.versions.iter().find(|since| !is_real(since)) {
            wrong.push(format!("{} has no version {since}", row.op_type));
        }
        if !row.versions.is_sorted() {
            wrong.push(format!("versions of {} do not ascend", row.op_type));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_operator_has_a_row() {
    let has_row = |domain: &str, name: &str| {
        rows::all().any(|row| row.domain == domain && row.op_type == name)
    };
    let mut listed = listed().into_keys();
    let missing = listed.find(|(domain, name)| !has_row(domain, name));
    assert_eq!(missing, None);
}

#[test]
fn rows_take_opset_7() {
    // What is older than opset 7 may be older than the oldest version of a row.
    let listed = listed();
    let mut wrong = Vec::new();
    for row in rows::all().filter(|row| row.domain.is_empty()) {
        let Some(versions) = listed.get(&("", row.op_type)) else {
            continue;
        };
        let at_7 = versions.iter().filter(|v| (1..=7).contains(*v)).max();
        let oldest = row.versions.first().copied().unwrap_or(1);
        if at_7.is_some_and(|version| *version < oldest) {
            wrong.push(format!("{} begins with {oldest}", row.op_type));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rows_consume_attributes_of_their_operators() {
    let mut wrong = Vec::new();
    for row in rows::all() {
        let schemas = row.versions.iter();
        let schemas = schemas.filter_map(|v| schema::find(row.domain, row.op_type, Some(*v)));
        let schemas: Vec<_> = schemas.collect();
        let is_real = |name: &&&str| schemas.iter().any(|schema| schema.has(name));
        if let Some(name) = row.attrs.iter().find(|name| !is_real(name)) {
            wrong.push(format!("{} has no attribute {name}", row.op_type));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
