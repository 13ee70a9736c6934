//! The words of the command line.

mod tune;

use std::path::PathBuf;

use alula::{Fusion, Precision, Stage, Target};
use clap::{ArgAction, Parser, Subcommand};

use crate::examples;
use crate::place::Place;

pub(crate) use tune::Tune;

/// Compile ONNX models to code for processors and GPUs, and run them.
#[derive(Debug, Parser)]
#[command(name = "alula", version, max_term_width = 100, after_help = examples::ALL)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every verb.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Print data as JSON, one object a line where there are several
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Tell more on stderr: -v each stage, -vv each pass, rule and kernel, -vvv each node and step
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Write everything that happens, as a Chrome trace
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Compile a model to an artifact: one file that runs without the compiler
    #[command(after_help = examples::COMPILE)]
    Compile(Compile),
    /// Run a model or an artifact
    #[command(after_help = examples::RUN)]
    Run(Run),
    /// Measure a model or an artifact: one line for each target, precision and fusion strategy
    #[command(after_help = examples::BENCH)]
    Bench(Bench),
    /// Find the fastest schedules for a model by measuring, and store them in a table
    #[command(after_help = examples::TUNE)]
    Tune(Tune),
    /// List everything in a model that is not supported; exit code 2 if there is any
    #[command(after_help = examples::CHECK)]
    Check(Check),
    /// Run a model on several targets and compare the outputs; exit code 3 if they differ
    #[command(after_help = examples::COMPARE)]
    Compare(Compare),
    /// Say what the optimizer did, what it nearly did and why not
    #[command(after_help = examples::EXPLAIN)]
    Explain(Explain),
    /// Show inputs, outputs, operators and sizes of a model or an artifact
    #[command(after_help = examples::INSPECT)]
    Inspect(Inspect),
    /// Apply rewrite rules to a graph in its text form
    #[command(after_help = examples::OPT)]
    Opt(Opt),
    /// Find out what in Alula is to blame
    #[command(subcommand)]
    Debug(Debug),
    /// List what can run here
    Devices,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Run the corpus of real and standard models against their references
    #[command(hide = true)]
    Corpus(Corpus),
    /// Run ONNX's conformance tests
    #[command(hide = true)]
    Conformance(Conformance),
}

/// How a model is read.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Importing {
    /// Fix an input's shape, e.g. x=1x3x224x224 (a scalar: x=)
    #[arg(long, value_name = "NAME=DIMS", value_parser = shape)]
    pub(crate) shape: Vec<(String, Vec<i64>)>,
    /// Fix a symbolic dim, e.g. N=1
    #[arg(long, value_name = "NAME=N", value_parser = dim)]
    pub(crate) dim: Vec<(String, i64)>,
    /// Refuse larger models; external data do not count [default: 4 GiB]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_file_bytes: Option<u64>,
    /// Refuse models of more nodes, those of inlined functions included [default: 131072]
    #[arg(long, value_name = "N")]
    pub(crate) max_nodes: Option<usize>,
    /// Refuse models whose sub-graphs and function calls nest deeper [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) max_depth: Option<usize>,
}

