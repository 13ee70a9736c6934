//! `alula explain`: what was rewritten and fused, what was not, and why.

use std::collections::BTreeMap;

use serde_json::json;

use alula::{Fate, FatePart, Target};

use super::{builder, importer, optimize_options, tuned, tuned_words};
use crate::args::{Compiling, Explain, Global};
use crate::failure::Failure;
use crate::out;

pub(crate) fn run(args: &Explain, global: &Global) -> Result<(), Failure> {
    let Compiling {
        importing,
        disable_rule,
        only_rule,
        ..
    } = &args.compiling;
    let mut graph = importer(&args.model, importing).import()?.graph;
    let options = optimize_options(disable_rule, only_rule);
    let report = alula::opt::optimize(&mut graph, &options).map_err(alula::Error::from)?;
    let mut missed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for miss in &report.near_misses {
        *missed.entry((miss.rule, miss.reason.as_str())).or_default() += 1;
    }
    if global.json {
        let made = fusion(args)?;
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
            "fold_refused": report.fold_refused.iter().map(|(node, refusal)| {
                json!({"node": node, "bytes": refusal.bytes, "why": refusal.limit.reason()})
            }).collect::<Vec<_>>(),
            "is_incomplete": report.is_incomplete,
            "near_misses": misses,
            "near_misses_left_out": report.near_misses_left_out,
            "precision": made.precision,
            "precision_asked": args.precision.name(),
            "precision_reason": args.precision.on(args.target).1,
            "tuned": made.tuned,
            "contractions": made.contractions,
            "kernels": made.groups,
            "channels_last": made.channels_last,
            "conversions": made.conversions,
            "annotations": made.annotations.iter().map(fate).collect::<Vec<_>>(),
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
    for (node, refusal) in &report.fold_refused {
        let (bytes, why) = (out::megabytes(refusal.bytes), refusal.limit.reason());
        out::line(format_args!("not folded: {node} needs {bytes}, {why}"));
    }
    if report.is_incomplete {
        out::line("a bound on rewriting ended it before nothing was left to do");
    }
    if report.near_misses_left_out > 0 {
        let (kept, left_out) = (report.near_misses.len(), report.near_misses_left_out);
        out::line(format_args!(
            "{kept} near misses are kept, {left_out} more were met"
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
    let made = fusion(args)?;
    if !made.precision.is_empty() {
        let (asked, used) = (args.precision, &made.precision);
        match asked.on(args.target).1 {
            None => out::line(format_args!("precision {used}")),
            Some(reason) => out::line(format_args!(
                "precision {used} is used, {asked} was asked for: {reason}"
            )),
        }
    }
    if let Some(words) = tuned_words(&made.tuned) {
        out::line(format_args!("tuned {words}"));
    }
    annotations(&made);
    contractions(&made);
    kernels(&made);
    Ok(())
}

fn fate(fate: &Fate) -> serde_json::Value {
    let part = |part: &FatePart| {
        json!({
            "node": part.node, "op": part.op, "native": part.is_native, "how": part.how,
        })
    };
    json!({
        "value": fate.value,
        "annotation": fate.annotation,
        "made": fate.made.as_ref().map(part),
        "read": fate.read.iter().map(part).collect::<Vec<_>>(),
    })
}

/// What became of annotations: how often what was done with which, and for example where.
fn annotations(fusion: &Fusion) {
    if fusion.annotations.is_empty() {
        return;
    }
    let mut done: BTreeMap<(&str, bool, &str), (usize, &str)> = BTreeMap::new();
    for fate in &fusion.annotations {
        for part in fate.parts() {
            // Zeros of one pattern are counted together, however many.
            let kind = fate.annotation.split(", zeros").next().unwrap_or_default();
            let key = (kind, !part.is_native, part.how.as_str());
            done.entry(key).or_insert((0, &part.node)).0 += 1;
        }
    }
    let mut table = out::table(&["annotation", "honoured", "how", "times", "for example"]);
    for ((kind, by_definition, how), (count, node)) in done {
        let closed = match kind.starts_with("sparse<") {
            true => format!("{kind}>"),
            false => kind.to_owned(),
        };
        let honoured = match by_definition {
            true => "by definition",
            false => "natively",
        };
        table.add_row([&closed, honoured, how, &count.to_string(), node]);
    }
    out::line(table);
}

/// What fused in all plans of the model, sub-graphs included.
#[derive(Default)]
struct Fusion {
    /// The nodes of each kernel or host step.
    groups: Vec<Vec<String>>,
    /// How exact contractions are.
    precision: String,
    /// Where schedules were measured, and how many of the decisions the table holds.
    tuned: serde_json::Value,
    /// Contractions that micro-kernels run: kernel, and sizes and arithmetic.
    contractions: Vec<(String, String)>,
    /// Values that were not fused into their user: who makes them, and why.
    refused: Vec<(String, String)>,
    /// Values whose buffers lie channels-last.
    channels_last: Vec<String>,
    /// Nodes whose kernels read one order of axes and write another.
    conversions: Vec<String>,
    /// What became of the annotations on types.
    annotations: Vec<Fate>,
}

/// Compiles for the target to see what fuses; nothing fuses for the reference.
fn fusion(args: &Explain) -> Result<Fusion, Failure> {
    let mut fusion = Fusion::default();
    if args.target == Target::Reference {
        return Ok(fusion);
    }
    let model = builder(&args.model, &[args.target], &args.compiling)?
        .fusion(args.fusion)
        .precision(args.precision)
        .compile()?;
    if let Some(program) = model.program(args.target) {
        fusion.precision.clone_from(&program.precision);
        if let Some(of) = &program.tuned {
            let report = model.report(args.target);
            fusion.tuned = tuned(of);
            fusion.tuned["decisions"] = json!(report.map(|report| report.decisions.listed()));
        }
    }
    if args.target == Target::Cpu {
        fusion.contractions = model.contractions();
    }
    let report = model.report(args.target);
    for plan in report.map_or(&[][..], |report| report.layouts.as_slice()) {
        fusion
            .channels_last
            .extend(plan.channels_last.iter().cloned());
        fusion.conversions.extend(plan.conversions.iter().cloned());
    }
    if let Some(report) = report {
        fusion.annotations.clone_from(&report.annotations);
    }
    for plan in report.map_or(&[][..], |report| report.fusion.as_slice()) {
        fusion.groups.extend(plan.groups.iter().cloned());
        for decision in &plan.decisions {
            if let Some(reason) = &decision.refused {
                fusion
                    .refused
                    .push((decision.producer.clone(), reason.clone()));
            }
        }
    }
    Ok(fusion)
}

/// How contractions are multiplied; equal ones once.
fn contractions(fusion: &Fusion) {
    let mut alike: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (kernel, how) in &fusion.contractions {
        alike.entry(how).or_insert((0, kernel)).0 += 1;
    }
    if alike.is_empty() {
        return;
    }
    let mut table = out::table(&[
        "contraction: rows x depth x columns",
        "kernels",
        "for example",
    ]);
    for (how, (count, kernel)) in alike {
        table.add_row([how, &count.to_string(), kernel]);
    }
    out::line(table);
}

/// Kernels that stand for several nodes, and how often which reason kept nodes apart.
fn kernels(fusion: &Fusion) {
    let fused = fusion.groups.iter().filter(|group| group.len() > 1).count();
    let steps = fusion.groups.len();
    out::line(format_args!(
        "{steps} steps, {fused} of them of several nodes"
    ));
    for group in fusion.groups.iter().filter(|group| group.len() > 1) {
        out::line(format_args!("  {}", group.join(" + ")));
    }
    if !fusion.channels_last.is_empty() {
        let (count, between) = (fusion.channels_last.len(), fusion.conversions.len());
        out::line(format_args!(
            "{count} values lie channels-last; {between} kernels convert on the fly"
        ));
        for node in &fusion.conversions {
            out::line(format_args!("  {node}"));
        }
    }
    let mut reasons: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (producer, reason) in &fusion.refused {
        reasons.entry(reason).or_insert((0, producer)).0 += 1;
    }
    if reasons.is_empty() {
        return;
    }
    let mut table = out::table(&["not fused because", "times", "for example"]);
    for (reason, (count, producer)) in reasons {
        table.add_row([reason, &count.to_string(), producer]);
    }
    out::line(table);
}
