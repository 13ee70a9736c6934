//! `alula devices`: what can run here.

use serde_json::json;

use crate::args::Global;
use crate::failure::Failure;
use crate::out;

pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    let mut table = out::table(&["target", "here", "device"]);
    for device in alula::devices() {
        if global.json {
            out::line(json!({
                "target": device.target.name(),
                "available": device.is_available,
                "device": device.description,
            }));
            continue;
        }
        let here = if device.is_available { "yes" } else { "no" };
        table.add_row([device.target.name(), here, &device.description]);
    }
    if !global.json {
        out::line(table);
    }
    Ok(())
}
