//! Topological order that is stable: of all vertices that are ready, the oldest comes first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};

/// All vertices, each after its predecessors, and `after` after `before` for each pair
/// `(before, after)`.
pub(crate) fn topological<N, E>(
    net: &StableDiGraph<N, E>,
    pairs: &[(NodeIndex, NodeIndex)],
) -> Vec<NodeIndex> {
    let bound = net.node_indices().last().map_or(0, |last| last.index() + 1);
    let mut waiting = vec![0_usize; bound];
    let mut ready = BinaryHeap::new();
    let mut also: BTreeMap<NodeIndex, Vec<NodeIndex>> = BTreeMap::new();
    for (before, after) in pairs {
        waiting[after.index()] += 1;
        also.entry(*before).or_default().push(*after);
    }
    for index in net.node_indices() {
        waiting[index.index()] += net.edges_directed(index, Direction::Incoming).count();
        if waiting[index.index()] == 0 {
            ready.push(Reverse(index));
        }
    }
    let mut order = Vec::with_capacity(net.node_count());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        let behind = also.remove(&index).unwrap_or_default();
        for next in net.neighbors(index).chain(behind) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    order
}
