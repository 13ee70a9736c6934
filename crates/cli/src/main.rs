//! The command line of Alula.
//!
//! Data go to stdout, everything else to stderr. Exit codes: 0 done, 1 the user's matter,
//! 2 unsupported, 3 results differ, 4 Alula's or the machine's matter.

mod args;
mod contents;
mod examples;
mod failure;
mod inputs;
mod located;
mod log;
mod manifest;
mod measure;
mod out;
mod place;
mod progress;
mod rows;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Debug, Verb};
use failure::Failure;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    // The others have a bar of their own, or measure what a bar would disturb.
    let has_bar = matches!(
        args.verb,
        Verb::Compile(_) | Verb::Run(_) | Verb::Check(_) | Verb::Explain(_)
    );
    let guard = log::start(&args.global, has_bar);
    // A panic is a bug of ours and ends like one: with a code, not an abort.
    let result = verbs::catch(|| run(&args)).unwrap_or_else(|panic| {
        Err(Failure::Internal(format!(
            "this is a bug of Alula: {panic}"
        )))
    });
    drop(guard);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(args.global.json);
            ExitCode::from(failure.code())
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let global = &args.global;
    match &args.verb {
        Verb::Compile(verb) => verbs::compile::run(verb, global),
        Verb::Run(verb) => verbs::run::run(verb, global),
        Verb::Bench(verb) => verbs::bench::run(verb, global),
        Verb::Tune(verb) => verbs::tune::run(verb, global),
        Verb::Check(verb) => verbs::check::run(verb, global),
        Verb::Compare(verb) => verbs::compare::run(verb, global),
        Verb::Explain(verb) => verbs::explain::run(verb, global),
        Verb::Inspect(verb) => verbs::inspect::run(verb, global),
        Verb::Opt(verb) => verbs::opt::run(verb, global),
        Verb::Debug(Debug::Bisect(verb)) => verbs::bisect::run(verb, global),
        Verb::Devices => verbs::devices::run(global),
        Verb::Completions { shell } => {
            verbs::completions(*shell, global);
            Ok(())
        }
        Verb::Corpus(verb) => verbs::corpus::run(verb, global),
        Verb::Conformance(verb) => verbs::conformance::run(verb, global),
    }
}
