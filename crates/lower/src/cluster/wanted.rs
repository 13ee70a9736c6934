//! A fusion plan against the items of a graph: who is asked to fuse with whom, and whether it came
//! to be.

use std::collections::{BTreeMap, BTreeSet};

use alula_ir::Graph;

use super::Item;
use super::plan::group_text;

/// Names of items: the node's, told apart where they are equal.
pub(super) fn labels(graph: &Graph, items: &[Item]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    items
        .iter()
        .map(|item| {
            let node = graph.node(*item.nodes.last().expect("an item stands for a node"));
            let name = match node.name.as_str() {
                "" => node.op.name,
                name => name,
            };
            loop {
                let count = count.entry(name.to_owned()).or_default();
                *count += 1;
                let label = match count {
                    1 => name.to_owned(),
                    count => format!("{name}#{count}"),
                };
                if taken.insert(label.clone()) {
                    return label;
                }
            }
        })
        .collect()
}

/// Groups that a plan asks for, by positions of items.
#[derive(Debug)]
pub(super) struct Wanted {
    groups: Vec<BTreeSet<usize>>,
    /// The item that ends each group.
    roots: BTreeSet<usize>,
}

impl Wanted {
    /// The groups of a graph, with every name found.
    pub(super) fn new(labels: &[String], groups: &[Vec<String>]) -> Result<Wanted, String> {
        let position: BTreeMap<&str, usize> = labels
            .iter()
            .enumerate()
            .map(|(position, label)| (label.as_str(), position))
            .collect();
        let mut wanted = Wanted {
            groups: Vec::new(),
            roots: BTreeSet::new(),
        };
        for group in groups {
            let find = |label: &String| {
                let found = position.get(label.as_str()).copied();
                found.ok_or_else(|| format!("there is no node {label:?}"))
            };
            let members: BTreeSet<usize> = group.iter().map(find).collect::<Result<_, _>>()?;
            if members.len() > 1 {
                wanted.roots.extend(members.last());
                wanted.groups.push(members);
            }
        }
        Ok(wanted)
    }

    /// Whether the parts of a producer belong into the kernel of a consumer's.
    pub(super) fn permits(&self, consumer: &BTreeSet<usize>, producer: &BTreeSet<usize>) -> bool {
        let mut around = self
            .groups
            .iter()
            .filter(|g| consumer.is_subset(g))
            .peekable();
        around.peek().is_some() && around.all(|group| producer.is_subset(group))
    }

    /// Whether an item ends a group, so that what is still missing is to be pulled in.
    pub(super) fn is_root(&self, item: usize) -> bool {
        self.roots.contains(&item)
    }

    /// Every group is one of those that were made.
    pub(super) fn check(
        &self,
        labels: &[String],
        made: &BTreeSet<BTreeSet<usize>>,
        refusals: &[(usize, usize, String)],
    ) -> Result<(), String> {
        let mut missing = Vec::new();
        for group in self.groups.iter().filter(|group| !made.contains(*group)) {
            let names: Vec<String> = group.iter().map(|&k| labels[k].clone()).collect();
            let mut reasons: Vec<String> = refusals
                .iter()
                .filter(|(from, into, _)| group.contains(from) && group.contains(into))
                .map(|(from, into, why)| format!("{} into {}: {why}", labels[*from], labels[*into]))
                .collect();
            reasons.dedup();
            if reasons.is_empty() {
                reasons.push("not every node feeds the last one by way of the others".to_owned());
            }
            missing.push(format!(
                "group {} cannot be one kernel ({})",
                group_text(&names),
                reasons.join("; ")
            ));
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(missing.join("\n  ")),
        }
    }
}
