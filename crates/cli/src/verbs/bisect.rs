//! `alula debug bisect`: the fewest rules and passes that change an output.
//!
//! The outputs of a target with nothing rewritten are what the others are compared to, so that what
//! the target itself does wrong is not blamed on a rule.

use std::collections::{BTreeMap, BTreeSet};

use alula::opt::Options;
use alula::{ModelBuilder, Target, Value};
use serde_json::json;

use super::importer;
use crate::args::{Bisect, Global};
use crate::failure::Failure;
use crate::measure::distance;
use crate::{inputs, log, out};

pub(crate) fn run(args: &Bisect, global: &Global) -> Result<(), Failure> {
    let names = alula::opt::names();
    let mut probe = Probe::new(args, &names)?;
    let all: Vec<&str> = names.iter().copied().collect();
    let Some(worst) = probe.change(&all, None)? else {
        probe.bar.finish_and_clear();
        if global.json {
            out::line(json!({"to_blame": [], "probes": probe.count}));
        } else {
            out::line("no output changes: no rule is to blame");
        }
        return Ok(());
    };
    let fired = probe.fired.clone();
    // Most rules never fired: without them it is probably the same.
    let mut suspects = all;
    let likely: Vec<&str> = (suspects.iter().copied())
        .filter(|name| fired.contains_key(*name))
        .collect();
    if probe.change(&likely, None)?.is_some() {
        suspects = likely;
    }
    let blamed = fewest(suspects, &mut |names| {
        Ok(probe.change(names, None)?.is_some())
    })?;
    let rewrite = first_rewrite(&mut probe, &blamed)?;
    probe.bar.finish_and_clear();
    let worst = worst.0;
    if global.json {
        out::line(json!({
            "to_blame": blamed,
            "rewrite": rewrite.map(|(number, _)| number),
            "rule": rewrite.map(|(_, rule)| rule),
            "worst_rel_to_max": worst,
            "probes": probe.count,
        }));
    } else {
        out::line(format_args!("to blame: {}", blamed.join(", ")));
        if let Some((number, rule)) = rewrite {
            out::line(format_args!(
                "with only these, outputs change from rewrite {number} on, by {rule}"
            ));
        }
        out::line(format_args!(
            "with everything, outputs change by {worst:.1e} of the largest; {} probes",
            probe.count
        ));
    }
    Err(Failure::Mismatch(format!(
        "{} change an output by more than {:.1e}",
        blamed.join(", "),
        args.bound
    )))
}

/// How far the worst output is off; infinite where it is something else altogether.
struct Change(f64);

/// Compiles and runs with some rules and passes.
struct Probe<'a> {
    args: &'a Bisect,
    names: &'a BTreeSet<&'static str>,
    builder: ModelBuilder,
    inputs: inputs::Named,
    expected: Vec<(String, Value)>,
    /// Rules that fired last, with how often.
    fired: BTreeMap<&'static str, usize>,
    count: usize,
    bar: indicatif::ProgressBar,
}

