//! `alula inspect`: what is in a model or an artifact.

use std::collections::BTreeMap;

use alula::Model;
use alula::artifact::{Artifact, Verify};
use serde_json::json;

use crate::args::{Global, Importing, Inspect};
use crate::failure::Failure;
use crate::out;

pub(crate) fn run(args: &Inspect, global: &Global) -> Result<(), Failure> {
    if alula::is_artifact(&args.model)? {
        return artifact(args, global);
    }
    let import = super::importer(&args.model, &Importing::default()).import()?;
    let graph = &import.graph;
    let mut ops: BTreeMap<&str, usize> = BTreeMap::new();
    for id in graph.nodes() {
        *ops.entry(graph.node(id).op.name).or_default() += 1;
    }
    let (mut count, mut bytes) = (0_usize, 0_usize);
    for (_, value) in graph.values() {
        if let alula::ir::Def::Constant(tensor) = &value.def {
            count += 1;
            bytes += tensor.bytes().len();
        }
    }
    let inputs: Vec<(String, String)> = graph
        .inputs()
        .iter()
        .map(|id| {
            let name = graph.value(*id).name.clone().unwrap_or_default();
            (name, graph.ty(*id).to_string())
        })
        .collect();
    let outputs: Vec<(String, String)> = graph
        .outputs()
        .iter()
        .map(|(name, id)| (name.clone(), graph.ty(*id).to_string()))
        .collect();
    if global.json {
        let ports = |ports: &[(String, String)]| -> Vec<serde_json::Value> {
            let port = |(name, ty): &(String, String)| json!({"name": name, "type": ty});
            ports.iter().map(port).collect()
        };
        out::line(json!({
            "producer": import.producer,
            "opsets": import.opsets,
            "metadata": import.metadata,
            "inputs": ports(&inputs),
            "outputs": ports(&outputs),
            "operators": ops,
            "constants": count,
            "constant_bytes": bytes,
        }));
        return Ok(());
    }
    out::line(format_args!("producer   {}", import.producer));
    for (domain, version) in &import.opsets {
        let domain = if domain.is_empty() { "ai.onnx" } else { domain };
        out::line(format_args!("opset      {domain} {version}"));
    }
    ports("input", &inputs);
    ports("output", &outputs);
    out::line(format_args!(
        "constants  {count}, {}",
        out::megabytes(bytes as u64)
    ));
    let total: usize = ops.values().sum();
    out::line(format_args!("operators  {total} in {} kinds", ops.len()));
    let mut ops: Vec<(&str, usize)> = ops.into_iter().collect();
    ops.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    for (name, count) in ops {
        out::line(format_args!("  {count:>6}  {name}"));
    }
    Ok(())
}

fn ports(what: &str, ports: &[(String, String)]) {
    for (name, ty) in ports {
        out::line(format_args!("{what:<10} {name}: {ty}"));
    }
}

fn artifact(args: &Inspect, global: &Global) -> Result<(), Failure> {
    // Whoever asks what is in a file wants to know whether it is sound, too.
    let artifact = Artifact::open(&args.model, Verify::All).map_err(alula::Error::from)?;
    let metadata = artifact.metadata();
    let model = Model::from_artifact(&args.model)?;
    if let Some(target) = args.target
        && model.program(target).is_none()
    {
        // Says which targets there are.
        model.session_for(target)?;
    }
    let wanted = |target: &alula::Target| args.target.is_none_or(|asked| asked == *target);
    let targets: Vec<alula::Target> = model.targets().into_iter().filter(wanted).collect();
    let first = targets.iter().find_map(|target| model.program(*target));
    let programs: Vec<serde_json::Value> = targets
        .iter()
        .filter_map(|target| model.program(*target))
        .map(|program| {
            json!({
                "target": program.target,
                "precision": program.precision,
                "features": program.features,
                "tuned": program.tuned.as_ref().map(super::tuned),
                "kernels": program.kernels.len(),
                "plans": program.plans.len(),
                "steps": program.plans[0].steps.len(),
                "peak_bytes": program.peak().to_string(),
            })
        })
        .collect();
    let describe = |ports: &[alula::ProgramPort]| -> Vec<(String, String)> {
        let port = |port: &alula::ProgramPort| (port.name.clone(), port.ty.to_string());
        ports.iter().map(port).collect()
    };
    let (inputs, outputs) = match first {
        Some(program) => (
            describe(&program.plans[0].inputs),
            describe(&program.plans[0].outputs),
        ),
        None => (Vec::new(), Vec::new()),
    };
    if global.json {
        let sections: Vec<_> = artifact
            .sections()
            .map(|section| json!({"name": section.name, "bytes": section.length}))
            .collect();
        out::line(json!({
            "producer": metadata.producer,
            "targets": metadata.targets,
            "cpu_features": metadata.cpu_features,
            "programs": programs,
            "inputs": inputs,
            "outputs": outputs,
            "sections": sections,
        }));
        return Ok(());
    }
    out::line(format_args!("producer   {}", metadata.producer));
    out::line(format_args!("targets    {}", metadata.targets.join(", ")));
    out::line(format_args!(
        "needs      {}",
        metadata.cpu_features.join(", ")
    ));
    ports("input", &inputs);
    ports("output", &outputs);
    for program in &programs {
        let text = |key: &str| program[key].as_str().unwrap_or_default().to_owned();
        out::line(format_args!(
            "program    {}: precision {}, {} kernels, {} steps; a run takes {} bytes",
            text("target"),
            text("precision"),
            program["kernels"],
            program["steps"],
            text("peak_bytes"),
        ));
        if let Some(words) = super::tuned_words(&program["tuned"]) {
            out::line(format_args!("tuned      {words}"));
        }
    }
    for section in artifact.sections() {
        let (name, length) = (section.name, section.length);
        out::line(format_args!("section    {name:<20} {length:>12} bytes"));
    }
    Ok(())
}
