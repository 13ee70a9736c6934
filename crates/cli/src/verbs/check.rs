//! `alula check`: everything that is not supported, at once.

use serde_json::json;

use super::importer;
use crate::args::{Check, Global};
use crate::failure::Failure;
use crate::out;

pub(crate) fn run(args: &Check, global: &Global) -> Result<(), Failure> {
    let unsupported = importer(&args.model, &args.importing).check()?;
    for item in &unsupported {
        if global.json {
            out::line(json!({
                "node": item.node.name,
                "call": item.node.call.as_ref().map(ToString::to_string),
                "op": item.node.op_type,
                "opset": item.node.opset,
                "reason": item.reason,
            }));
        } else {
            out::line(item);
        }
    }
    let count = unsupported.len();
    if global.json {
        // A last line, so that silence means that something went wrong.
        out::line(json!({
            "model": args.model,
            "supported": count == 0,
            "unsupported": count,
        }));
    } else if count == 0 {
        out::line("everything in the model is supported");
    }
    match count {
        0 => Ok(()),
        count => Err(Failure::Unsupported(format!(
            "{count} parts of the model are not supported"
        ))),
    }
}
