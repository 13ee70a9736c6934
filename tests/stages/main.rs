//! Files of text in which something stands beside what a stage makes of it, each in the folder of
//! the stage's name: `import` of models, `infer`, `opt`, `expand`, `fusion`, `kernel`, `plan` and
//! `run` of graphs, `launch` and `emit` of kernels. A file's first line names the stage, with its
//! options.
//!
//! Every graph of `fusion`, `kernel` and `plan` runs on every target besides, as those of `run`
//! do; every kernel of `emit` as those of `launch` do. A target that refuses one is named in the
//! expectation.

mod import;
mod launch;
mod lowered;
mod run;
mod text;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use alula_testkit::filetest;
use alula_tests::backends::{Backend, Devices};
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let devices = Arc::new(Devices::open());
    if let Some(reason) = devices.lacks_wgpu() {
        alula_testkit::skip("stages::wgpu", reason);
    }
    let mut trials = Vec::new();
    for name in [
        "import", "infer", "opt", "expand", "fusion", "kernel", "plan", "run", "launch", "emit",
    ] {
        let devices = Arc::clone(&devices);
        let stage = move |stage: &str, text: &str| stage_of(stage, text, &devices);
        trials.extend(filetest::trials(&folder.join(name), stage));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn stage_of(stage: &str, text: &str, devices: &Devices) -> Result<String, String> {
    let mut words = stage.split_whitespace();
    let name = words.next().unwrap_or_default();
    let options: Vec<&str> = words.collect();
    match name {
        "import" => import::imported(text),
        "infer" => text::infer(text),
        "opt" => text::optimized(text),
        "expand" => text::expanded(text),
        "run" => run::run(text, devices).map(|ran| ran.outputs + &ran.refusals),
        "fusion" | "kernel" | "plan" => {
            let ran = run::run(text, devices)?;
            let shown = match name {
                "fusion" => lowered::fusion(text, &options)?,
                "kernel" => lowered::kernels(text, &options)?,
                _ => lowered::plan(text, &options)?,
            };
            Ok(shown + &ran.refusals)
        }
        "launch" => launch::run(text, devices).map(|ran| ran.outputs + &ran.refusals),
        "clif" => launch::print(text, Backend::Cpu, devices),
        "wgsl" => launch::print(text, Backend::Wgpu, devices),
        "ptx" => launch::print(text, Backend::Cuda, devices),
        _ => Err(format!("there is no stage {name}")),
    }
}
