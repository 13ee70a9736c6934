//! Graphs in text with what they compute, on every stage and target.
//!
//! Inputs are drawn from a seed; `; bind: N = 3, M = 0` gives symbols their values, once for each
//! such line, else each symbol is 3. The expectation shows the outputs of the reference; besides,
//! every fusion strategy on every target must give the same.

use std::collections::BTreeMap;

use alula_ir::Graph;
use alula_lower::build::Policy;
use alula_lower::cluster::Strategy;
use alula_lower::layout::Layouts;
use alula_tensor::{Scalar, Symbol, Tensor};
use alula_testkit::SplitMix64;
use alula_tests::backends::Devices;
use alula_tests::differential::{Checked, Source, Stage, Target, check, references};
use alula_tests::random::{Case, Draw, draw};

use super::text::graph;

/// Most elements of an output that are shown.
const SHOWN_MAX: usize = 24;

/// Every way through the pipeline.
fn stages() -> Vec<Stage> {
    let mut stages = Vec::new();
    for source in [Source::Plain, Source::Optimized] {
        for strategy in Strategy::ALL {
            for target in [
                Target::Cpu(1),
                Target::Built(Policy::Naive),
                Target::Built(Policy::Gpu { lanes: 64 }),
                Target::Legal(Layouts::RowMajor),
                Target::Legal(Layouts::ChannelsLast),
            ] {
                stages.push(Stage {
                    source,
                    strategy,
                    target,
                });
            }
        }
    }
    for target in [Target::Reference, Target::Cpu(2), Target::Ptx, Target::Wgpu] {
        stages.push(Stage {
            source: Source::Optimized,
            strategy: Strategy::Auto,
            target,
        });
    }
    for target in [Target::Ptx, Target::Wgpu] {
        stages.push(Stage {
            source: Source::Plain,
            strategy: Strategy::None,
            target,
        });
    }
    stages
}

/// What came of running something everywhere.
pub(crate) struct Ran {
    /// The outputs of the reference, a line each.
    pub(crate) outputs: String,
    /// A line for each target that refused.
    pub(crate) refusals: String,
}

pub(crate) fn run(text: &str, devices: &Devices) -> Result<Ran, String> {
    let graph = graph(text)?;
    let bindings = bindings(text)?;
    let feeds = bindings
        .iter()
        .map(|binding| feed(&graph, binding))
        .collect::<Result<Vec<_>, _>>()?;
    let case = Case { graph, feeds };
    let expected = references(&case);
    let mut refusals = String::new();
    for stage in stages() {
        let checked = check(&case, &expected, stage, devices)
            .map_err(|failure| format!("{stage:?}: {}: {}", failure.kind, failure.message))?;
        if let Checked::Refused(why) = checked {
            let target = match stage.target {
                Target::Wgpu => "wgpu".to_owned(),
                Target::Ptx => "cuda".to_owned(),
                other => format!("{other:?}"),
            };
            let strategy = stage.strategy.name();
            refusals.push_str(&format!("{target} refuses, {strategy}: {why}\n"));
        }
    }
    let mut shown = String::new();
    for (binding, outputs) in bindings.iter().zip(&expected) {
        let names: Vec<String> = binding.iter().map(|(s, v)| format!("{s} = {v}")).collect();
        if !names.is_empty() {
            shown.push_str(&format!("; with {}\n", names.join(", ")));
        }
        let Some(outputs) = outputs else {
            shown.push_str("refused\n");
            continue;
        };
        for ((name, _), value) in case.graph.outputs().iter().zip(outputs) {
            match value.as_tensor() {
                Some(tensor) => shown.push_str(&format!("{name}: {}\n", show(tensor))),
                None => shown.push_str(&format!("{name}: {}\n", value.describe())),
            }
        }
    }
    Ok(Ran {
        outputs: shown,
        refusals,
    })
}

/// The bindings that the text asks for.
pub(super) fn bindings(text: &str) -> Result<Vec<BTreeMap<Symbol, i64>>, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("; bind:"));
    let mut bindings = Vec::new();
    for line in lines {
        let pair = |pair: &str| -> Result<(Symbol, i64), String> {
            let (name, value) = pair.split_once('=').ok_or("a binding is NAME = VALUE")?;
            let value = value.trim().parse().map_err(|_| "no number".to_owned())?;
            Ok((Symbol::new(name.trim()), value))
        };
        bindings.push(line.split(',').map(pair).collect::<Result<_, _>>()?);
    }
    if bindings.is_empty() {
        bindings.push(BTreeMap::new());
    }
    Ok(bindings)
}

fn feed(
    graph: &Graph,
    binding: &BTreeMap<Symbol, i64>,
) -> Result<Vec<alula_ir::HostValue>, String> {
    let mut random = SplitMix64::new(7);
    let input = |id: &alula_ir::ValueId| {
        let ty = graph.ty(*id).as_tensor().ok_or("inputs are tensors")?;
        let known = |symbol: &Symbol| Some(binding.get(symbol).copied().unwrap_or(3));
        let shape = ty.shape.iter().map(|dim| {
            let extent = dim.eval(&known).map_err(|error| error.to_string())?;
            usize::try_from(extent).map_err(|error| error.to_string())
        });
        let shape: Vec<usize> = shape.collect::<Result<_, String>>()?;
        Ok(draw(&mut random, ty.dtype, &shape, Draw::of(ty.dtype)).into())
    };
    graph.inputs().iter().map(input).collect()
}

/// A tensor's type and its first elements.
pub(super) fn show(tensor: &Tensor) -> String {
    let values = tensor.to_scalars();
    let number = |value: &Scalar| match value {
        Scalar::Float(x) => format!("{x:.5}"),
        Scalar::Int(x) => x.to_string(),
    };
    let shown: Vec<String> = values.iter().take(SHOWN_MAX).map(number).collect();
    let rest = if values.len() > SHOWN_MAX { ", .." } else { "" };
    format!("{} [{}{rest}]", tensor.ty(), shown.join(", "))
}
