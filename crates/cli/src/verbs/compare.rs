//! `alula compare`: one model on several targets.

use alula::{Target, Value};
use serde_json::json;

use super::builder;
use crate::args::{Compare, Global};
use crate::failure::Failure;
use crate::measure::distance;
use crate::{inputs, log, out};

pub(crate) fn run(args: &Compare, global: &Global) -> Result<(), Failure> {
    let [reference, others @ ..] = args.targets.as_slice() else {
        return Err(Failure::user("--targets wants at least two"));
    };
    let model = builder(&args.model, &args.targets, &args.compiling)?.compile()?;
    let session = model.session_for(*reference)?;
    let mut values = inputs::from_files(session.inputs(), &args.input)?;
    inputs::complete(
        &mut values,
        session.inputs(),
        &args.model,
        &args.compiling.importing,
        args.random,
    )?;
    let named: Vec<(&str, Value)> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let bar = log::bar(args.targets.len());
    bar.set_message(reference.name());
    let expected = session.run(&named)?;
    bar.inc(1);
    let mut bad: Vec<Target> = Vec::new();
    let mut table = out::table(&["target", "output", "type", "worst error", "status"]);
    for &target in others {
        bar.set_message(target.name());
        let outputs = model.session_for(target)?.run(&named)?;
        bar.inc(1);
        for ((name, actual), (_, expected)) in outputs.iter().zip(&expected) {
            let far = distance(actual, expected);
            let is_ok = far.is_within(args.bound);
            if !is_ok && !bad.contains(&target) {
                bad.push(target);
            }
            if global.json {
                out::line(json!({
                    "target": target.name(),
                    "output": name,
                    "type": expected.describe(),
                    "worst_abs": far.worst_abs,
                    "worst_rel_to_max": far.worst_rel,
                    "reason": far.reason,
                    "ok": is_ok,
                }));
                continue;
            }
            let error = far
                .reason
                .unwrap_or_else(|| format!("{:.2e}", far.worst_rel));
            let status = if is_ok { "ok" } else { "WRONG" };
            table.add_row([target.name(), name, &expected.describe(), &error, status]);
        }
    }
    bar.finish_and_clear();
    if !global.json {
        out::line(table);
    }
    if bad.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = bad.iter().map(|target| target.name()).collect();
    Err(Failure::Mismatch(format!(
        "{} differ from {reference} by more than {:.1e}",
        names.join(", "),
        args.bound
    )))
}
