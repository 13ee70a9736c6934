//! The layout of buffers: which values lie channels-last in memory.
//!
//! A value's meaning never changes: its shape stays `[N, C, D..]`. What this pass decides is the
//! order of the axes in the buffer that holds it: as they are, or with axis 1 moved to the end
//! (`[N, D.., C]`). Items are then written anew to index the buffers as they lie: the axes of a
//! result, and the indices of loads, are permuted. So everything after this pass, loops and
//! contractions alike, still sees row-major buffers only.
//!
//! The choice is the cheapest one under the model in [`cost`]: contractions like the summed axis
//! and the columns contiguous, loops like what they load to be contiguous along what they store.
//! Costs of single values and of pairs make it a minimum cut, which is found exactly. What others
//! than kernels see is row-major: inputs, outputs, constants, operands of host functions and of
//! sub-graphs, and of views unless the view means the same in both orders. An item that reads one
//! order and writes the other converts on the fly.

mod cost;
mod cut;
mod rewrite;

use std::collections::{BTreeMap, BTreeSet};

use alula_ir::{Graph, Origin, ValueId};
use alula_tensor::Dim;

use crate::cluster::{Item, Work};

/// The layouts that a target asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Layouts {
    /// Every buffer is row-major.
    #[default]
    RowMajor,
    /// Buffers inside of the graph may lie channels-last.
    ChannelsLast,
}

/// What was decided for one plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayoutReport {
    /// Values that lie channels-last, by name, in the order in which they are made.
    pub channels_last: Vec<String>,
    /// Nodes whose kernels read one order and write the other.
    pub conversions: Vec<String>,
}

/// Chooses layouts and writes the items anew for them.
pub fn lay_out(graph: &Graph, items: &mut [Item], layouts: Layouts) -> LayoutReport {
    if layouts == Layouts::RowMajor {
        return LayoutReport::default();
    }
    let values = candidates(graph, items);
    if values.is_empty() {
        return LayoutReport::default();
    }
    let chosen = cut::solve(&cost::problem(items, &values));
    let last: BTreeSet<ValueId> = values
        .iter()
        .filter(|&(_, &position)| chosen[position])
        .map(|(&id, _)| id)
        .collect();
    let mut report = LayoutReport::default();
    for item in items.iter_mut() {
        let result = item.results.first().copied();
        if let Some(id) = result.filter(|id| last.contains(id)) {
            let name = graph.value(id).name.clone().unwrap_or_default();
            report.channels_last.push(name);
        }
        if is_mixed(graph, item, &last) {
            let node = item.nodes.last().map(|id| graph.node(*id).name.clone());
            report.conversions.push(node.unwrap_or_default());
        }
        rewrite::item(item, &last);
    }
    tracing::debug!(
        graph = graph.name,
        channels_last = report.channels_last.len(),
        conversions = report.conversions.len()
    );
    report
}

/// The order of axes in a channels-last buffer: position in memory to axis.
fn order(rank: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).collect();
    order[1..].rotate_left(1);
    order
}

fn shape(graph: &Graph, id: ValueId) -> Option<&[Dim]> {
    graph.ty(id).as_tensor().map(|ty| ty.shape.as_slice())
}

/// Whether both orders are the same bytes, or there are not two.
fn is_trivial(shape: &[Dim]) -> bool {
    shape.len() < 3 || shape[1].is(1) || shape[2..].iter().all(|dim| dim.is(1))
}

/// Whether an item has buffers of both orders among those that can lie in either.
fn is_mixed(graph: &Graph, item: &Item, last: &BTreeSet<ValueId>) -> bool {
    let mut seen = [false; 2];
    for id in item.reads().chain(item.results.iter().copied()) {
        let constant = graph.as_constant(id).is_some();
        if !constant && shape(graph, id).is_some_and(|shape| !is_trivial(shape)) {
            seen[usize::from(last.contains(&id))] = true;
        }
    }
    seen == [true, true]
}

/// Whether a view of `from` as `to` is the same in both orders: it only cuts or joins the axes
/// after the channels.
fn is_view_of_both(from: &[Dim], to: &[Dim]) -> bool {
    from.len() >= 3 && to.len() >= 3 && from[..2] == to[..2]
}

/// Values that may lie in either order, numbered.
fn candidates(graph: &Graph, items: &[Item]) -> BTreeMap<ValueId, usize> {
    let mut fixed: BTreeSet<ValueId> = graph.outputs().iter().map(|(_, id)| *id).collect();
    for origin in graph.origins().values() {
        if let Origin::Content { value, .. } | Origin::Extent { value, .. } = origin {
            fixed.insert(*value);
        }
    }
    for item in items {
        let is_free = match item.work {
            Work::Compute(_) | Work::Contract(_) => true,
            Work::View => {
                let of = |id: Option<ValueId>| id.and_then(|id| shape(graph, id));
                let (from, to) = (of(item.reads().next()), of(item.results.first().copied()));
                matches!((from, to), (Some(from), Some(to)) if is_view_of_both(from, to))
            }
            Work::Kernel(_) | Work::Host(_) | Work::Control | Work::Dims(_) => false,
        };
        if !is_free {
            fixed.extend(item.reads().chain(item.results.iter().copied()));
        }
    }
    let mut found = BTreeMap::new();
    for id in items.iter().flat_map(|item| &item.results) {
        let both = shape(graph, *id).is_some_and(|shape| !is_trivial(shape));
        if both && !fixed.contains(id) {
            let next = found.len();
            found.insert(*id, next);
        }
    }
    found
}

#[cfg(test)]
mod tests;
