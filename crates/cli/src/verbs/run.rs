//! `alula run`: one run of a model or an artifact.

use std::path::Path;
use std::time::{Duration, Instant};

use alula::{Limits, Precision, RunOptions, SessionOptions, Tensor, Value, npy, pb};
use serde_json::json;

use super::{file_name, open};
use crate::args::{Format, Global, Run};
use crate::failure::Failure;
use crate::{inputs, out};

pub(crate) fn run(args: &Run, global: &Global) -> Result<(), Failure> {
    let mut model = match &args.fusion_plan {
        Some(file) if !alula::is_artifact(&args.model)? => {
            let builder = super::builder(&args.model, &args.compiling).target(args.target);
            builder.fusion_plan(super::fusion_plan(file)?).compile()?
        }
        _ => {
            let precision = Precision::default();
            open(
                &args.model,
                args.target,
                precision,
                args.fusion,
                &args.compiling,
            )?
        }
    };
    if let Some(bytes_max) = args.max_bytes {
        let limits = Limits {
            bytes_max,
            ..Limits::default()
        };
        model = model.with_options(SessionOptions { limits });
    }
    let session = model.session_for(args.target)?;
    let mut values = inputs::from_files(session.inputs(), &args.input)?;
    if let Some(seed) = args.random {
        let ports = session.inputs();
        inputs::complete(&mut values, ports, &args.model, &args.compiling, seed)?;
    }
    let named: Vec<(&str, Value)> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let deadline = args.deadline.filter(|seconds| *seconds >= 0.0);
    let options = RunOptions {
        deadline: deadline.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        profile: args.profile || args.profile_trace.is_some(),
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

/// A line about an output: its type, its range and first elements.
fn describe(name: &str, value: &Value, as_json: bool) {
    let summary = value.as_tensor().map(summary);
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
        out::line(format_args!("{name}: {}", value.describe()));
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
    let values = tensor.to_f64s();
    let sum: f64 = values.iter().sum();
    Summary {
        least: values.iter().copied().fold(f64::INFINITY, f64::min),
        mean: sum / values.len().max(1) as f64,
        greatest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        first: values.into_iter().take(5).collect(),
    }
}
