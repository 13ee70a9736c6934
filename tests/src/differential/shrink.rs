//! The smallest case that fails alike.

use alula_ir::{Graph, HostValue, ValueId};

use super::evaluate::State;
use super::{Failure, check, references};
use crate::backends::Devices;
use crate::random::Case;

/// Most cases tried.
const TRIES_MAX: usize = 400;

/// A smaller case that fails in the same stage in the same way, and how it fails.
pub fn shrink(case: &Case, failure: &Failure, devices: &Devices) -> (Case, Failure) {
    let (mut case, mut failure) = (case.clone(), failure.clone());
    let mut tries = 0;
    'smaller: loop {
        for candidate in candidates(&case, &failure) {
            if tries == TRIES_MAX {
                break 'smaller;
            }
            tries += 1;
            if candidate.graph.verify().is_err() {
                continue;
            }
            let expected = references(&candidate);
            match check(&candidate, &expected, failure.stage, devices) {
                Err(found) if found.kind == failure.kind => {
                    (case, failure) = (candidate, found);
                    continue 'smaller;
                }
                _ => {}
            }
        }
        break;
    }
    (case, failure)
}

/// Smaller cases, the smallest first.
fn candidates(case: &Case, failure: &Failure) -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |graph: Option<Graph>, feeds: Vec<Vec<HostValue>>| {
        if let Some(mut graph) = graph {
            graph.remove_dead();
            all.push(Case { graph, feeds });
        }
    };
    let graph = &case.graph;
    if case.feeds.len() > 1 {
        add(Some(graph.clone()), vec![case.feeds[failure.feed].clone()]);
        return all;
    }
    if graph.outputs().len() > 1 {
        for (name, id) in graph.outputs() {
            add(
                with_outputs(graph, &[(name.clone(), *id)]),
                case.feeds.clone(),
            );
        }
    }
    let feed = &case.feeds[0];
    let mut state = State::with_inputs(graph, feed);
    if state.run().is_err() {
        return all;
    }
    for node in graph.nodes() {
        let node = graph.node(node);
        for &result in &node.results {
            // An output in place of all that follows, an input in place of all that leads to it.
            if !graph.outputs().iter().any(|(_, id)| *id == result) {
                add(
                    with_outputs(graph, &[("y".to_owned(), result)]),
                    case.feeds.clone(),
                );
            }
            let mut cut = graph.clone();
            let new = cut.input(format!("c{}", result.0), graph.ty(result).clone());
            let mut values = feed.clone();
            values.push(state.values[&result].clone());
            if cut.replace(result, new).is_ok() {
                add(Some(cut), vec![values]);
            }
            for &operand in node.operands.iter().flatten() {
                let mut without = graph.clone();
                if without.replace(result, operand).is_ok() {
                    add(Some(without), case.feeds.clone());
                }
            }
        }
    }
    all.sort_by_key(|case| case.graph.num_nodes());
    all.retain(|smaller| {
        smaller.graph.num_nodes() < graph.num_nodes()
            || smaller.graph.outputs().len() < graph.outputs().len()
    });
    all
}

/// The graph with other outputs.
fn with_outputs(graph: &Graph, outputs: &[(String, ValueId)]) -> Option<Graph> {
    let mut copy = graph.clone();
    copy.clear_outputs();
    for (name, id) in outputs {
        copy.output(name.clone(), *id);
    }
    Some(copy)
}

/// The case as text: the graph, and the elements of inputs that it uses.
pub fn describe(case: &Case) -> String {
    let mut text = case.graph.to_string();
    for feed in &case.feeds {
        for (id, value) in case.graph.inputs().iter().zip(feed) {
            if case.graph.num_uses(*id) == 0 {
                continue;
            }
            let name = case.graph.value(*id).name.clone().unwrap_or_default();
            let Some(tensor) = value.as_tensor() else {
                continue;
            };
            let values = tensor.to_f64s();
            let shown: Vec<String> = values.iter().take(48).map(|x| format!("{x:?}")).collect();
            let rest = if values.len() > 48 { ", .." } else { "" };
            text.push_str(&format!(
                "; %{name}: {} [{}{rest}]\n",
                tensor.ty(),
                shown.join(", ")
            ));
        }
    }
    text
}
