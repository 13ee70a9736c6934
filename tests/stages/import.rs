//! ONNX models in a few words, and the graphs that they are imported as.
//!
//! ```text
//! input x: f32 N 3
//! ints shape = 3 -1
//! floats w = 0.5 1.5 2.5
//! function twice
//!   b = Add(a, a)
//! end
//! s = Mul(x, w)
//! t = own::twice(s)
//! y = Transpose(t) perm=[1, 0]
//! ```
//!
//! Outputs are those of the last node. A function takes `a` and gives `b`.

use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{ModelProto, NodeProto};
use alula_onnx::{ImportError, ImportOptions, import_bytes};
use alula_tests::model::{call, floats, function, ints, model, node, tensor, with_int, with_ints};
use prost::Message;

/// The graph as it was imported, with warnings; or everything that is not supported.
pub(crate) fn imported(text: &str) -> Result<String, String> {
    let message = parsed(text)?;
    match import_bytes(message.encode_to_vec(), &ImportOptions::default()) {
        Ok(import) => {
            let verified = import.graph.verify();
            verified.map_err(|errors| format!("{errors:?}"))?;
            let warnings = import.warnings.iter();
            let warnings: String = warnings.map(|text| format!("warning: {text}\n")).collect();
            Ok(import.graph.to_string() + &warnings)
        }
        Err(ImportError::Unsupported(list)) => {
            let lines: Vec<String> = list.iter().map(ToString::to_string).collect();
            Err(lines.join("\n"))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn parsed(text: &str) -> Result<ModelProto, String> {
    let (mut inputs, mut initializers) = (Vec::new(), Vec::new());
    let (mut nodes, mut functions) = (Vec::new(), Vec::new());
    let mut inside: Option<(&str, Vec<NodeProto>)> = None;
    for line in text.lines().map(str::trim) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | ";" => {}
            "input" => {
                let (name, ty) = rest
                    .split_once(": ")
                    .ok_or("an input is NAME: DTYPE DIMS")?;
                let (dtype, dims) = ty.split_once(' ').unwrap_or((ty, ""));
                inputs.push(tensor(name, dtype_of(dtype)?, dims));
            }
            "ints" => {
                let (name, values) = list(rest)?;
                initializers.push(ints(name, &values));
            }
            "floats" => {
                let (name, values) = list(rest)?;
                initializers.push(floats(name, &values));
            }
            "function" => inside = Some((rest, Vec::new())),
            "end" => {
                let (name, nodes) = inside.take().ok_or("nothing ends here")?;
                functions.push(function(name, nodes));
            }
            _ => match &mut inside {
                Some((_, nodes)) => nodes.push(node_of(line)?),
                None => nodes.push(node_of(line)?),
            },
        }
    }
    let mut message = model(inputs, initializers, nodes);
    message.functions = functions;
    Ok(message)
}

fn dtype_of(name: &str) -> Result<DataType, String> {
    match name {
        "f32" => Ok(DataType::Float),
        "i64" => Ok(DataType::Int64),
        "bool" => Ok(DataType::Bool),
        other => Err(format!("there is no dtype {other} here")),
    }
}

fn list<T: std::str::FromStr>(text: &str) -> Result<(&str, Vec<T>), String> {
    let (name, values) = text.split_once(" = ").ok_or("want NAME = VALUES")?;
    let values = values.split_whitespace().map(str::parse);
    let values: Result<Vec<T>, _> = values.collect();
    Ok((name, values.map_err(|_| format!("{text:?} is no list"))?))
}

/// `a, b = Op(x, , y) name=1 other=[1, 2]`.
fn node_of(line: &str) -> Result<NodeProto, String> {
    let wrong = || format!("{line:?} is no node");
    let (outputs, rest) = line.split_once(" = ").ok_or_else(wrong)?;
    let (op, rest) = rest.split_once('(').ok_or_else(wrong)?;
    let (inputs, mut attributes) = rest.split_once(')').ok_or_else(wrong)?;
    let names = |text: &'_ str| -> Vec<String> {
        let names = text.split(',').map(|name| name.trim().to_owned());
        names.collect()
    };
    let (inputs, outputs) = (names(inputs), names(outputs));
    let refs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let outs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let mut made = match op.strip_prefix("own::") {
        Some(name) => call(name, refs[0], outs[0]),
        None => node(op, &refs, &outs),
    };
    while let Some((name, rest)) = attributes.trim().split_once('=') {
        let end = match rest.starts_with('[') {
            true => rest.find(']').ok_or_else(wrong)? + 1,
            false => rest.find(' ').unwrap_or(rest.len()),
        };
        let (value, rest) = rest.split_at(end);
        attributes = rest;
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| wrong());
        made = match value.strip_prefix('[').and_then(|v| v.strip_suffix(']')) {
            Some(values) => {
                let values: Result<Vec<i64>, String> = values.split(',').map(number).collect();
                with_ints(made, name, &values?)
            }
            None => with_int(made, name, number(value)?),
        };
    }
    Ok(made)
}
