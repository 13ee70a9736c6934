//! Developer tasks, run as `cargo xtask TASK`.

#![expect(clippy::print_stdout, reason = "a developer tool talks on stdout")]

mod codegen;
mod tidy;

use std::process::ExitCode;

/// A task: its name, what it does, and the function.
type Task = (&'static str, &'static str, fn() -> anyhow::Result<()>);

const TASKS: &[Task] = &[
    (
        "tidy",
        "check what compilers and formatters do not",
        tidy::run,
    ),
    (
        "codegen-proto",
        "regenerate the ONNX protobuf bindings",
        || codegen::run(&codegen::workspace_root()),
    ),
];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some((_, _, task)) = TASKS.iter().find(|(task_name, ..)| *task_name == name) else {
        eprintln!("usage: cargo xtask TASK");
        for (task_name, summary, _) in TASKS {
            eprintln!("  {task_name:<16}{summary}");
        }
        return ExitCode::from(1);
    };
    match task() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
