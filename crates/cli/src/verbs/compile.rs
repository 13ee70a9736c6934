//! `alula compile`: a model to an artifact, or to the text of a stage.

use std::time::Instant;

use serde_json::json;

use super::builder;
use crate::args::{Compile, Global};
use crate::failure::Failure;
use crate::out;

pub(crate) fn run(args: &Compile, global: &Global) -> Result<(), Failure> {
    let mut builder = builder(&args.model, &args.compiling)
        .precision(args.precision)
        .fusion(args.fusion);
    for target in &args.target {
        builder = builder.target(*target);
    }
    if let Some(stage) = &args.emit {
        let mut graph = builder.import()?.graph;
        match stage.as_str() {
            "import" => {}
            "opt" => {
                let options = super::optimize_options(&args.compiling);
                alula::opt::optimize(&mut graph, &options).map_err(alula::Error::from)?;
            }
            other => {
                let text = format!("stage {other:?} cannot be printed; there are import, opt");
                return Err(Failure::user(text));
            }
        }
        out::line(graph);
        return Ok(());
    }
    let output = match &args.output {
        Some(output) => output.clone(),
        None => args.model.with_extension("alula"),
    };
    let start = Instant::now();
    let model = builder.compile()?;
    let seconds = start.elapsed().as_secs_f64();
    model.save(&output)?;
    let bytes = std::fs::metadata(&output).map_or(0, |metadata| metadata.len());
    let mut programs = Vec::new();
    for target in model.targets() {
        let Some(program) = model.program(target) else {
            continue;
        };
        programs.push(json!({
            "target": target.name(),
            "kernels": program.kernels.len(),
            "code_bytes": program.code.len(),
            "constant_bytes": program.constants.iter().map(|c| c.bytes).sum::<u64>(),
        }));
    }
    if global.json {
        out::line(json!({
            "artifact": output,
            "bytes": bytes,
            "compile_s": seconds,
            "programs": programs,
        }));
        return Ok(());
    }
    out::line(format_args!(
        "{}: {}, compiled in {seconds:.2} s",
        output.display(),
        out::megabytes(bytes)
    ));
    for program in programs {
        out::line(format_args!(
            "  {}: {} kernels, {} of code, {} of constants",
            program["target"].as_str().unwrap_or_default(),
            program["kernels"],
            out::megabytes(program["code_bytes"].as_u64().unwrap_or(0)),
            out::megabytes(program["constant_bytes"].as_u64().unwrap_or(0)),
        ));
    }
    Ok(())
}
