//! `alula opt`: rules on a graph in its text form; kernels in the words of a target.

use crate::args::{Global, Opt};
use crate::failure::Failure;
use crate::located::{self, Label};
use crate::out;

pub(crate) fn run(args: &Opt, global: &Global) -> Result<(), Failure> {
    let text =
        std::fs::read_to_string(&args.file).map_err(|error| Failure::io(&args.file, &error))?;
    if is_kernel(&text) {
        return kernels(args, &text, global);
    }
    let parsed = alula::ir::parse(&text, alula::ops::registry(), &|hash| {
        std::fs::read(super::blob(&args.file, hash)).ok()
    });
    let mut graph = parsed.map_err(|error| {
        let message = format!("the text is no graph: {}", error.reason);
        let label = Label::word(&text, error.offset, error.reason);
        located::failure(&args.file, &text, message, vec![label])
    })?;
    if let Err(errors) = graph.verify() {
        let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
        let labels = errors
            .iter()
            .filter_map(|error| broken(&graph, &text, error));
        let message = format!("the graph does not verify:{lines}");
        return Err(located::failure(
            &args.file,
            &text,
            message,
            labels.collect(),
        ));
    }
    if !args.parse_only {
        let options = alula::opt::Options {
            only: match args.rule.as_slice() {
                [] => None,
                rules => Some(rules.iter().cloned().collect()),
            },
            verify: true,
            ..alula::opt::Options::default()
        };
        let report = alula::opt::optimize(&mut graph, &options).map_err(alula::Error::from)?;
        for (rule, count) in &report.fires {
            tracing::info!("{rule} was applied {count} times");
        }
    }
    if global.json {
        out::line(serde_json::json!({"graph": graph.to_string()}));
    } else {
        out::line(graph);
    }
    Ok(())
}

/// Where a graph's text defines the value that an error is about.
fn broken(graph: &alula::ir::Graph, text: &str, error: &alula::ir::VerifyError) -> Option<Label> {
    let node = graph.nodes().into_iter().find(|id| {
        let node = graph.node(*id);
        error.place == format!("{} {:?}", node.op.name, node.name)
    })?;
    let result = *graph.node(node).results.first()?;
    let name = graph.value(result).name.clone()?;
    let defined = format!("%{name} ");
    let line = text.lines().position(|line| {
        let line = line.trim_start();
        line.starts_with(&defined) || line.starts_with(&format!("%{name},"))
    })?;
    Some(Label::line(text, line + 1, error.broken.clone()))
}

/// Puts kernels into the words of a target.
fn kernels(args: &Opt, text: &str, global: &Global) -> Result<(), Failure> {
    let legal = alula::compile::stages::legalize_text(text, args.target);
    let legal = legal.map_err(|error| {
        let (message, label) = match error.kernel {
            None => (
                format!("the text is no kernel: {}", error.reason),
                Label::at(text, error.line, error.column, error.reason),
            ),
            Some(kernel) => (
                format!("kernel {kernel}: {}", error.reason),
                Label::line(text, error.line, error.reason),
            ),
        };
        located::failure(&args.file, text, message, vec![label])
    })?;
    if global.json {
        out::line(serde_json::json!({"kernels": legal}));
    } else {
        out::line(legal.trim_end());
    }
    Ok(())
}

/// Whether the first word that is no comment introduces a kernel or what becomes one.
fn is_kernel(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(';'));
    let words = ["kernel ", "compute ", "contract "];
    first.is_some_and(|line| words.iter().any(|word| line.starts_with(word)))
}
