//! What each verb does: a file a verb.

pub(crate) mod bench;
pub(crate) mod bisect;
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
pub(crate) mod tune;

use std::path::{Path, PathBuf};

use alula::{Fusion, FusionPlan, Model, ModelBuilder, Precision, Target};
use clap::CommandFactory;

use crate::args::{Args, Compiling, Global, Importing};
use crate::failure::Failure;
use crate::located::{self, Label};
use crate::out;

/// A builder that follows the options.
pub(crate) fn builder(
    model: &Path,
    targets: &[Target],
    compiling: &Compiling,
) -> Result<ModelBuilder, Failure> {
    let mut builder = importer(model, &compiling.importing)
        .threads(compiling.threads)
        .optimize(optimize_options(
            &compiling.disable_rule,
            &compiling.only_rule,
        ))
        .verify(compiling.verify);
    for target in targets {
        builder = builder.target(*target);
    }
    if let Some(table) = &compiling.table {
        if !targets.contains(&Target::Cpu) {
            let text = "--table holds schedules of target cpu, which is not asked for";
            return Err(Failure::user(text));
        }
        builder = builder.table(table)?;
    }
    Ok(builder)
}

/// A builder that follows the options of the import.
pub(crate) fn importer(model: &Path, importing: &Importing) -> ModelBuilder {
    let mut limits = alula::onnx::ImportLimits::default();
    if let Some(bytes) = importing.max_file_bytes {
        limits.file_bytes = bytes;
    }
    if let Some(nodes) = importing.max_nodes {
        limits.nodes = nodes;
    }
    if let Some(depth) = importing.max_depth {
        limits.depth = depth;
    }
    let mut builder = Model::builder(model).limits(limits);
    for (name, extent) in &importing.dim {
        builder = builder.dim(name, *extent);
    }
    for (name, shape) in &importing.shape {
        builder = builder.shape(name, shape.clone());
    }
    builder
}

/// What the options say of the optimizer.
pub(crate) fn optimize_options(disabled: &[String], only: &[String]) -> alula::opt::Options {
    alula::opt::Options {
        disabled: disabled.iter().cloned().collect(),
        only: match only {
            [] => None,
            rules => Some(rules.iter().cloned().collect()),
        },
        ..alula::opt::Options::default()
    }
}

/// Compiles a model.
pub(crate) fn compiled(
    model: &Path,
    target: Target,
    precision: Precision,
    fusion: Fusion,
    compiling: &Compiling,
) -> Result<Model, Failure> {
    let builder = builder(model, &[target], compiling)?
        .precision(precision)
        .fusion(fusion);
    Ok(builder.compile()?)
}

/// Opens an artifact. What was decided when it was compiled cannot be asked for any more; `asked`
/// names further options of this kind, each with whether it was given.
pub(crate) fn stored(
    file: &Path,
    compiling: &Compiling,
    asked: &[(&str, bool)],
) -> Result<Model, Failure> {
    let Importing {
        max_file_bytes,
        max_nodes,
        max_depth,
        // Extents that the artifact left open are of its inputs, too.
        shape: _,
        dim: _,
    } = &compiling.importing;
    let late = [
        ("--disable-rule", !compiling.disable_rule.is_empty()),
        ("--only-rule", !compiling.only_rule.is_empty()),
        ("--table", compiling.table.is_some()),
        ("--max-file-bytes", max_file_bytes.is_some()),
        ("--max-nodes", max_nodes.is_some()),
        ("--max-depth", max_depth.is_some()),
    ];
    let late: Vec<&str> = asked
        .iter()
        .chain(&late)
        .filter(|(_, is_given)| *is_given)
        .map(|(name, _)| *name)
        .collect();
    if !late.is_empty() {
        return Err(Failure::user(format!(
            "{} is an artifact, which is compiled already: {} can only be said of a model",
            file.display(),
            late.join(", ")
        )));
    }
    let verify = match compiling.verify {
        true => alula::Verify::All,
        false => alula::Verify::HeaderAndCode,
    };
    Ok(Model::from_artifact_with(file, verify)?.with_threads(compiling.threads))
}

