//! What a graph relies on: dims that every run checks to be equal.
//!
//! An importer states a requirement where a model makes sense in one case only, and builds the
//! graph of that case. Requirements hold for the whole graph; they are checked as soon as their
//! symbols are known.

use std::collections::BTreeSet;

use alula_tensor::{Dim, Symbol};

use crate::{Graph, GraphError, InferError};

/// Two dims that must be equal in every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// One dim.
    pub left: Dim,
    /// The other one.
    pub right: Dim,
    /// Who relies on it, for the message of a run that breaks it.
    pub who: String,
}

impl Graph {
    /// Relies on two dims being equal from here on. What is known to hold is not kept.
    ///
    /// # Errors
    /// [`GraphError::Infer`] when they are known to differ.
    pub fn require(&mut self, left: Dim, right: Dim, who: &str) -> Result<(), GraphError> {
        match (left.clone() - right.clone()).as_const() {
            Some(0) => Ok(()),
            Some(_) => Err(GraphError::Infer {
                op: "require",
                name: who.to_owned(),
                error: InferError::Mismatch(format!("{left} and {right} differ")),
            }),
            None => {
                let new = Requirement {
                    left,
                    right,
                    who: who.to_owned(),
                };
                if !self.requirements.contains(&new) {
                    self.requirements.push(new);
                }
                Ok(())
            }
        }
    }

    /// Everything that the graph relies on, in order of statement.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    pub(crate) fn required_symbols(&self) -> BTreeSet<Symbol> {
        let mut symbols = BTreeSet::new();
        for Requirement { left, right, .. } in &self.requirements {
            left.collect_symbols(&mut symbols);
            right.collect_symbols(&mut symbols);
        }
        symbols
    }
}
