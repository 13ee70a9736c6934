//! Fusion: nodes become work items, and items merge under a strategy.
//!
//! A definition that is loaded by one other item is substituted into it; one that consumes a
//! contraction's result element by element becomes its epilogue; a move (transposition, slice,
//! broadcast) that feeds a contraction becomes part of its index map. What decides is counted: a
//! definition is inlined where it is evaluated no more often than it has elements, or where it is
//! nothing but a move.

mod fuse;
mod inline;
mod item;
mod plan;
mod strategy;
mod wanted;

pub use fuse::{EpilogueCost, Rules, cluster};
pub(crate) use inline::{dependencies, reachable};
pub use item::{Item, Work, items};
pub use plan::{FusionPlan, FusionPlanError};
pub use strategy::{Decision, FusionReport, Strategy};
