//! `alula run`: one run of a model or an artifact.

use std::path::Path;
use std::time::{Duration, Instant};

use alula::{Limits, Model, Precision, RunOptions, SessionOptions, Target, Tensor, Value, npy, pb};
use serde_json::json;

use super::file_name;
use crate::args::{Format, Global, Run};
use crate::failure::Failure;
use crate::{contents, inputs, out};

pub(crate) fn run(args: &Run, global: &Global) -> Result<(), Failure> {
    let mut model = open(args)?;
    let bounds = [
        ("--max-bytes", args.max_bytes.is_some()),
        ("--max-trips", args.max_trips.is_some()),
        ("--max-work", args.max_work.is_some()),
    ];
    if args.target == Target::Reference
        && let Some((name, _)) = bounds.into_iter().find(|(_, given)| *given)
    {
        let text = format!("target reference heeds no {name}: it evaluates node by node");
        return Err(Failure::Unsupported(text));
    }
    let mut limits = Limits::default();
    limits.bytes_max = args.max_bytes.unwrap_or(limits.bytes_max);
    limits.trips_max = args.max_trips.unwrap_or(limits.trips_max);
    limits.work_max = args.max_work.unwrap_or(limits.work_max);
    model = model.with_options(SessionOptions { limits });
    let session = model.session_for(args.target)?;
    if alula::is_artifact(&args.model)? {
        super::check_extents(session.inputs(), &args.compiling.importing)?;
    }
    let mut values = inputs::from_files(session.inputs(), &args.input)?;
    if let Some(seed) = args.random {
        let ports = session.inputs();
        inputs::complete(
            &mut values,
            ports,
            &args.model,
            &args.compiling.importing,
            seed,
        )?;
    }
    let named: Vec<(&str, Value)> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let deadline = args.deadline.filter(|seconds| *seconds >= 0.0);
    let options = RunOptions {
        deadline: deadline.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        profile: args.profile || args.profile_trace.is_some(),
        work_max: None,
    };
    let start = Instant::now();
    let outcome = session.run_with(&named, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some(folder) = &args.output_dir {
        std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, &error))?;
        for (position, (name, value)) in outcome.outputs.iter().enumerate() {
            write(folder, position, name, value, args.output_format)?;
        }
    }
    for (name, value) in &outcome.outputs {
        describe(name, value, global.json);
    }
    tracing::info!("ran in {:.3} ms", seconds * 1e3);
    if let Some(profile) = &outcome.profile {
        if args.profile {
            eprint!("{}", profile.table(40));
        }
        if let Some(file) = &args.profile_trace {
            let written = std::fs::write(file, profile.chrome_trace());
            written.map_err(|error| Failure::io(file, &error))?;
        }
    } else if options.profile {
        tracing::warn!("target {} has no steps to measure", args.target);
    }
    Ok(())
}

/// Opens an artifact or compiles a model.
fn open(args: &Run) -> Result<Model, Failure> {
    let (file, compiling) = (&args.model, &args.compiling);
    if alula::is_artifact(file)? {
        let asked = [
            ("--fusion", args.fusion.is_some()),
            ("--fusion-plan", args.fusion_plan.is_some()),
        ];
        let model = super::stored(file, compiling, &asked)?;
        let importing = &compiling.importing;
        let is_sized = !importing.shape.is_empty() || !importing.dim.is_empty();
        if is_sized && args.random.is_none() {
            let text = "--shape and --dim say how large inputs of an artifact are that --random \
                        makes up, and there are none";
            return Err(Failure::user(text));
        }
        return Ok(model);
    }
    let Some(plan) = &args.fusion_plan else {
        let (precision, fusion) = (Precision::default(), args.fusion.unwrap_or_default());
        return super::compiled(file, args.target, precision, fusion, compiling);
    };
    let builder = super::builder(file, &[args.target], compiling)?;
    let built = builder.fusion_plan(super::fusion_plan(plan)?).compile();
    built.map_err(|error| super::in_fusion_plan(error.into(), plan))
}

fn write(
    folder: &Path,
    position: usize,
    name: &str,
    value: &Value,
    format: Format,
) -> Result<(), Failure> {
    match format {
        Format::Pb => pb::write(folder.join(format!("output_{position}.pb")), name, value)?,
        Format::Npy => {
            let tensor = value.as_tensor().ok_or_else(|| {
                let what = value.describe();
                Failure::user(format!("output {name:?} is a {what}: --output-format pb"))
            })?;
            npy::write(folder.join(format!("{}.npy", file_name(name))), tensor)?;
        }
    }
    Ok(())
}

/// A line about an output: its type, its range and first elements, or what it holds.
fn describe(name: &str, value: &Value, as_json: bool) {
    let summary = value
        .as_tensor()
        .filter(|tensor| !tensor.is_empty() && tensor.strings().is_none())
        .map(summary);
    if as_json {
        let mut line = json!({"name": name, "type": value.describe()});
        if let Some(Summary {
            least,
            mean,
            greatest,
            first,
        }) = summary
        {
            line["min"] = json!(least);
            line["mean"] = json!(mean);
            line["max"] = json!(greatest);
            line["first"] = json!(first);
        } else if let Some(first) = contents::json(value) {
            line["first"] = first;
        }
        out::line(line);
        return;
    }
    let Some(Summary {
        least,
        mean,
        greatest,
        first,
    }) = summary
    else {
        let held = contents::text(value).map(|text| format!("  {text}"));
        let held = held.unwrap_or_default();
        out::line(format_args!("{name}: {}{held}", value.describe()));
        return;
    };
    let first: Vec<String> = first.iter().map(|value| format!("{value:.6}")).collect();
    out::line(format_args!(
        "{name}: {}  min {least:.6}  mean {mean:.6}  max {greatest:.6}  [{}]",
        value.describe(),
        first.join(", ")
    ));
}

struct Summary {
    least: f64,
    mean: f64,
    greatest: f64,
    first: Vec<f64>,
}

fn summary(tensor: &Tensor) -> Summary {
    // One by one: a list of them is larger than most tensors.
    let values = || (0..tensor.len()).filter_map(|k| Some(tensor.get(k)?.to_f64()));
    Summary {
        least: values().fold(f64::INFINITY, f64::min),
        mean: values().sum::<f64>() / values().count().max(1) as f64,
        greatest: values().fold(f64::NEG_INFINITY, f64::max),
        first: values().take(5).collect(),
    }
}
