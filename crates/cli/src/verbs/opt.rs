//! `alula opt`: rules on a graph in its text form.

use std::fmt;

use alula::ir::ParseError;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use crate::args::{Global, Opt};
use crate::failure::Failure;
use crate::out;

/// A parse error with the text that it points into.
#[derive(Debug)]
struct Located {
    error: ParseError,
    source: NamedSource<String>,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the text is no graph: {}", self.error.reason)
    }
}

impl std::error::Error for Located {}

impl Diagnostic for Located {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let text = self.source.inner();
        let at = self.error.offset.min(text.len());
        let rest = text.get(at..).unwrap_or_default();
        let word = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let label = LabeledSpan::new(Some(self.error.reason.clone()), at, word.max(1));
        Some(Box::new(std::iter::once(label)))
    }
}

pub(crate) fn run(args: &Opt, global: &Global) -> Result<(), Failure> {
    let text =
        std::fs::read_to_string(&args.file).map_err(|error| Failure::io(&args.file, &error))?;
    if is_kernel(&text) {
        let legal = alula::compile::stages::legalize_text(&text, args.target);
        let file = args.file.display();
        let legal = legal.map_err(|reason| Failure::user(format!("{file}: {reason}")))?;
        if global.json {
            out::line(serde_json::json!({"kernels": legal}));
        } else {
            out::line(legal.trim_end());
        }
        return Ok(());
    }
    let parsed = alula::ir::parse(&text, alula::ops::registry(), &|hash| {
        std::fs::read(super::blob(&args.file, hash)).ok()
    });
    let mut graph = parsed.map_err(|error| {
        let name = args.file.display().to_string();
        let source = NamedSource::new(name, text.clone());
        Failure::Diagnostic(Located { error, source }.into())
    })?;
    if let Err(errors) = graph.verify() {
        let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
        return Err(Failure::user(format!("the graph does not verify:{lines}")));
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

/// Whether the first word that is no comment introduces a kernel.
fn is_kernel(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(';'));
    first.is_some_and(|line| line.starts_with("kernel "))
}
