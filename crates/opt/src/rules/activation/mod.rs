//! Activations that exporters spell out, recognised as the operator that they are.

mod prelu_to_leaky_relu;
mod recognise_gelu;
mod recognise_gelu_tanh;
mod recognise_hard_sigmoid;
mod recognise_hard_swish;
mod recognise_leaky_relu;
mod recognise_mish;
mod recognise_quick_gelu;
mod recognise_sigmoid;
mod recognise_silu;
mod recognise_softplus;
mod recognise_softsign;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    recognise_sigmoid::RULE,
    recognise_gelu::RULE,
    recognise_gelu_tanh::RULE,
    recognise_silu::RULE,
    recognise_quick_gelu::RULE,
    recognise_softplus::RULE,
    recognise_mish::RULE,
    recognise_softsign::RULE,
    recognise_leaky_relu::RULE,
    recognise_hard_sigmoid::RULE,
    recognise_hard_swish::RULE,
    prelu_to_leaky_relu::RULE,
];
