//! `alula check`: everything that is not supported, at once.

use serde_json::json;

use crate::args::{Check, Global};
use crate::failure::Failure;
use crate::out;

pub(crate) fn run(args: &Check, global: &Global) -> Result<(), Failure> {
    let unsupported = alula::check(&args.model)?;
    for item in &unsupported {
        if global.json {
            out::line(json!({
                "node": item.node.name,
                "op": item.node.op_type,
                "opset": item.node.opset,
                "reason": item.reason,
            }));
        } else {
            out::line(item);
        }
    }
    match unsupported.len() {
        0 => {
            if !global.json {
                out::line("everything in the model is supported");
            }
            Ok(())
        }
        count => Err(Failure::Unsupported(format!(
            "{count} nodes are not supported"
        ))),
    }
}