impl<'a> Probe<'a> {
    fn new(args: &'a Bisect, names: &'a BTreeSet<&'static str>) -> Result<Probe<'a>, Failure> {
        let builder = importer(&args.model, &args.importing)
            .threads(args.threads)
            .target(args.target);
        let bar = log::bar(0);
        bar.set_message("rewrites");
        let mut probe = Probe {
            args,
            names,
            builder,
            inputs: inputs::Named::new(),
            expected: Vec::new(),
            fired: BTreeMap::new(),
            count: 0,
            bar,
        };
        let session = probe.session(&[], None)?;
        let ports = session.inputs();
        probe.inputs = inputs::from_files(ports, &args.input)?;
        let (model, importing) = (&args.model, &args.importing);
        inputs::complete(&mut probe.inputs, ports, model, importing, args.random)?;
        probe.expected = session.run(&probe.named())?;
        Ok(probe)
    }

    fn named(&self) -> Vec<(&str, Value)> {
        let pairs = self.inputs.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect()
    }

    fn session(
        &mut self,
        applied: &[&str],
        fires_max: Option<usize>,
    ) -> Result<alula::Session, Failure> {
        self.count += 1;
        self.bar.set_length(self.count as u64);
        self.bar.inc(1);
        let disabled = self.names.iter().filter(|name| !applied.contains(name));
        let options = Options {
            disabled: disabled.map(|name| (*name).to_owned()).collect(),
            fires_max,
            ..Options::default()
        };
        let builder = self.builder.clone().optimize(options);
        let target = self.args.target;
        if target == Target::Reference {
            // Its own form is the graph as it came.
            let (session, report) = builder.optimized_reference()?;
            self.fired = report.fires;
            return Ok(session);
        }
        let model = builder.compile()?;
        let report = model.report(target);
        self.fired = report.map_or_else(BTreeMap::new, |report| report.rewrites.fires.clone());
        Ok(model.session_for(target)?)
    }

    /// How far outputs are off with these rules and passes, if they are beyond the bound. A model
    /// that does not run with them is as far off as can be.
    fn change(
        &mut self,
        applied: &[&str],
        fires_max: Option<usize>,
    ) -> Result<Option<Change>, Failure> {
        let session = self.session(applied, fires_max)?;
        let outputs = match session.run(&self.named()) {
            Ok(outputs) => outputs,
            Err(error) => {
                tracing::warn!("with {}: {error}", applied.join(", "));
                return Ok(Some(Change(f64::INFINITY)));
            }
        };
        let mut worst: Option<f64> = None;
        for ((_, actual), (_, expected)) in outputs.iter().zip(&self.expected) {
            let far = distance(actual, expected);
            if !far.is_within(self.args.bound) {
                worst = Some(worst.unwrap_or(0.0).max(far.worst_rel));
            }
        }
        Ok(worst.map(Change))
    }
}

/// The number of the first rewrite after which an output is changed, and its rule.
fn first_rewrite(
    probe: &mut Probe<'_>,
    blamed: &[&str],
) -> Result<Option<(usize, &'static str)>, Failure> {
    probe.change(blamed, None)?;
    let mut with = probe.fired.clone();
    let total: usize = with.values().sum();
    if total == 0 || probe.change(blamed, Some(0))?.is_some() {
        // Passes do it, which count no rewrites.
        return Ok(None);
    }
    let mut without = probe.fired.clone();
    let (mut right, mut wrong) = (0, total);
    while wrong - right > 1 {
        let middle = right + (wrong - right) / 2;
        match probe.change(blamed, Some(middle))? {
            Some(_) => (wrong, with) = (middle, probe.fired.clone()),
            None => (right, without) = (middle, probe.fired.clone()),
        }
    }
    let count = |fired: &BTreeMap<&'static str, usize>, rule: &str| -> usize {
        fired.get(rule).copied().unwrap_or(0)
    };
    let rule = with
        .keys()
        .find(|rule| count(&with, rule) > count(&without, rule));
    Ok(rule.map(|rule| (wrong, *rule)))
}

/// A set of which no part still does it, by halves and their complements (Zeller's `ddmin`).
fn fewest<'n>(
    mut names: Vec<&'n str>,
    does_it: &mut dyn FnMut(&[&str]) -> Result<bool, Failure>,
) -> Result<Vec<&'n str>, Failure> {
    let mut parts = 2;
    'next: while names.len() > 1 {
        let length = names.len().div_ceil(parts);
        for part in names.chunks(length) {
            if does_it(part)? {
                names = part.to_vec();
                parts = 2;
                continue 'next;
            }
        }
        for start in (0..names.len()).step_by(length) {
            let end = (start + length).min(names.len());
            let rest: Vec<&str> = [&names[..start], &names[end..]].concat();
            if parts > 2 && does_it(&rest)? {
                names = rest;
                parts = (parts - 1).max(2);
                continue 'next;
            }
        }
        if length == 1 {
            break;
        }
        parts = (parts * 2).min(names.len());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(all: &str, does_it: impl Fn(&str) -> bool) -> String {
        let names: Vec<&str> = all.split(' ').collect();
        let mut ask = |names: &[&str]| Ok(does_it(&names.join(" ")));
        fewest(names, &mut ask).expect("it decides").join(" ")
    }

    #[test]
    fn the_fewest_names_are_found() {
        assert_eq!(found("a b c d e f g", |names| names.contains('e')), "e");
        let both = |names: &str| names.contains('b') && names.contains('g');
        assert_eq!(found("a b c d e f g", both), "b g");
        let either = |names: &str| names.contains('c') || names.contains('f');
        assert_eq!(found("a b c d e f g", either).len(), 1);
        assert_eq!(found("a", |_| true), "a");
    }
}
