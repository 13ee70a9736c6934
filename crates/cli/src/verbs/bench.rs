//! `alula bench`: times, one line for each target, precision and fusion strategy.

use std::time::{Duration, Instant};

use alula::{Fusion, FusionPlan, Precision, Profile, RunOptions, Session, Target, Value};
use serde_json::{Value as Json, json};

use super::{check_extents, compiled, stored, threads};
use crate::args::{Bench, Global};
use crate::failure::Failure;
use crate::measure::{monotonic_seconds, peak_rss_mb, processor_seconds};
use crate::{inputs, log, out};

/// What is measured in a row.
#[derive(Clone, Copy)]
enum Case {
    /// A model, compiled so.
    Compiled(Precision, Fusion),
    /// An artifact as it was stored.
    Stored,
}

pub(crate) fn run(args: &Bench, global: &Global) -> Result<(), Failure> {
    let cases = cases(args)?;
    let mut combinations = Vec::new();
    for &target in &args.target {
        combinations.extend(cases.iter().map(|case| (target, *case)));
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
    let mut rows: Vec<Row> = Vec::new();
    for (target, case) in combinations {
        if let Case::Compiled(precision, fusion) = case {
            bar.set_message(format!("{target} {precision} {fusion}"));
        }
        let (mut line, plan, profile) = measure(args, target, case)?;
        bar.inc(1);
        let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        let (precision, fusion) = (text("precision"), text("fusion"));
        let row = Row {
            target,
            label: format!("{target} {precision} {fusion}"),
            p50_ms: line["p50_ms"].as_f64().unwrap_or(0.0),
            plan,
            profile,
        };
        // Against the first strategy on this target.
        if let Some(first) = rows.iter().find(|row| row.target == target) {
            line["groups_unlike_first"] = json!(row.plan.groups_not_in(&first.plan));
        }
        rows.push(row);
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
            precision,
            fusion,
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
        if args.fusion.iter().any(|name| name == "all") {
            for fusion in Fusion::ALL {
                if let Some(same) = fusion.alias_of() {
                    out::line(format_args!("{fusion} is the same as {same}"));
                }
            }
        }
        if cases.len() > 1 {
            plot(&rows);
        }
    }
    for row in &rows {
        if let Some(profile) = &row.profile {
            eprint!("\n{}\n{}", row.label, profile.table(STEPS_SHOWN));
        }
    }
    Ok(())
}

/// What was measured, for the comparison.
struct Row {
    target: Target,
    label: String,
    p50_ms: f64,
    plan: FusionPlan,
    profile: Option<Profile>,
}

/// Steps of a profile that are listed.
const STEPS_SHOWN: usize = 40;
/// Columns of the longest bar.
const BAR: f64 = 50.0;
/// Groups that are listed for each strategy.
const GROUPS_SHOWN: usize = 8;

/// Bars of the times, and which groups a strategy has that the one before it has not.
fn plot(rows: &[Row]) {
    let longest = rows.iter().map(|row| row.p50_ms).fold(0.0, f64::max);
    let width = rows.iter().map(|row| row.label.len()).max().unwrap_or(0);
    out::line("");
    for row in rows {
        let length = (row.p50_ms / longest.max(f64::MIN_POSITIVE) * BAR).round() as usize;
        let (label, bar, ms) = (&row.label, "#".repeat(length.max(1)), row.p50_ms);
        out::line(format_args!("{label:width$}  {bar} {ms:.3} ms"));
    }
    for pair in rows
        .windows(2)
        .filter(|pair| pair[0].target == pair[1].target)
    {
        let groups = pair[1].plan.groups_not_in(&pair[0].plan);
        let (new, old) = (&pair[1].label, &pair[0].label);
        if groups.is_empty() {
            out::line(format_args!("\n{new}: every group is one of {old}"));
            continue;
        }
        let count = groups.len();
        out::line(format_args!(
            "\n{new}: {count} groups that {old} does not have"
        ));
        for group in groups.iter().take(GROUPS_SHOWN) {
            out::line(format_args!("  {group}"));
        }
        if count > GROUPS_SHOWN {
            out::line(format_args!("  and {} more", count - GROUPS_SHOWN));
        }
    }
}

/// What there is to measure on each target, each once.
fn cases(args: &Bench) -> Result<Vec<Case>, Failure> {
    let mut fusions: Vec<Fusion> = Vec::new();
    for name in &args.fusion {
        match name.as_str() {
            // What goes by two names is measured once.
            "all" => fusions.extend(Fusion::ALL.iter().filter(|one| one.alias_of().is_none())),
            name => fusions.push(name.parse().map_err(Failure::User)?),
        }
    }
    if alula::is_artifact(&args.model)? {
        if !args.precision.is_empty() || !args.fusion.is_empty() {
            tracing::warn!(
                "an artifact has the precision and the fusion that it was compiled with"
            );
        }
        return Ok(vec![Case::Stored]);
    }
    if fusions.is_empty() {
        fusions.push(Fusion::default());
    }
    let asked = match args.precision.as_slice() {
        [] => &[Precision::default()],
        asked => asked,
    };
    // What ends as the same code is measured once, under its own name.
    let mut used: Vec<Precision> = Vec::new();
    for &asked in asked {
        let ends: Vec<_> = args.target.iter().map(|target| asked.on(*target)).collect();
        for (end, reason) in ends {
            if let Some(reason) = reason {
                tracing::warn!("precision {asked} runs as {end}: {reason}");
            }
            if !used.contains(&end) {
                used.push(end);
            }
        }
    }
    let mut cases = Vec::new();
    for &precision in &used {
        cases.extend(
            fusions
                .iter()
                .map(|fusion| Case::Compiled(precision, *fusion)),
        );
    }
    Ok(cases)
}

type Measured = (Json, FusionPlan, Option<Profile>);

fn measure(args: &Bench, target: Target, case: Case) -> Result<Measured, Failure> {
    let is_artifact = matches!(case, Case::Stored);
    let start = Instant::now();
    let model = match case {
        Case::Compiled(precision, fusion) => {
            compiled(&args.model, target, precision, fusion, &args.compiling)?
        }
        Case::Stored => stored(&args.model, &args.compiling, &[])?,
    };
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
    let importing = &args.compiling.importing;
    if is_artifact {
        check_extents(session.inputs(), importing)?;
    }
    let mut values = inputs::Named::new();
    inputs::complete(&mut values, session.inputs(), &args.model, importing, 0)?;
    let named: Vec<(&str, Value)> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let start = Instant::now();
    let outcome = session.run_with(&named, &RunOptions::default())?;
    let first = start.elapsed();
    let first_abs_s = monotonic_seconds();
    let duration =
        Duration::try_from_secs_f64(args.duration.clamp(0.0, 3600.0)).unwrap_or_default();
    let end = Instant::now() + duration;
    let (mut times, mut processor_times) = (Vec::new(), Vec::new());
    while times.len() < 3 || Instant::now() < end {
        let (start, processor_start) = (Instant::now(), processor_seconds());
        session.run(&named)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        processor_times.push((processor_seconds() - processor_start) * 1e3);
        // The reference may take minutes: one measured run is enough.
        if target == Target::Reference && Instant::now() >= end {
            break;
        }
    }
    let profile = match args.profile {
        true => profile(&session, &named, duration)?,
        false => None,
    };
    if args.profile && profile.is_none() {
        tracing::warn!("target {target} has no steps to measure");
    }
    times.sort_by(f64::total_cmp);
    processor_times.sort_by(f64::total_cmp);
    let place = |share: f64| ((times.len() - 1) as f64 * share).round() as usize;
    let at = |share: f64| times[place(share)];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let artifact_mb = match is_artifact {
        true => std::fs::metadata(&args.model)
            .ok()
            .map(|m| m.len() as f64 / 1e6),
        false => model.artifact_bytes().map(|bytes| bytes as f64 / 1e6),
    };
    let reports = model.report(target).map(|report| report.fusion.as_slice());
    let plan = FusionPlan::of(reports.unwrap_or_default());
    let line = json!({
        "model": args.model.file_stem().map(|stem| stem.to_string_lossy()),
        "target": target.name(),
        // The reference has neither, and an artifact does not say what its kernels come from.
        "precision": model.program(target).map(|program| program.precision.as_str()),
        "fusion": match case {
            Case::Compiled(_, fusion) if target != Target::Reference => Some(fusion.name()),
            Case::Compiled(..) | Case::Stored => None,
        },
        // The table by its hash, if any of its schedules was taken.
        "table": model
            .program(target)
            .and_then(|program| program.tuned.as_ref())
            .map(|tuned| tuned.table.as_str()),
        "threads": threads(args.compiling.threads, target),
        "runs": times.len(),
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "min_ms": at(0.0),
        "cpu_p50_ms": processor_times[place(0.5)],
        "cpu_min_ms": processor_times[0],
        "compile_ms": ms(compiled),
        "load_ms": ms(loaded),
        "first_ms": ms(first),
        "first_abs_s": first_abs_s,
        "rss_mb": peak_rss_mb(),
        "arena_mb": outcome.arena_bytes as f64 / 1e6,
        "artifact_mb": artifact_mb,
        "kernels": model.program(target).map(|program| program.kernels.len()),
    });
    Ok((line, plan, profile))
}

/// The least time of each step of the runs of some time, if the target has steps.
fn profile(
    session: &Session,
    named: &[(&str, Value)],
    duration: Duration,
) -> Result<Option<Profile>, Failure> {
    let options = RunOptions {
        profile: true,
        ..RunOptions::default()
    };
    let Some(mut least) = session.run_with(named, &options)?.profile else {
        return Ok(None);
    };
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let other = session.run_with(named, &options)?.profile;
        least.keep_least(&other.unwrap_or_default());
    }
    Ok(Some(least))
}
