//! What each verb does: a file a verb.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod compile;
pub(crate) mod conformance;
pub(crate) mod corpus;
pub(crate) mod devices;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod opt;
pub(crate) mod run;

use std::path::{Path, PathBuf};

use alula::{Fusion, FusionPlan, Model, ModelBuilder, Precision, Target};
use clap::CommandFactory;

use crate::args::{Args, Compiling};
use crate::failure::Failure;

/// A builder that follows the options.
pub(crate) fn builder(model: &Path, compiling: &Compiling) -> ModelBuilder {
    let mut builder = Model::builder(model)
        .threads(compiling.threads)
        .optimize(optimize_options(compiling))
        .verify(compiling.verify);
    for (name, extent) in &compiling.dim {
        builder = builder.dim(name, *extent);
    }
    for (name, shape) in &compiling.shape {
        builder = builder.shape(name, shape.clone());
    }
    builder
}

/// What the options say of the optimizer.
pub(crate) fn optimize_options(compiling: &Compiling) -> alula::opt::Options {
    alula::opt::Options {
        disabled: compiling.disable_rule.iter().cloned().collect(),
        only: match compiling.only_rule.as_slice() {
            [] => None,
            rules => Some(rules.iter().cloned().collect()),
        },
        ..alula::opt::Options::default()
    }
}

/// Opens an artifact or compiles a model.
pub(crate) fn open(
    model: &Path,
    target: Target,
    precision: Precision,
    fusion: Fusion,
    compiling: &Compiling,
) -> Result<Model, Failure> {
    if alula::is_artifact(model)? {
        return Ok(Model::from_artifact(model)?.with_threads(compiling.threads));
    }
    let builder = builder(model, compiling)
        .target(target)
        .precision(precision)
        .fusion(fusion);
    Ok(builder.compile()?)
}

/// Where the data of a large constant lies, beside the text that names it by its hash.
pub(crate) fn blob(text: &Path, hash: &str) -> PathBuf {
    let folder = text.parent().unwrap_or(Path::new("."));
    folder
        .join("blobs")
        .join(format!("{}.bin", file_name(hash)))
}

/// A fusion plan in a file.
pub(crate) fn fusion_plan(file: &Path) -> Result<FusionPlan, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::io(file, &error))?;
    let plan = text.parse::<FusionPlan>();
    plan.map_err(|error| Failure::user(format!("{}: {error}", file.display())))
}

/// The folder of test data: as given, `$ALULA_CACHE` or `~/.cache/alula`.
pub(crate) fn cache(given: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return Ok(path.clone());
    }
    if let Some(path) = std::env::var_os("ALULA_CACHE") {
        return Ok(path.into());
    }
    let home = std::env::var_os("HOME");
    let home = home.ok_or_else(|| Failure::user("there is no home folder: give --cache"))?;
    Ok(PathBuf::from(home).join(".cache/alula"))
}

/// Runs something that must not panic; what it says if it does.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    caught.map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without words").to_owned()
    })
}

/// A name as part of a file's name: other characters than letters, digits, `.`, `_` and `-`
/// become `_`.
pub(crate) fn file_name(name: &str) -> String {
    let keeps = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.chars()
        .map(|c| if keeps(c) { c } else { '_' })
        .collect()
}

/// Prints a completion script.
pub(crate) fn completions(shell: clap_complete::Shell) {
    let mut command = Args::command();
    clap_complete::generate(shell, &mut command, "alula", &mut std::io::stdout());
}