/// How a model is read and compiled.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Compiling {
    #[command(flatten)]
    pub(crate) importing: Importing,
    /// Do not apply a rewrite rule or pass
    #[arg(long, value_name = "NAME")]
    pub(crate) disable_rule: Vec<String>,
    /// Apply no other rewrite rules
    #[arg(long, value_name = "NAME")]
    pub(crate) only_rule: Vec<String>,
    /// Verify the graph and the kernels after every stage; of an artifact, the weights too
    #[arg(long)]
    pub(crate) verify: bool,
    /// Threads, for compiling and running; 0 takes one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,
    /// Take schedules that alula tune measured on this CPU, for target cpu
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compile {
    /// The ONNX model
    pub(crate) model: PathBuf,
    /// The artifact; by default the model's name with .alula
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// For what
    #[arg(long, value_delimiter = ',', default_value = "cpu")]
    pub(crate) target: Vec<Target>,
    /// How exact contractions of f32 are: highest, high, medium
    #[arg(long, default_value_t)]
    pub(crate) precision: Precision,
    /// What may fuse: none, elementwise, epilogue, reduction, auto
    #[arg(long, default_value_t)]
    pub(crate) fusion: Fusion,
    /// Fuse what this file says, in place of a strategy; --emit fusion prints such a file
    #[arg(long, value_name = "FILE", conflicts_with = "fusion")]
    pub(crate) fusion_plan: Option<PathBuf>,
    /// Print stages as text instead: import, opt, prim, fusion, kernel, sched, legal, plan; clif
    /// and asm of cpu, wgsl of wgpu, ptx of cuda
    #[arg(long, value_delimiter = ',', value_name = "STAGE")]
    pub(crate) emit: Vec<Stage>,
    /// Write stages to this folder instead, a file for each and for each kernel; without --emit,
    /// all of them
    #[arg(long, value_name = "DIR")]
    pub(crate) emit_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) compiling: Compiling,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// An ONNX model or an artifact
    pub(crate) model: PathBuf,
    /// On what; `reference` evaluates operators one by one, slowly and independently
    #[arg(long, default_value_t)]
    pub(crate) target: Target,
    /// What may fuse: none, elementwise, epilogue, reduction, auto [default: auto]
    #[arg(long)]
    pub(crate) fusion: Option<Fusion>,
    /// Fuse what this file says, in place of a strategy
    #[arg(long, value_name = "FILE", conflicts_with = "fusion")]
    pub(crate) fusion_plan: Option<PathBuf>,
    /// An input's value: an .npy or ONNX .pb file
    #[arg(long, value_name = "NAME=FILE", value_parser = name_and_file)]
    pub(crate) input: Vec<(String, PathBuf)>,
    /// Make up the other inputs, the same for the same seed
    #[arg(long, value_name = "SEED")]
    pub(crate) random: Option<u64>,
    /// Write outputs to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// npy: NAME.npy; pb: output_K.pb, ONNX messages, for every dtype
    #[arg(long, value_enum, default_value = "npy")]
    pub(crate) output_format: Format,
    /// Measure every step and print the slowest
    #[arg(long)]
    pub(crate) profile: bool,
    /// Write the steps' times as a Chrome trace
    #[arg(long, value_name = "FILE")]
    pub(crate) profile_trace: Option<PathBuf>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) deadline: Option<f64>,
    /// Most scalar evaluations of a kernel, about: what asks for more is refused before it starts
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_work: Option<u64>,
    /// Most iterations of a loop
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_trips: Option<u64>,
    /// Most bytes of memory of the run, inputs and weights not counted; by default three quarters
    /// of what is free, at most 64 GiB
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_bytes: Option<u64>,
    #[command(flatten)]
    pub(crate) compiling: Compiling,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Format {
    Npy,
    Pb,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// An ONNX model or an artifact
    pub(crate) model: PathBuf,
    /// On what
    #[arg(long, value_delimiter = ',', default_value = "cpu")]
    pub(crate) target: Vec<Target>,
    /// How long to measure, in seconds
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    pub(crate) duration: f64,
    /// Print the slowest steps of each row, with the least time of each step of many runs
    #[arg(long)]
    pub(crate) profile: bool,
    /// How exact contractions of f32 are [default: highest]
    #[arg(long, value_delimiter = ',')]
    pub(crate) precision: Vec<Precision>,
    /// What may fuse; `all` for each strategy [default: auto]
    #[arg(long, value_delimiter = ',')]
    pub(crate) fusion: Vec<String>,
    #[command(flatten)]
    pub(crate) compiling: Compiling,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The ONNX model
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) importing: Importing,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// The ONNX model
    pub(crate) model: PathBuf,
    /// The first is what the others are compared to
    #[arg(long, value_delimiter = ',', default_value = "reference,cpu")]
    pub(crate) targets: Vec<Target>,
    /// Largest error allowed, over the largest element of the output
    #[arg(long, default_value_t = 1e-4)]
    pub(crate) bound: f64,
    /// An input's value: an .npy or ONNX .pb file
    #[arg(long, value_name = "NAME=FILE", value_parser = name_and_file)]
    pub(crate) input: Vec<(String, PathBuf)>,
    /// Seed of the inputs that are made up
    #[arg(long, default_value_t = 0)]
    pub(crate) random: u64,
    #[command(flatten)]
    pub(crate) compiling: Compiling,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The ONNX model
    pub(crate) model: PathBuf,
    /// For what
    #[arg(long, default_value_t)]
    pub(crate) target: Target,
    /// What may fuse: none, elementwise, epilogue, reduction, auto
    #[arg(long, default_value_t)]
    pub(crate) fusion: Fusion,
    /// How exact contractions of f32 are to be: highest, high, medium
    #[arg(long, default_value_t)]
    pub(crate) precision: Precision,
    /// Show every near miss, not only how many
    #[arg(long)]
    pub(crate) near_misses: bool,
    #[command(flatten)]
    pub(crate) compiling: Compiling,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// An ONNX model or an artifact
    pub(crate) model: PathBuf,
    /// Only this target of an artifact
    #[arg(long)]
    pub(crate) target: Option<Target>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Opt {
    /// A graph in its text form; or kernels, which are put into the words of --target
    pub(crate) file: PathBuf,
    /// The target whose words kernels are put into
    #[arg(long, default_value_t)]
    pub(crate) target: Target,
    /// Apply only these rules; without any, the whole pipeline
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Vec<String>,
    /// Only parse, verify and print
    #[arg(long)]
    pub(crate) parse_only: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Corpus {
    /// The folder that tools/models/setup.py filled; by default $ALULA_CACHE or ~/.cache/alula
    #[arg(long)]
    pub(crate) cache: Option<PathBuf>,
    /// On what
    #[arg(long, value_delimiter = ',', default_value = "cpu")]
    pub(crate) target: Vec<Target>,
    /// How exact contractions of f32 are, which decides how far outputs may be off
    #[arg(long, default_value_t)]
    pub(crate) precision: Precision,
    /// Only models whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Only check that the models are supported
    #[arg(long)]
    pub(crate) check: bool,
    /// Through a saved artifact
    #[arg(long)]
    pub(crate) artifact: bool,
    /// With --artifact: its outputs are those of the model that was compiled, bit by bit
    #[arg(long, requires = "artifact")]
    pub(crate) exact: bool,
    /// Threads
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Conformance {
    /// The folder that tools/models/setup.py filled; by default $ALULA_CACHE or ~/.cache/alula
    #[arg(long)]
    pub(crate) cache: Option<PathBuf>,
    /// On what: targets, or ptx for CUDA's code in the interpreter
    #[arg(long, value_delimiter = ',', default_value = "cpu")]
    pub(crate) target: Vec<Place>,
    /// How exact contractions of f32 are: highest, high, medium
    #[arg(long, default_value_t)]
    pub(crate) precision: Precision,
    /// Generated cases of single operators instead, which two other evaluators judge
    #[arg(long)]
    pub(crate) judged: bool,
    /// Only tests whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Write the outcome of each test to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// Write the score to this file: a table of operators, and what each refusal lacks
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Debug {
    /// Find the fewest rules and passes that change an output, and the rewrite that does
    #[command(after_help = examples::BISECT)]
    Bisect(Bisect),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Bisect {
    /// The ONNX model
    pub(crate) model: PathBuf,
    /// On what it runs, with rules and without
    #[arg(long, default_value_t)]
    pub(crate) target: Target,
    /// Largest change allowed, over the largest element of the output
    #[arg(long, default_value_t = 1e-4)]
    pub(crate) bound: f64,
    /// An input's value: an .npy or ONNX .pb file
    #[arg(long, value_name = "NAME=FILE", value_parser = name_and_file)]
    pub(crate) input: Vec<(String, PathBuf)>,
    /// Seed of the inputs that are made up
    #[arg(long, default_value_t = 0)]
    pub(crate) random: u64,
    #[command(flatten)]
    pub(crate) importing: Importing,
    /// Threads; 0 takes one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,
}

fn pair(text: &str) -> Result<(&str, &str), String> {
    // Names may hold '=', values may not.
    text.rsplit_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "want NAME=VALUE".to_owned())
}

fn name_and_file(text: &str) -> Result<(String, PathBuf), String> {
    // A file may hold '=': the first one ends the name.
    let (name, file) = text.split_once('=').ok_or("want NAME=FILE")?;
    Ok((name.to_owned(), PathBuf::from(file)))
}

fn dim(text: &str) -> Result<(String, i64), String> {
    let (name, value) = pair(text)?;
    Ok((name.to_owned(), extent(value)?))
}

fn shape(text: &str) -> Result<(String, Vec<i64>), String> {
    let (name, value) = pair(text)?;
    let extents = value.split(['x', ',']).filter(|extent| !extent.is_empty());
    let extents = extents.map(extent).collect::<Result<_, _>>()?;
    Ok((name.to_owned(), extents))
}

fn extent(text: &str) -> Result<i64, String> {
    let extent = text.parse::<i64>().ok().filter(|extent| *extent >= 0);
    extent.ok_or_else(|| format!("{text:?} is no extent"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_words_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn shapes_and_dims_are_read() {
        assert_eq!(shape("x=1x3x4"), Ok(("x".into(), vec![1, 3, 4])));
        assert_eq!(shape("a=b="), Ok(("a=b".into(), vec![])));
        assert_eq!(dim("N=7"), Ok(("N".into(), 7)));
        assert!(dim("N=-7").is_err() && dim("N").is_err() && shape("x=1y2").is_err());
    }
}
