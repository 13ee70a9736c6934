//! The search: which choice is measured next, for how long, and when to stop.
//!
//! First the graph, whose choice decides what contractions there are; then all contractions at
//! once, the next untried choice of each in one program beside the program of the best choices.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bench::{Bench, Times};
use super::column::{Column, verdict};
use super::entry::Entry;
use super::sample::{Verdict, least};
use super::table::Table;
use crate::Error;
use crate::compile::{Choices, Decisions};

/// Rounds of a trial at least, a multiple of the parts that noise is known by.
const ROUNDS_MIN: usize = 12;
/// Rounds of a trial at most.
const ROUNDS_MAX: usize = 200;
/// How long a trial goes on beyond the fewest rounds.
const TRIAL: Duration = Duration::from_millis(1500);
/// A graph that takes so many times as long after some rounds loses at once.
const HOPELESS: f64 = 1.3;
/// Rounds after which that is looked at.
const ROUNDS_FIRST: usize = 4;

/// How to search.
#[derive(Clone, Debug)]
pub struct Search {
    /// When to stop, counted from when the bench was made. A trial that has too few rounds by then
    /// is dropped, and measured when the search goes on. What seems faster is measured again, and
    /// at the end the whole model, beyond the budget if need be.
    pub budget: Duration,
    /// Decides which of two programs runs first in each round.
    pub seed: u64,
    /// Threads that run the programs.
    pub threads: usize,
}

/// What the search tells while it goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A trial begins: what is decided, and the choice, or how many of them.
    Begins(String),
    /// A trial ended, and the table holds it: time to store it.
    Ended,
    /// Time passed.
    Elapsed(Duration),
}

/// What a search came to, for the model at hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Whether nothing is left to measure.
    pub is_complete: bool,
    /// Trials of this search.
    pub trials: usize,
    /// Entries of the model's graph and contractions, by key, those without trials left out.
    pub graphs: Vec<String>,
    /// In the order of launches.
    pub contractions: Vec<String>,
    /// The whole model, if any choice is not the default and there was time.
    pub whole: Option<Whole>,
}

/// The model without choices and with them, run in turns.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// Least time without, in milliseconds.
    pub default_ms: f64,
    /// Least time with the choices, in milliseconds.
    pub tuned_ms: f64,
    /// How far least times of parts of the rounds lie apart, as a share of the least.
    pub noise: f64,
}

/// Measures what the table does not hold of a model yet, until that is done or time is up. `tell`
/// is given the table after each trial; an error of it ends the search.
///
/// # Errors
/// As compiling and running; [`Error::Table`] for choices in the table that do not fit the model.
pub fn search<B: Bench>(
    bench: &mut B,
    table: &mut Table,
    options: &Search,
    tell: &mut dyn FnMut(&Told, &Table) -> Result<(), Error>,
) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    let mut best: Option<(Choices, B::Subject, Decisions)> = None;
    loop {
        let choices = table.choices()?;
        let (choices, subject, decisions) = match best.take() {
            Some(known) if known.0 == choices => known,
            known => {
                // Two models at once are enough memory.
                drop(known);
                let (subject, decisions) = bench.prepare(&choices)?;
                (choices, subject, decisions)
            }
        };
        let column = Column::next(table, &decisions, options.threads);
        if column.is_empty() {
            outcome.is_complete = true;
        }
        if column.is_empty() || bench.elapsed() >= options.budget {
            outcome.list(table, &decisions);
            drop(subject);
            outcome.whole = whole(bench, table, &outcome, options)?;
            return Ok(outcome);
        }
        tell(&Told::Begins(column.describe()), table)?;
        let (rival, of_rival) = bench.prepare(&column.added_to(&choices))?;
        let mut told = |elapsed| tell(&Told::Elapsed(elapsed), table);
        let verdicts = if bench.fingerprint(&rival) == bench.fingerprint(&subject) {
            Some(column.same())
        } else {
            let mut trial = Trial {
                bench: &mut *bench,
                subjects: [&rival, &subject],
                seed: options.seed ^ (table.trials() as u64) << 32,
                kernels: column.graph.is_none(),
            };
            let of = [&of_rival, &decisions];
            column.verdicts(&mut trial, of, options.budget, &mut told)?
        };
        best = Some((choices, subject, decisions));
        // Without enough rounds the next search measures this.
        if let Some(verdicts) = verdicts {
            column.record(table, verdicts);
            outcome.trials += 1;
            tell(&Told::Ended, table)?;
        }
    }
}

