//! What is tried at once: one choice for the graph, or the next of each contraction.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bench::{Bench, Times};
use super::entry::Entry;
use super::sample::{Samples, Verdict};
use super::search::Trial;
use super::table::Table;
use crate::Error;
use crate::compile::{Choices, Decisions, GraphChoice, Site};

/// What is tried at once: for each key the decision in words, its default and its next choice.
pub(super) struct Column {
    pub(super) graph: Option<(String, [String; 2], String)>,
    contractions: BTreeMap<String, ([String; 2], String)>,
}

impl Column {
    pub(super) fn next(table: &Table, decisions: &Decisions, threads: usize) -> Column {
        let mut column = Column {
            graph: None,
            contractions: BTreeMap::new(),
        };
        if let Some(site) = &decisions.graph {
            let choices = GraphChoice::all();
            let default = choices[0].to_string();
            let mut choices = choices.iter().map(ToString::to_string);
            let entry = table.graphs.get(&site.key);
            let known = |choice: &String| match entry {
                Some(entry) => entry.knows(choice),
                None => *choice == default,
            };
            if let Some(choice) = choices.find(|choice| !known(choice)) {
                let words = [site.what.clone(), default];
                column.graph = Some((site.key.clone(), words, choice));
                return column;
            }
        }
        for site in &decisions.contractions {
            if column.contractions.contains_key(&site.key) {
                continue;
            }
            if let Some(choice) = next_of(site, table.contractions.get(&site.key), threads) {
                let words = [site.what.clone(), site.default.to_string()];
                column
                    .contractions
                    .insert(site.key.clone(), (words, choice));
            }
        }
        column
    }

    pub(super) fn is_empty(&self) -> bool {
        self.graph.is_none() && self.contractions.is_empty()
    }

    pub(super) fn describe(&self) -> String {
        match (&self.graph, self.contractions.len()) {
            (Some((_, [what, _], choice)), _) => format!("{what}: {choice}"),
            (None, 1) => {
                let mut one = self.contractions.values();
                let ([what, _], choice) = one.next().expect("there is one");
                format!("{what}: {choice}")
            }
            (None, many) => format!("{many} contractions"),
        }
    }

    pub(super) fn added_to(&self, choices: &Choices) -> Choices {
        let mut choices = choices.clone();
        if let Some((key, _, choice)) = &self.graph {
            let choice = choice.parse().expect("it was printed");
            choices.graphs.insert(key.clone(), choice);
        }
        for (key, (_, choice)) in &self.contractions {
            let choice = choice.parse().expect("it was printed");
            choices.contractions.insert(key.clone(), choice);
        }
        choices
    }

    /// Where nothing is measured.
    pub(super) fn same(&self) -> Verdicts {
        let same = |key: &String| (key.clone(), Verdict::same());
        let graph = self.graph.iter().map(|(key, ..)| same(key));
        graph.chain(self.contractions.keys().map(same)).collect()
    }

    /// Measures, twice if anything seems faster: among so many trials some seem so by chance. None
    /// if there was no time. `decisions` are those of the tried and of the best program.
    pub(super) fn verdicts<B: Bench>(
        &self,
        trial: &mut Trial<'_, B>,
        decisions: [&Decisions; 2],
        budget: Duration,
        tell: &mut dyn FnMut(Duration) -> Result<(), Error>,
    ) -> Result<Option<Verdicts>, Error> {
        let Some(rounds) = trial.rounds(budget, tell)? else {
            return Ok(None);
        };
        let verdicts = self.judge(&rounds, decisions);
        if !verdicts.values().any(Verdict::is_faster) {
            return Ok(Some(verdicts));
        }
        // Beyond the budget, if need be: what was begun is not lost.
        let Some(rounds) = trial.rounds(Duration::MAX, tell)? else {
            return Ok(None);
        };
        let mut again = self.judge(&rounds, decisions);
        let both = |(key, verdict): (String, Verdict)| {
            let again = again.remove(&key).unwrap_or_else(Verdict::same);
            (key, verdict.and(again))
        };
        Ok(Some(verdicts.into_iter().map(both).collect()))
    }

    fn judge(&self, rounds: &[[Times; 2]], decisions: [&Decisions; 2]) -> Verdicts {
        let mut verdicts = Verdicts::new();
        if let Some((key, ..)) = &self.graph {
            let whole = verdict(rounds, |_, times| times.total_ms);
            verdicts.insert(key.clone(), whole);
        }
        for key in self.contractions.keys() {
            let kernels = decisions.map(|decisions| kernels(decisions, key));
            let part = verdict(rounds, |side, times| {
                let of = |kernel: &usize| times.kernels_ms.get(*kernel).copied();
                kernels[side].iter().filter_map(of).sum()
            });
            verdicts.insert(key.clone(), part);
        }
        verdicts
    }

    /// Enters what was found.
    pub(super) fn record(self, table: &mut Table, mut verdicts: Verdicts) {
        let graph = self.graph.into_iter();
        let graph = graph.map(|(key, words, choice)| (true, key, words, choice));
        let contractions = self.contractions.into_iter();
        let contractions = contractions.map(|(key, (words, choice))| (false, key, words, choice));
        for (is_graph, key, [what, default], choice) in graph.chain(contractions) {
            let verdict = verdicts.remove(&key).unwrap_or_else(Verdict::same);
            let entries = match is_graph {
                true => &mut table.graphs,
                false => &mut table.contractions,
            };
            let entry = entries.entry(key);
            let entry = entry.or_insert_with(|| Entry::new(&what, &default));
            entry.record(choice, &verdict);
        }
    }
}

/// What was found, by key.
pub(super) type Verdicts = BTreeMap<String, Verdict>;

/// The next choice of a contraction: kernels first, then blocks for the best of them.
fn next_of(site: &Site, entry: Option<&Entry>, threads: usize) -> Option<String> {
    let known = |choice: &String| match entry {
        Some(entry) => entry.knows(choice),
        None => *choice == site.default.to_string(),
    };
    let mut kernels = site.kernels.iter().map(ToString::to_string);
    if let Some(choice) = kernels.find(|choice| !known(choice)) {
        return Some(choice);
    }
    let limits = site.limits(site.choice, threads).into_iter();
    let mut limits = limits.map(|choice| choice.to_string());
    limits.find(|choice| !known(choice))
}

/// Kernels of a program that run the contractions of a key, each once.
fn kernels(decisions: &Decisions, key: &str) -> Vec<usize> {
    let sites = decisions.contractions.iter().filter(|site| site.key == key);
    let mut kernels: Vec<usize> = sites.map(|site| site.kernel).collect();
    kernels.sort_unstable();
    kernels.dedup();
    kernels
}

pub(super) fn verdict(rounds: &[[Times; 2]], of: impl Fn(usize, &Times) -> f64) -> Verdict {
    let side = |side: usize| rounds.iter().map(|round| of(side, &round[side])).collect();
    Verdict::of(&Samples {
        ms: side(0),
        against_ms: side(1),
    })
}
