//! Names in a graph: symbols that its types mention, and values in text.

use std::collections::{BTreeMap, BTreeSet};

use alula_tensor::Symbol;

use crate::graph::collect_attr_symbols;
use crate::{Graph, Origin, ValueId};

impl Graph {
    /// Every symbol that a type, an attribute, a requirement or the definition of another symbol
    /// mentions, and those that sub-graphs take from this one.
    pub fn symbols(&self) -> BTreeSet<Symbol> {
        let mut symbols = self.required_symbols();
        // Extents that stand in the types of sequences and optionals are those of elements, which
        // differ: nothing is computed from them.
        for ty in self.values().filter_map(|(_, value)| value.ty.as_tensor()) {
            ty.shape
                .iter()
                .for_each(|dim| dim.collect_symbols(&mut symbols));
        }
        for node in self.each_node() {
            collect_attr_symbols(&node.attrs, &mut symbols);
        }
        // Later definitions may mention earlier ones.
        for (symbol, origin) in self.origins().iter().rev() {
            if let Origin::Defined(dim) = origin
                && symbols.contains(symbol)
            {
                dim.collect_symbols(&mut symbols);
            }
        }
        symbols
    }

    /// Unique names for all values, for text: given names where they are legal and free, else
    /// numbers in the order in which the text defines them.
    pub(crate) fn text_names(&self) -> BTreeMap<ValueId, String> {
        let mut names = BTreeMap::new();
        let mut taken = BTreeSet::new();
        let mut number = 0;
        let constants = self
            .values()
            .map(|(id, _)| id)
            .filter(|id| self.as_constant(*id).is_some());
        let results = self
            .nodes()
            .into_iter()
            .flat_map(|id| self.node(id).results.clone());
        let order: Vec<ValueId> = self
            .inputs()
            .iter()
            .copied()
            .chain(constants)
            .chain(results)
            .collect();
        for id in order {
            let value = self.value(id);
            let clean: String = value
                .name
                .as_deref()
                .unwrap_or_default()
                .chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') {
                        c
                    } else {
                        '_'
                    }
                })
                .collect();
            let usable = !clean.is_empty() && !clean.starts_with(|c: char| c.is_ascii_digit());
            let name = if usable && taken.insert(clean.clone()) {
                clean
            } else {
                loop {
                    let candidate = number.to_string();
                    number += 1;
                    if taken.insert(candidate.clone()) {
                        break candidate;
                    }
                }
            };
            names.insert(id, name);
        }
        names
    }
}
