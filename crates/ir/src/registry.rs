//! The set of operators that text may name.

use indexmap::IndexMap;

use crate::OpDef;

/// Operators by name.
#[derive(Debug, Default)]
pub struct Registry {
    rows: IndexMap<&'static str, &'static OpDef>,
}

impl Registry {
    /// A registry of these rows.
    ///
    /// # Panics
    /// When two rows share a name.
    pub fn new(rows: impl IntoIterator<Item = &'static OpDef>) -> Registry {
        let mut registry = Registry::default();
        for row in rows {
            let previous = registry.rows.insert(row.name, row);
            assert!(previous.is_none(), "operator {} is defined twice", row.name);
        }
        registry.rows.sort_keys();
        registry
    }

    /// The operator of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<&'static OpDef> {
        self.rows.get(name).copied()
    }

    /// All operators in order of name.
    pub fn iter(&self) -> impl Iterator<Item = &'static OpDef> {
        self.rows.values().copied()
    }
}
