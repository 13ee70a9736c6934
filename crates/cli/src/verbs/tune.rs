//! `alula tune`: schedules of a model, chosen by measuring and stored in a table.

use std::path::Path;
use std::time::Duration;

use alula::Target;
use alula::tune::{Cpu, Entry, ModelBench, Outcome, Search, Table, Told, search};
use indicatif::ProgressBar;
use serde_json::json;

use super::{importer, optimize_options, threads};
use crate::args::{Global, Tune};
use crate::failure::Failure;
use crate::{inputs, log, out};

pub(crate) fn run(args: &Tune, global: &Global) -> Result<(), Failure> {
    if args.target != Target::Cpu {
        return Err(Failure::Unsupported(format!(
            "schedules of target {} are not measured, only those of cpu",
            args.target
        )));
    }
    if alula::is_artifact(&args.model)? {
        return Err(Failure::user(format!(
            "{} is an artifact, which is compiled already: tune the model",
            args.model.display()
        )));
    }
    let file = match &args.table {
        Some(file) => file.clone(),
        None => args.model.with_extension("tuned.json"),
    };
    let threads = threads(args.threads, args.target);
    let table = Table::open(&file, Cpu::host()?, threads);
    let mut table = table.map_err(alula::Error::from)?;
    let builder = importer(&args.model, &args.importing)
        .threads(threads)
        .optimize(optimize_options(&args.disable_rule, &args.only_rule))
        .precision(args.precision);
    let session = builder.clone().target(args.target).compile()?.session()?;
    let (mut values, ports) = (inputs::Named::new(), session.inputs());
    inputs::complete(&mut values, ports, &args.model, &args.importing, args.seed)?;
    drop(session);
    let options = Search {
        budget: Duration::try_from_secs_f64(args.budget).unwrap_or(Duration::MAX),
        seed: args.seed,
        threads,
    };
    let bar = log::bar(args.budget.ceil() as usize);
    let mut bench = ModelBench::new(builder, values, threads)?;
    let outcome = search(&mut bench, &mut table, &options, &mut |told, table| {
        follow(&bar, told);
        if *told == Told::Ended {
            table.write(&file)?;
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    // Also where there was nothing to measure: who asked for a table finds one.
    table.write(&file).map_err(alula::Error::from)?;
    match global.json {
        true => out::line(as_json(args, &file, &table, &outcome)),
        false => print(&file, &table, &outcome),
    }
    Ok(())
}

fn follow(bar: &ProgressBar, told: &Told) {
    match told {
        Told::Begins(what) => bar.set_message(what.clone()),
        Told::Elapsed(elapsed) => {
            let length = bar.length().unwrap_or(0);
            bar.set_position(elapsed.as_secs().min(length));
        }
        Told::Ended => {}
    }
}

/// The entries of the model in order.
fn entries<'t>(table: &'t Table, outcome: &'t Outcome) -> Vec<(&'t String, &'t Entry)> {
    let graphs = outcome.graphs.iter();
    let graphs = graphs.filter_map(|key| table.graphs.get_key_value(key));
    let contractions = outcome.contractions.iter();
    let contractions = contractions.filter_map(|key| table.contractions.get_key_value(key));
    graphs.chain(contractions).collect()
}

fn as_json(args: &Tune, file: &Path, table: &Table, outcome: &Outcome) -> serde_json::Value {
    let entries: Vec<_> = entries(table, outcome)
        .into_iter()
        .map(|(key, entry)| {
            json!({
                "key": key,
                "what": entry.what,
                "default": entry.default,
                "chosen": entry.chosen,
                "gain": entry.gain(),
                "noise": entry.noise(),
                "trials": entry.trials,
            })
        })
        .collect();
    json!({
        "model": args.model.file_stem().map(|stem| stem.to_string_lossy()),
        "target": args.target.name(),
        "precision": args.precision.name(),
        "threads": table.threads,
        "cpu": table.cpu.describe(),
        "table": file,
        "trials": outcome.trials,
        "is_complete": outcome.is_complete,
        "entries": entries,
        "whole": outcome.whole.as_ref().map(|whole| json!({
            "default_ms": whole.default_ms,
            "tuned_ms": whole.tuned_ms,
            "noise": whole.noise,
        })),
    })
}

fn print(file: &Path, table: &Table, outcome: &Outcome) {
    let entries = entries(table, outcome);
    if !entries.is_empty() {
        let mut rows = out::table(&["what", "default", "chosen", "trials", "ms", "gain", "noise"]);
        for (_, entry) in &entries {
            let best = entry
                .trials
                .iter()
                .rev()
                .find(|trial| trial.choice == entry.chosen);
            let ms = match (best, entry.trials.first()) {
                (Some(best), _) => best.ms,
                (None, first) => first.map_or(0.0, |first| first.against_ms),
            };
            rows.add_row([
                entry.what.clone(),
                entry.default.clone(),
                match entry.chosen == entry.default {
                    true => "the default".to_owned(),
                    false => entry.chosen.clone(),
                },
                entry.trials.len().to_string(),
                format!("{ms:.4}"),
                format!("{:.3}", entry.gain()),
                format!("{:.1} %", entry.noise() * 100.0),
            ]);
        }
        out::line(rows);
    }
    let changed = entries
        .iter()
        .filter(|(_, entry)| entry.chosen != entry.default)
        .count();
    out::line(format_args!(
        "{}: {} decisions of this model, {changed} other than the default; {} trials now, {}",
        file.display(),
        entries.len(),
        outcome.trials,
        match outcome.is_complete {
            true => "nothing is left to measure",
            false => "the budget ended it: the next call goes on",
        }
    ));
    if let Some(whole) = &outcome.whole {
        out::line(format_args!(
            "the model: {:.3} ms without the table, {:.3} ms with it: {:.3} times as fast; noise \
             {:.1} %",
            whole.default_ms,
            whole.tuned_ms,
            whole.default_ms / whole.tuned_ms.max(f64::MIN_POSITIVE),
            whole.noise * 100.0,
        ));
    } else if outcome.is_complete {
        out::line("the model: as without the table");
    }
    if table.threads > 1 {
        out::line(format_args!("measured with {} threads", table.threads));
    }
}
