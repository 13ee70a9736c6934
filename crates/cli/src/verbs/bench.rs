//! `alula bench`: times, one line for each target, precision and fusion strategy.

use std::time::{Duration, Instant};

use alula::{Fusion, Precision, Target, Value};
use serde_json::{Value as Json, json};

use super::open;
use crate::args::{Bench, Global};
use crate::failure::Failure;
use crate::measure::{monotonic_seconds, peak_rss_mb};
use crate::{inputs, log, out};

pub(crate) fn run(args: &Bench, global: &Global) -> Result<(), Failure> {
    let fusions = fusions(&args.fusion)?;
    let mut combinations = Vec::new();
    for &target in &args.target {
        for &precision in &args.precision {
            for &fusion in &fusions {
                combinations.push((target, precision, fusion));
            }
        }
    }
    let bar = log::bar(combinations.len());
    let mut table = out::table(&[
        "target",
        "precision",
        "fusion",
        "p50 ms",
        "p90 ms",
        "min ms",
        "compile ms",
        "load ms",
        "first ms",
        "arena MB",
    ]);
    for (target, precision, fusion) in combinations {
        bar.set_message(format!("{target} {precision} {fusion}"));
        let line = measure(args, target, precision, fusion)?;
        bar.inc(1);
        if global.json {
            out::line(&line);
            continue;
        }
        let ms = |key: &str| {
            line[key]
                .as_f64()
                .map_or("-".to_owned(), |v| format!("{v:.3}"))
        };
        table.add_row([
            target.to_string(),
            precision.to_string(),
            fusion.to_string(),
            ms("p50_ms"),
            ms("p90_ms"),
            ms("min_ms"),
            ms("compile_ms"),
            ms("load_ms"),
            ms("first_ms"),
            ms("arena_mb"),
        ]);
    }
    bar.finish_and_clear();
    if !global.json {
        out::line(table);
    }
    Ok(())
}

fn fusions(names: &[String]) -> Result<Vec<Fusion>, Failure> {
    let mut fusions = Vec::new();
    for name in names {
        match name.as_str() {
            "all" => fusions.extend(Fusion::ALL),
            name => fusions.push(name.parse().map_err(Failure::User)?),
        }
    }
    Ok(fusions)
}

fn measure(
    args: &Bench,
    target: Target,
    precision: Precision,
    fusion: Fusion,
) -> Result<Json, Failure> {
    let is_artifact = alula::is_artifact(&args.model)?;
    let start = Instant::now();
    let model = open(&args.model, target, precision, fusion, &args.compiling)?;
    let opened = start.elapsed();
    let start = Instant::now();
    let session = model.session_for(target)?;
    let mut loaded = start.elapsed();
    let compiled = if is_artifact {
        loaded += opened;
        Duration::ZERO
    } else {
        opened
    };
    let mut values = inputs::Named::new();
    inputs::complete(
        &mut values,
        session.inputs(),
        &args.model,
        &args.compiling,
        0,
    )?;
    let named: Vec<(&str, Value)> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let start = Instant::now();
    let outcome = session.run_with(&named, &alula::RunOptions::default())?;
    let first = start.elapsed();
    let first_abs_s = monotonic_seconds();
    let duration = Duration::try_from_secs_f64(args.duration.clamp(0.0, 3600.0));
    let end = Instant::now() + duration.unwrap_or_default();
    let mut times = Vec::new();
    while times.len() < 3 || Instant::now() < end {
        let start = Instant::now();
        session.run(&named)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        // The reference may take minutes: one measured run is enough.
        if target == Target::Reference && Instant::now() >= end {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let artifact_mb = match is_artifact {
        true => std::fs::metadata(&args.model)
            .ok()
            .map(|m| m.len() as f64 / 1e6),
        false => model.artifact_bytes().map(|bytes| bytes as f64 / 1e6),
    };
    Ok(json!({
        "model": args.model.file_stem().map(|stem| stem.to_string_lossy()),
        "target": target.name(),
        "precision": precision.name(),
        "fusion": fusion.name(),
        "threads": args.compiling.threads,
        "runs": times.len(),
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "min_ms": at(0.0),
        "compile_ms": ms(compiled),
        "load_ms": ms(loaded),
        "first_ms": ms(first),
        "first_abs_s": first_abs_s,
        "rss_mb": peak_rss_mb(),
        "arena_mb": outcome.arena_bytes as f64 / 1e6,
        "artifact_mb": artifact_mb,
    }))
}
