//! `alula compile`: a model to an artifact, or to the text of a stage.

use std::path::Path;
use std::time::Instant;

use alula::{ModelBuilder, Stage, StageText, Target};
use serde_json::json;

use super::builder;
use crate::args::{Compile, Global};
use crate::failure::Failure;
use crate::measure::peak_rss_mb;
use crate::{log, out};

pub(crate) fn run(args: &Compile, global: &Global) -> Result<(), Failure> {
    let mut builder = builder(&args.model, &args.target, &args.compiling)?
        .precision(args.precision)
        .fusion(args.fusion);
    if let Some(file) = &args.fusion_plan {
        builder = builder.fusion_plan(super::fusion_plan(file)?);
    }
    if !args.emit.is_empty() || args.emit_dir.is_some() {
        emit(args, &builder, global)?;
        if args.output.is_none() {
            return Ok(());
        }
    }
    let output = match &args.output {
        Some(output) => output.clone(),
        None => args.model.with_extension("alula"),
    };
    let start = Instant::now();
    let model = builder.compile().map_err(|error| match &args.fusion_plan {
        Some(file) => super::in_fusion_plan(error.into(), file),
        None => error.into(),
    })?;
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
            "precision": program.precision,
            "peak_bytes": program.peak().to_string(),
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
            "rss_mb": peak_rss_mb(),
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
            "  {}: {} kernels, {} of code, {} of constants, precision {}; a run takes {} bytes",
            program["target"].as_str().unwrap_or_default(),
            program["kernels"],
            out::megabytes(program["code_bytes"].as_u64().unwrap_or(0)),
            out::megabytes(program["constant_bytes"].as_u64().unwrap_or(0)),
            program["precision"].as_str().unwrap_or_default(),
            program["peak_bytes"].as_str().unwrap_or_default(),
        ));
    }
    Ok(())
}

/// Prints stages, or writes them to a folder.
fn emit(args: &Compile, builder: &ModelBuilder, global: &Global) -> Result<(), Failure> {
    let mut done: Vec<(Stage, Option<Target>)> = Vec::new();
    let bar = log::bar(args.target.len() * Stage::ALL.len());
    for &target in &args.target {
        let stages = Stage::ALL
            .into_iter()
            .filter(|stage| match args.emit.as_slice() {
                [] => stage.is_of(target),
                asked => asked.contains(stage) && (stage.is_of(target) || args.target.len() == 1),
            });
        for stage in stages {
            // What comes before targets differ is printed once.
            let of = (stage > Stage::Prim).then_some(target);
            if done.contains(&(stage, of)) {
                continue;
            }
            done.push((stage, of));
            bar.set_message(stage.name());
            let texts = builder.emit(stage, target)?;
            match &args.emit_dir {
                Some(folder) => write(folder, stage, of, &texts)?,
                None => texts
                    .iter()
                    .for_each(|text| print(stage, target, text, global)),
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let missing = |stage: &&Stage| !done.iter().any(|(known, _)| known == *stage);
    match args.emit.iter().find(missing) {
        Some(stage) => Err(Failure::user(format!(
            "no target that was asked for has a stage {stage}"
        ))),
        None => Ok(()),
    }
}

fn print(stage: Stage, target: Target, text: &StageText, global: &Global) {
    if global.json {
        out::line(json!({
            "stage": stage.name(), "target": target.name(),
            "kernel": text.name, "text": text.text,
        }));
        return;
    }
    out::line(text.text.trim_end());
}

/// `D/STAGE.EXT`, `D/TARGET/STAGE.EXT`, or `D/TARGET/STAGE/KERNEL.EXT`.
fn write(
    folder: &Path,
    stage: Stage,
    target: Option<Target>,
    texts: &[StageText],
) -> Result<(), Failure> {
    let extension = match stage {
        Stage::Import | Stage::Opt | Stage::Prim => "ir",
        Stage::Clif => "clif",
        Stage::Wgsl => "wgsl",
        Stage::Ptx => "ptx",
        Stage::Fusion | Stage::Kernel | Stage::Sched | Stage::Legal | Stage::Plan | Stage::Asm => {
            "txt"
        }
    };
    for (hash, tensor) in texts.iter().flat_map(|text| &text.blobs) {
        let path = super::blob(&folder.join(format!("{stage}.{extension}")), hash);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| Failure::io(parent, &error))?;
        std::fs::write(&path, tensor.bytes()).map_err(|error| Failure::io(&path, &error))?;
    }
    let mut folder = folder.to_owned();
    if let Some(target) = target {
        folder.push(target.name());
    }
    for text in texts {
        let path = match text.name.as_str() {
            "" => folder.join(format!("{stage}.{extension}")),
            name => {
                let name: String = super::file_name(name).chars().take(120).collect();
                folder
                    .join(stage.name())
                    .join(format!("{name}.{extension}"))
            }
        };
        let parent = path.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).map_err(|error| Failure::io(parent, &error))?;
        std::fs::write(&path, &text.text).map_err(|error| Failure::io(&path, &error))?;
    }
    Ok(())
}
