//! The order of rules and passes.
//!
//! Trivial no-ops go first. Patterns that need many small operators (layer normalization, GELU,
//! attention) come before the algebra that would break them; quantization is propagated before
//! batch normalizations are folded, and transpositions are cleaned up last. All of it is repeated
//! while something changes, because each step makes work for the others. In the end, operators take
//! the form that back ends are fast in, and types are annotated with what is quantized and what is
//! sparse: rules see operators, back ends see types.

use std::collections::BTreeSet;
use std::time::Instant;

use alula_ir::{Attr, Graph};

use crate::content::place_known_content;
use crate::cse::merge_equal;
use crate::engine::{RuleSet, apply_rules};
use crate::fold::{Folder, fold_constants};
use crate::options::{OptError, Options, PassReport, Report};
use crate::rules;
use crate::sparsity::annotate_sparse;

/// Rounds after which a graph is left as it is; two or three are usual.
const ROUNDS_MAX: usize = 8;

/// A step of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Content,
    Fold,
    Merge,
    Rules(&'static str),
    Sparse,
}

const STEPS: &[Step] = &[
    Step::Content,
    Step::Fold,
    Step::Rules("fold"),
    Step::Merge,
    Step::Rules("shape"),
    Step::Rules("activation"),
    Step::Rules("norm"),
    Step::Rules("attention"),
    Step::Rules("quant"),
    Step::Rules("algebra"),
    Step::Rules("conv"),
    Step::Rules("matmul"),
    Step::Rules("transpose"),
];

/// Steps when nothing changes any more.
const LAST_STEPS: &[Step] = &[Step::Rules("form"), Step::Rules("annotation"), Step::Sparse];

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Step::Content => "place_known_content",
            Step::Fold => "fold_constants",
            Step::Merge => "merge_equal",
            Step::Rules(set) => set,
            Step::Sparse => "annotate_sparse",
        }
    }
}

/// The names of the passes that options can disable, besides those of rules.
pub(crate) fn pass_names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().chain(LAST_STEPS).map(|step| step.name())
}

/// Every rule, and every pass that is more than a set of rules: what [`Options`] can leave out,
/// each under one name.
pub fn names() -> BTreeSet<&'static str> {
    let passes = STEPS.iter().filter(|step| !matches!(step, Step::Rules(_)));
    let rules = rules::all_rules().map(|rule| rule.name);
    passes.map(|step| step.name()).chain(rules).collect()
}

/// Optimises a graph and its sub-graphs.
///
/// # Errors
/// [`OptError`]: unknown names in the options, or a broken invariant if `verify` is set.
pub fn optimize(graph: &mut Graph, options: &Options) -> Result<Report, OptError> {
    let options = &options.resolved()?;
    let nodes = count_nodes(graph);
    let _span = tracing::info_span!("optimize", nodes).entered();
    let mut report = Report {
        nodes_before: nodes,
        ..Report::default()
    };
    let mut folder = Folder::new(graph, options);
    optimize_within(graph, options, &mut folder, &mut report)?;
    report.nodes_after = count_nodes(graph);
    report.folded_nodes = folder.nodes;
    report.folded_bytes = folder.bytes;
    report.fold_refused = folder.refused;
    Ok(report)
}

fn optimize_within(
    graph: &mut Graph,
    options: &Options,
    folder: &mut Folder,
    report: &mut Report,
) -> Result<(), OptError> {
    for id in graph.nodes() {
        let sub_graphs: Vec<(String, Graph)> = graph
            .node(id)
            .attrs
            .iter()
            .filter_map(|(name, attr)| match attr {
                Attr::Graph(inner) => Some((name.to_owned(), (**inner).clone())),
                _ => None,
            })
            .collect();
        for (name, mut inner) in sub_graphs {
            optimize_within(&mut inner, options, folder, report)?;
            graph.set_attr(id, &name, Attr::Graph(Box::new(inner)));
        }
    }
    let mut steps = |steps: &[Step], graph: &mut Graph| {
        let mut changes = 0;
        for step in steps {
            if !options.disabled.contains(step.name()) {
                changes += run_step(*step, graph, options, folder, report)?;
            }
        }
        Ok(changes)
    };
    let mut is_done = false;
    for _ in 0..ROUNDS_MAX {
        is_done = steps(STEPS, graph)? == 0;
        if is_done {
            break;
        }
    }
    steps(LAST_STEPS, graph)?;
    report.is_incomplete |= !is_done;
    Ok(())
}

fn run_step(
    step: Step,
    graph: &mut Graph,
    options: &Options,
    folder: &mut Folder,
    report: &mut Report,
) -> Result<usize, OptError> {
    let start = Instant::now();
    let _span = tracing::debug_span!("pass", name = step.name()).entered();
    let changes = match step {
        Step::Content => place_known_content(graph),
        Step::Fold => fold_constants(graph, folder),
        Step::Merge => merge_equal(graph),
        Step::Rules(name) => {
            let set = RuleSet::new(rules::compiled(name), options);
            apply_rules(graph, &set, options, folder, report)?
        }
        Step::Sparse => annotate_sparse(graph),
    };
    if changes > 0 {
        graph.remove_dead();
    }
    if options.verify
        && let Err(errors) = graph.verify()
    {
        return Err(OptError::Verify {
            after: step.name().to_owned(),
            errors,
        });
    }
    let time = start.elapsed();
    match report
        .passes
        .iter_mut()
        .find(|pass| pass.name == step.name())
    {
        Some(pass) => {
            pass.changes += changes;
            pass.time += time;
        }
        None => report.passes.push(PassReport {
            name: step.name(),
            changes,
            time,
        }),
    }
    Ok(changes)
}

fn count_nodes(graph: &Graph) -> usize {
    graph
        .nodes()
        .into_iter()
        .map(|id| {
            let inner = graph.node(id).attrs.iter().map(|(_, attr)| match attr {
                Attr::Graph(inner) => count_nodes(inner),
                _ => 0,
            });
            1 + inner.sum::<usize>()
        })
        .sum()
}
