//! Operators in the form that back ends are fast in, when nothing else is left to recognise.

mod activate_phases_first;
mod conv_transpose_to_conv;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[conv_transpose_to_conv::RULE, activate_phases_first::RULE];
