//! The checks, grouped by what they look at.

pub(super) mod code;
pub(super) mod dead;
pub(super) mod edges;
pub(super) mod rules;
pub(super) mod text;
