//! Changes to a graph that stands: users moved to other values, nodes removed.

use std::collections::BTreeSet;

use alula_tensor::Symbol;
use petgraph::Direction;
use petgraph::stable_graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::{Graph, Use, Vertex, collect_attr_symbols, collect_type_symbols, same_but_annotations};
use crate::{Def, GraphError, NodeId, Origin, Value, ValueId};

impl Graph {
    /// Makes every user of `old`, outputs and origins of symbols included, use `new`. The name and
    /// the known elements of `old` go over where `new` has none.
    ///
    /// # Errors
    /// [`GraphError::TypeChange`] when the types differ in more than annotations.
    pub fn replace(&mut self, old: ValueId, new: ValueId) -> Result<(), GraphError> {
        if old == new {
            return Ok(());
        }
        if !same_but_annotations(self.ty(old), self.ty(new)) {
            let (old, new) = (self.ty(old).to_string(), self.ty(new).to_string());
            return Err(GraphError::TypeChange { old, new });
        }
        for (node, operand) in self.uses(old) {
            self.set_operand(node, operand, new);
        }
        for (_, output) in &mut self.outputs {
            if *output == old {
                *output = new;
            }
        }
        for origin in self.origins.values_mut() {
            match origin {
                Origin::Content { value, .. } | Origin::Extent { value, .. } if *value == old => {
                    *value = new;
                }
                Origin::Content { .. }
                | Origin::Extent { .. }
                | Origin::Input { .. }
                | Origin::Defined(_) => {}
            }
        }
        let Value { name, content, .. } = self.value(old).clone();
        let target = self.value_mut(new);
        target.content = target.content.take().or(content);
        if target.name.is_none() && !matches!(target.def, Def::Input(_)) {
            target.name = name;
        }
        Ok(())
    }

    /// Makes every user of `old` but one node, and every output, use `new`. What gives symbols
    /// their values stays, and so do names.
    ///
    /// # Errors
    /// [`GraphError::TypeChange`] when the types differ in more than annotations.
    pub fn replace_behind(
        &mut self,
        old: ValueId,
        new: ValueId,
        but: NodeId,
    ) -> Result<(), GraphError> {
        if !same_but_annotations(self.ty(old), self.ty(new)) {
            let (old, new) = (self.ty(old).to_string(), self.ty(new).to_string());
            return Err(GraphError::TypeChange { old, new });
        }
        for (node, operand) in self.uses(old) {
            if node != but {
                self.set_operand(node, operand, new);
            }
        }
        for (_, output) in &mut self.outputs {
            if *output == old {
                *output = new;
            }
        }
        Ok(())
    }

    /// Replaces one operand of a node. Types are not inferred again: the new value must have the
    /// type of the old one.
    pub fn set_operand(&mut self, node: NodeId, operand: usize, value: ValueId) {
        let index = NodeIndex::new(node.0 as usize);
        let edge = self
            .net
            .edges_directed(index, Direction::Incoming)
            .find(|edge| edge.weight().operand == operand)
            .map(|edge| edge.id());
        if let Some(edge) = edge {
            self.net.remove_edge(edge);
        }
        let from = self.values[&value].1;
        self.net.add_edge(from, index, Use { value, operand });
        if let Vertex::Node(node) = &mut self.net[index] {
            node.operands[operand] = Some(value);
        }
    }

    /// Removes a node whose results nothing uses; returns whether it did. Symbols that get their
    /// values from it must not be in use either.
    pub fn remove_unused(&mut self, id: NodeId) -> bool {
        let Some(node) = self.get_node(id) else {
            return false;
        };
        if node.results.iter().any(|result| self.num_uses(*result) > 0) {
            return false;
        }
        // The results of a new node are the last values, so that nothing is shifted.
        for result in node.results.clone().into_iter().rev() {
            self.values.shift_remove(&result);
        }
        self.net.remove_node(NodeIndex::new(id.0 as usize));
        true
    }

    /// Removes every node, constant and value that no output needs. Graph inputs stay. What gives
    /// a value to a symbol of a needed type or known element is needed, too.
    pub fn remove_dead(&mut self) -> usize {
        let mut needed: BTreeSet<ValueId> = BTreeSet::new();
        let mut symbols: BTreeSet<Symbol> = BTreeSet::new();
        let mut work: Vec<ValueId> = self.outputs.iter().map(|(_, value)| *value).collect();
        let mut found = self.required_symbols();
        loop {
            while let Some(symbol) = found.pop_first() {
                if !symbols.insert(symbol.clone()) {
                    continue;
                }
                match self.origins.get(&symbol) {
                    Some(Origin::Content { value, .. } | Origin::Extent { value, .. }) => {
                        work.push(*value);
                    }
                    Some(Origin::Defined(dim)) => dim.collect_symbols(&mut found),
                    Some(Origin::Input { .. }) | None => {}
                }
            }
            let Some(value) = work.pop() else {
                break;
            };
            if !needed.insert(value) {
                continue;
            }
            collect_type_symbols(self.ty(value), &mut found);
            // What is known of elements may become an attribute later.
            for dim in self.value(value).content.iter().flatten() {
                dim.collect_symbols(&mut found);
            }
            if let Some(node) = self.producer(value) {
                let node = self.node(node);
                work.extend(node.operands.iter().flatten());
                work.extend(&node.results);
                collect_attr_symbols(&node.attrs, &mut found);
            }
        }
        needed.extend(&self.inputs);
        let vertices: BTreeSet<NodeIndex> = needed.iter().map(|id| self.values[id].1).collect();
        let before = self.num_nodes();
        self.net.retain_nodes(|_, index| vertices.contains(&index));
        self.values.retain(|id, _| needed.contains(id));
        let inputs = &self.inputs;
        self.origins.retain(|symbol, origin| {
            symbols.contains(symbol)
                || matches!(origin, Origin::Input { input, .. } if *input < inputs.len())
        });
        before - self.num_nodes()
    }
}
