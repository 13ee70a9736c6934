//! Topological order that is stable: of all vertices that are ready, the oldest comes first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};

/// All vertices, each after its predecessors.
pub(crate) fn topological<N, E>(net: &StableDiGraph<N, E>) -> Vec<NodeIndex> {
    let bound = net.node_indices().last().map_or(0, |last| last.index() + 1);
    let mut waiting = vec![0_usize; bound];
    let mut ready = BinaryHeap::new();
    for index in net.node_indices() {
        waiting[index.index()] = net.edges_directed(index, Direction::Incoming).count();
        if waiting[index.index()] == 0 {
            ready.push(Reverse(index));
        }
    }
    let mut order = Vec::with_capacity(net.node_count());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for next in net.neighbors(index) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    order
}
