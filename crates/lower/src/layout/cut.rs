//! Two labels for each value at the least cost, by a minimum cut.

use std::collections::VecDeque;

/// Costs of labels: of each value alone, and of pairs.
#[derive(Clone, Debug, Default)]
pub(super) struct Problem {
    /// For each value the cost of being row-major and of being channels-last.
    pub(super) single: Vec<[u64; 2]>,
    /// `(a, b, cost)`: `cost[label of a][label of b]`; a label is 1 for channels-last.
    pub(super) pairs: Vec<(usize, usize, [[u64; 2]; 2])>,
}

/// More than any sum of costs.
pub(super) const NEVER: u64 = 1 << 56;

/// Whether each value is channels-last in the cheapest choice; of equal ones, that with the fewest.
///
/// A pair whose labels would rather differ than agree cannot be cut; it counts as if its first
/// value were row-major.
pub(super) fn solve(problem: &Problem) -> Vec<bool> {
    let count = problem.single.len();
    let mut network = Network::new(count + 2);
    let (source, sink) = (count, count + 1);
    // A value on the source's side is channels-last: what it would cost as row-major holds it.
    let mut single: Vec<[i64; 2]> = problem
        .single
        .iter()
        .map(|cost| cost.map(|cost| cost.min(NEVER) as i64))
        .collect();
    for &(a, b, cost) in &problem.pairs {
        let cost = cost.map(|row| row.map(|cost| cost.min(NEVER) as i64));
        let apart = cost[0][1] + cost[1][0] - cost[0][0] - cost[1][1];
        if apart < 0 {
            single[b][0] += cost[0][0];
            single[b][1] += cost[0][1];
            continue;
        }
        single[a][0] += cost[0][0];
        single[a][1] += cost[1][0];
        single[b][1] += cost[1][1] - cost[1][0];
        network.connect(b, a, apart);
    }
    for (value, cost) in single.iter().enumerate() {
        let least = cost[0].min(cost[1]);
        network.connect(source, value, cost[0] - least);
        network.connect(value, sink, cost[1] - least);
    }
    network.saturate(source, sink);
    let level = network.levels(source);
    level[..count].iter().map(Option::is_some).collect()
}

/// Arcs in pairs: `arc ^ 1` is the reverse of `arc`.
struct Network {
    heads: Vec<usize>,
    room: Vec<i64>,
    arcs_of: Vec<Vec<usize>>,
}

impl Network {
    fn new(vertices: usize) -> Network {
        Network {
            heads: Vec::new(),
            room: Vec::new(),
            arcs_of: vec![Vec::new(); vertices],
        }
    }

    fn connect(&mut self, from: usize, to: usize, room: i64) {
        if room > 0 {
            for (tail, head, room) in [(from, to, room), (to, from, 0)] {
                self.arcs_of[tail].push(self.heads.len());
                self.heads.push(head);
                self.room.push(room);
            }
        }
    }

    /// Distance of each vertex from `source` along arcs with room.
    fn levels(&self, source: usize) -> Vec<Option<usize>> {
        let mut level = vec![None; self.arcs_of.len()];
        level[source] = Some(0);
        let mut open = VecDeque::from([(source, 0)]);
        while let Some((vertex, depth)) = open.pop_front() {
            for &arc in &self.arcs_of[vertex] {
                let head = self.heads[arc];
                if self.room[arc] > 0 && level[head].is_none() {
                    level[head] = Some(depth + 1);
                    open.push_back((head, depth + 1));
                }
            }
        }
        level
    }

    /// Pushes as much as fits from `source` to `sink`, along shortest paths first.
    fn saturate(&mut self, source: usize, sink: usize) {
        loop {
            let level = self.levels(source);
            if level[sink].is_none() {
                return;
            }
            let mut next = vec![0; self.arcs_of.len()];
            while self.push(source, sink, &level, &mut next) {}
        }
    }

    /// Pushes along one path that descends by one level a step; `next` skips dead ends.
    fn push(
        &mut self,
        source: usize,
        sink: usize,
        level: &[Option<usize>],
        next: &mut [usize],
    ) -> bool {
        let mut path: Vec<usize> = Vec::new();
        let mut vertex = source;
        while vertex != sink {
            let found = self.arcs_of[vertex][next[vertex]..]
                .iter()
                .position(|&arc| {
                    let below = level[vertex].map(|depth| depth + 1);
                    self.room[arc] > 0 && level[self.heads[arc]] == below
                });
            if let Some(skipped) = found {
                next[vertex] += skipped;
                let arc = self.arcs_of[vertex][next[vertex]];
                path.push(arc);
                vertex = self.heads[arc];
                continue;
            }
            next[vertex] = self.arcs_of[vertex].len();
            let Some(arc) = path.pop() else {
                return false;
            };
            vertex = self.heads[arc ^ 1];
            next[vertex] += 1;
        }
        let amount = path.iter().map(|&arc| self.room[arc]).min().unwrap_or(0);
        for arc in path {
            self.room[arc] -= amount;
            self.room[arc ^ 1] += amount;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{NEVER, Problem, solve};

    fn cost(problem: &Problem, labels: &[bool]) -> u64 {
        let label = |value: usize| usize::from(labels[value]);
        let single = problem.single.iter().enumerate();
        let single: u64 = single.map(|(value, cost)| cost[label(value)]).sum();
        let pairs = problem.pairs.iter();
        single
            + pairs
                .map(|(a, b, cost)| cost[label(*a)][label(*b)])
                .sum::<u64>()
    }

    #[test]
    fn the_cut_is_the_least_of_all_choices() {
        let mut state = 7_u64;
        let mut draw = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let count = 1 + draw(7) as usize;
            let mut problem = Problem {
                single: (0..count).map(|_| [draw(20), draw(20)]).collect(),
                pairs: Vec::new(),
            };
            for _ in 0..draw(10) {
                let (a, b) = (draw(count as u64) as usize, draw(count as u64) as usize);
                let agree = [draw(9), draw(9)];
                let differ = [agree[0] + draw(9), agree[1] + draw(9)];
                if a != b {
                    problem
                        .pairs
                        .push((a, b, [[agree[0], differ[0]], [differ[1], agree[1]]]));
                }
            }
            let all = (0..1_u32 << count).map(|bits| {
                let labels: Vec<bool> = (0..count).map(|k| bits >> k & 1 == 1).collect();
                cost(&problem, &labels)
            });
            assert_eq!(cost(&problem, &solve(&problem)), all.min().unwrap());
        }
    }

    #[test]
    fn what_never_may_be_is_not_and_ties_stay_row_major() {
        let problem = Problem {
            single: vec![[5, NEVER], [5, 0], [0, 0]],
            pairs: vec![(0, 1, [[0, 9], [9, 0]])],
        };
        assert_eq!(solve(&problem), [false, false, false]);
    }
}
