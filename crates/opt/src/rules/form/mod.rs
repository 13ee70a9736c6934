//! Operators in the form that back ends are fast in, when nothing else is left to recognise.

mod activate_phases_first;
mod contract_in_f32;
mod conv_transpose_to_conv;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    conv_transpose_to_conv::RULE,
    activate_phases_first::RULE,
    contract_in_f32::RULE,
];