/// Refuses shapes and dims of what an artifact does not have.
pub(crate) fn check_extents(ports: &[alula::Port], importing: &Importing) -> Result<(), Failure> {
    let is_input = |name: &str| ports.iter().any(|port| port.name == name);
    if let Some((name, _)) = importing.shape.iter().find(|(name, _)| !is_input(name)) {
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        return Err(Failure::user(format!(
            "there is no input {name:?}: the model's are {}",
            names.join(", ")
        )));
    }
    let mut symbols = std::collections::BTreeSet::new();
    for ty in ports.iter().filter_map(|port| port.ty.as_tensor()) {
        for dim in &ty.shape {
            dim.collect_symbols(&mut symbols);
        }
    }
    let known = |name: &str| symbols.iter().any(|symbol| symbol.name() == name);
    if let Some((name, _)) = importing.dim.iter().find(|(name, _)| !known(name)) {
        let names: Vec<&str> = symbols.iter().map(alula::Symbol::name).collect();
        return Err(Failure::user(format!(
            "there is no dim {name:?}: those of the inputs are {}",
            names.join(", ")
        )));
    }
    Ok(())
}

/// Threads that a run on a target uses, as far as that is ours to say.
pub(crate) fn threads(asked: usize, target: Target) -> usize {
    match (target, asked) {
        (Target::Reference, _) => 1,
        (_, 0) => std::thread::available_parallelism().map_or(1, usize::from),
        (_, asked) => asked,
    }
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
    plan.map_err(|error| {
        let message = format!("the text is no fusion plan: {error}");
        let label = Label::line(&text, error.line, error.reason);
        located::failure(file, &text, message, vec![label])
    })
}

/// Points into a fusion plan, if it is what a failure is about.
pub(crate) fn in_fusion_plan(failure: Failure, file: &Path) -> Failure {
    let Failure::User(message) = &failure else {
        return failure;
    };
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut labels = Vec::new();
    for (position, line) in text.lines().enumerate() {
        let group = line.split(';').next().unwrap_or_default().trim();
        let is_group = !group.is_empty() && !group.starts_with("graph ");
        let reason = if is_group && message.contains(&format!("group {group} cannot")) {
            "cannot be one kernel"
        } else if is_group
            && (group.split(" + ")).any(|name| message.contains(&format!("no node {name:?}")))
        {
            "names a node that is not there"
        } else {
            continue;
        };
        labels.push(Label::line(&text, position + 1, reason));
    }
    match labels.is_empty() {
        true => failure,
        false => located::failure(file, &text, message.clone(), labels),
    }
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
pub(crate) fn completions(shell: clap_complete::Shell, global: &Global) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "alula", &mut script);
    let script = String::from_utf8_lossy(&script);
    if global.json {
        out::line(serde_json::json!({"shell": shell.to_string(), "script": script}));
        return;
    }
    out::line(script.trim_end());
}

/// Where schedules were measured, as data.
pub(crate) fn tuned(tuned: &alula::Tuned) -> serde_json::Value {
    serde_json::json!({"cpu": tuned.cpu, "threads": tuned.threads, "table": tuned.table})
}

/// The same in words; `None` for what was not tuned.
pub(crate) fn tuned_words(tuned: &serde_json::Value) -> Option<String> {
    let cpu = tuned["cpu"].as_str()?;
    let (threads, table) = (&tuned["threads"], tuned["table"].as_str()?);
    let decisions = match tuned["decisions"].as_u64() {
        Some(decisions) => format!("; {decisions} decisions are from it"),
        None => String::new(),
    };
    Some(format!(
        "for {cpu}, {threads} threads, by table {table}{decisions}"
    ))
}
