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
    /// What is wrong in a run that breaks it, where the two dims do not tell.
    pub reason: Option<String>,
}

impl Graph {
    /// Relies on two dims being equal from here on. What is known to hold is not kept.
    ///
    /// # Errors
    /// [`GraphError::Infer`] when they are known to differ.
    pub fn require(&mut self, left: Dim, right: Dim, who: &str) -> Result<(), GraphError> {
        self.rely_on(Requirement {
            left,
            right,
            who: who.to_owned(),
            reason: None,
        })
    }

    /// As [`Graph::require`], with the reason that a run which breaks it is told.
    ///
    /// # Errors
    /// [`GraphError::Infer`] when it is known to be broken.
    pub fn rely_on(&mut self, new: Requirement) -> Result<(), GraphError> {
        let Requirement { left, right, .. } = &new;
        match (left.clone() - right.clone()).as_const() {
            Some(0) => Ok(()),
            Some(_) => {
                let differ = format!("{left} and {right} differ");
                let reason = new.reason.unwrap_or(differ);
                Err(GraphError::Infer {
                    op: "require",
                    name: new.who,
                    error: InferError::Mismatch(reason),
                })
            }
            None => {
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