/// Two programs in turns: the tried one and the best one.
pub(super) struct Trial<'t, B: Bench> {
    bench: &'t mut B,
    subjects: [&'t B::Subject; 2],
    seed: u64,
    kernels: bool,
}

impl<B: Bench> Trial<'_, B> {
    /// Times by round; `None` if there was no time for enough of them.
    pub(super) fn rounds(
        &mut self,
        budget: Duration,
        tell: &mut dyn FnMut(Duration) -> Result<(), Error>,
    ) -> Result<Option<Vec<[Times; 2]>>, Error> {
        // What is packed and sized at a first run is not what later ones do.
        for subject in self.subjects {
            self.bench.run(subject, self.kernels)?;
        }
        let began = self.bench.elapsed();
        let mut rounds: Vec<[Times; 2]> = Vec::new();
        loop {
            rounds.push(self.round(rounds.len())?);
            let now = self.bench.elapsed();
            tell(now)?;
            let count = rounds.len();
            let is_long = now.saturating_sub(began) >= TRIAL || count >= ROUNDS_MAX;
            if count >= ROUNDS_MIN && (is_long || now >= budget) {
                return Ok(Some(rounds));
            }
            if count == ROUNDS_FIRST && !self.kernels && is_hopeless(&rounds) {
                return Ok(Some(rounds));
            }
            if now >= budget {
                return Ok(None);
            }
        }
    }

    fn round(&mut self, round: usize) -> Result<[Times; 2], Error> {
        // Which is first is up to the seed: neither is always the one with warm caches.
        let bytes = [self.seed.to_le_bytes(), (round as u64).to_le_bytes()].concat();
        let is_swapped = blake3::hash(&bytes).as_bytes()[0] & 1 == 1;
        let mut times = [Times::default(), Times::default()];
        for side in if is_swapped { [1, 0] } else { [0, 1] } {
            times[side] = self.bench.run(self.subjects[side], self.kernels)?;
        }
        Ok(times)
    }
}

fn is_hopeless(rounds: &[[Times; 2]]) -> bool {
    let of = |side: usize| {
        let times: Vec<f64> = rounds.iter().map(|round| round[side].total_ms).collect();
        least(&times)
    };
    of(0) > of(1) * HOPELESS
}

impl Outcome {
    /// Notes the entries of the model.
    fn list(&mut self, table: &Table, decisions: &Decisions) {
        let graph = decisions.graph.iter().map(|site| site.key.clone());
        self.graphs = graph.filter(|key| table.graphs.contains_key(key)).collect();
        for site in &decisions.contractions {
            let is_new = !self.contractions.contains(&site.key);
            if is_new && table.contractions.contains_key(&site.key) {
                self.contractions.push(site.key.clone());
            }
        }
    }
}

/// The model without choices beside the model with them.
fn whole<B: Bench>(
    bench: &mut B,
    table: &Table,
    outcome: &Outcome,
    options: &Search,
) -> Result<Option<Whole>, Error> {
    let of = |entries: &BTreeMap<String, Entry>, keys: &[String]| {
        let mut entries = keys.iter().filter_map(|key| entries.get(key));
        entries.any(|entry| entry.chosen != entry.default)
    };
    let is_tuned =
        of(&table.graphs, &outcome.graphs) || of(&table.contractions, &outcome.contractions);
    if !is_tuned {
        return Ok(None);
    }
    let (default, _) = bench.prepare(&Choices::default())?;
    let (tuned, _) = bench.prepare(&table.choices()?)?;
    let mut trial = Trial {
        bench,
        subjects: [&tuned, &default],
        seed: options.seed,
        kernels: false,
    };
    let rounds = trial.rounds(Duration::MAX, &mut |_| Ok(()))?;
    Ok(rounds.map(|rounds| {
        let Verdict {
            ms,
            against_ms,
            noise,
            ..
        } = verdict(&rounds, |_, times| times.total_ms);
        Whole {
            default_ms: against_ms,
            tuned_ms: ms,
            noise,
        }
    }))
}
