//! One decision: the best choice so far, and the trials that led to it.

use serde::{Deserialize, Serialize};

use super::sample::Verdict;

/// A measured decision. Choices are in words, as [`ContractChoice`] and [`GraphChoice`] read them.
///
/// [`ContractChoice`]: alula_cpu::ContractChoice
/// [`GraphChoice`]: crate::compile::GraphChoice
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What is decided, for people.
    pub what: String,
    /// What is taken without a table.
    pub default: String,
    /// The fastest choice.
    pub chosen: String,
    /// Each choice that was measured, in order.
    pub trials: Vec<Trial>,
}

/// A choice measured beside the best one before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The choice.
    pub choice: String,
    /// The one beside it.
    pub against: String,
    /// Its least time in a run of the model, in milliseconds.
    pub ms: f64,
    /// The least time of the other.
    pub against_ms: f64,
    /// How far least times of parts of the rounds lie apart, as a share of the least.
    pub noise: f64,
    /// Rounds in which both ran; 0 if both are the same program.
    pub rounds: usize,
}

impl Entry {
    pub(super) fn new(what: &str, default: &str) -> Entry {
        Entry {
            what: what.to_owned(),
            default: default.to_owned(),
            chosen: default.to_owned(),
            trials: Vec::new(),
        }
    }

    /// Whether a choice has been measured, or is what others are measured against.
    pub(super) fn knows(&self, choice: &str) -> bool {
        let mut trials = self.trials.iter();
        choice == self.default || trials.any(|trial| trial.choice == choice)
    }

    /// Adds a trial against the best choice, and takes its choice if that is faster.
    pub(super) fn record(&mut self, choice: String, verdict: &Verdict) {
        let against = self.chosen.clone();
        if verdict.is_faster() {
            self.chosen.clone_from(&choice);
        }
        // More digits are no more exact, and make a longer file.
        let round = |value: f64| (value * 1e6).round() / 1e6;
        self.trials.push(Trial {
            choice,
            against,
            ms: round(verdict.ms),
            against_ms: round(verdict.against_ms),
            noise: round(verdict.noise),
            rounds: verdict.rounds,
        });
    }

    /// How many times faster the chosen one was than the default, by way of those between.
    pub fn gain(&self) -> f64 {
        let mut gain = 1.0;
        let mut at = &self.chosen;
        for trial in self.trials.iter().rev() {
            if trial.choice == *at && *at != self.default && trial.ms > 0.0 {
                gain *= trial.against_ms / trial.ms;
                at = &trial.against;
            }
        }
        gain
    }

    /// Greatest noise of the trials.
    pub fn noise(&self) -> f64 {
        self.trials
            .iter()
            .map(|trial| trial.noise)
            .fold(0.0, f64::max)
    }

    /// What makes no sense in it, in words.
    pub(super) fn flaw(&self) -> Option<String> {
        if !self.knows(&self.chosen) {
            return Some(format!(
                "{:?} is chosen, but was never measured",
                self.chosen
            ));
        }
        let is_time = |ms: f64| ms.is_finite() && ms >= 0.0;
        let odd = self.trials.iter().find(|trial| {
            !(is_time(trial.ms) && is_time(trial.against_ms) && is_time(trial.noise))
        });
        odd.map(|trial| format!("the trial of {:?} has no sensible times", trial.choice))
    }
}
