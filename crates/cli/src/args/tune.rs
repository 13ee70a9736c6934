//! The words of `alula tune`.

use std::path::PathBuf;

use alula::{Precision, Target};

use super::Importing;

#[derive(Debug, clap::Args)]
pub(crate) struct Tune {
    /// The ONNX model
    pub(crate) model: PathBuf,
    /// For what; only cpu is measured
    #[arg(long, default_value_t)]
    pub(crate) target: Target,
    /// How exact contractions of f32 are at least: highest, high, medium
    #[arg(long, default_value_t)]
    pub(crate) precision: Precision,
    /// Threads, for compiling and running; 0 takes one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,
    /// Stop after so many seconds; the next call goes on
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) budget: f64,
    /// Seed of inputs that are made up, and of the order of runs
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The table to fill, which may hold other models of this CPU and number of threads; by default
    /// the model's name with .tuned.json
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) importing: Importing,
    /// Do not apply a rewrite rule or pass
    #[arg(long, value_name = "NAME")]
    pub(crate) disable_rule: Vec<String>,
    /// Apply no other rewrite rules
    #[arg(long, value_name = "NAME")]
    pub(crate) only_rule: Vec<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    seconds.ok_or_else(|| format!("{text:?} is no number of seconds"))
}
