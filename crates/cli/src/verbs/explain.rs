//! `alula explain`: what was rewritten and fused, what was not, and why.

use std::collections::BTreeMap;

use serde_json::json;

use super::{builder, optimize_options};
use crate::args::{Explain, Global};
use crate::failure::Failure;
use crate::out;

pub(crate) fn run(args: &Explain, global: &Global) -> Result<(), Failure> {
    let mut graph = builder(&args.model, &args.compiling).import()?.graph;
    let options = optimize_options(&args.compiling);
    let report = alula::opt::optimize(&mut graph, &options).map_err(alula::Error::from)?;
    let mut missed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for miss in &report.near_misses {
        *missed.entry((miss.rule, miss.reason.as_str())).or_default() += 1;
    }
    if global.json {
        let misses: Vec<_> = report
            .near_misses
            .iter()
            .map(|miss| json!({"rule": miss.rule, "node": miss.node, "reason": miss.reason}))
            .collect();
        out::line(json!({
            "target": args.target.name(),
            "nodes_before": report.nodes_before,
            "nodes_after": report.nodes_after,
            "fires": report.fires,
            "folded_nodes": report.folded_nodes,
            "folded_bytes": report.folded_bytes,
            "fold_refused": report.fold_refused,
            "near_misses": misses,
        }));
        return Ok(());
    }
    out::line(format_args!(
        "{} nodes became {}; {} folded into {} of constants",
        report.nodes_before,
        report.nodes_after,
        report.folded_nodes,
        out::megabytes(report.folded_bytes)
    ));
    let mut rules = out::table(&["rule", "applied"]);
    for (rule, count) in &report.fires {
        rules.add_row([(*rule).to_owned(), count.to_string()]);
    }
    out::line(rules);
    for (node, bytes) in &report.fold_refused {
        out::line(format_args!(
            "not folded: {node} needs {}",
            out::megabytes(*bytes)
        ));
    }
    if args.near_misses {
        for miss in &report.near_misses {
            out::line(format_args!(
                "{} at {}: {}",
                miss.rule, miss.node, miss.reason
            ));
        }
        return Ok(());
    }
    if !missed.is_empty() {
        let mut table = out::table(&["nearly applied", "times", "why not"]);
        for ((rule, reason), count) in missed {
            table.add_row([rule, &count.to_string(), reason]);
        }
        out::line(table);
    }
    Ok(())
}
