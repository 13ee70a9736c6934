//! Quantization and dequantization: cancelled, moved, kept where they save memory.

mod cancel_dequantize_quantize;
mod drop_relu_before_quantize;
mod drop_zero_zero_point;
mod hoist_quantize_past_move;
mod recognise_dequantize;
mod sink_dequantize_past_move;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    recognise_dequantize::RULE,
    cancel_dequantize_quantize::RULE,
    drop_zero_zero_point::RULE,
    sink_dequantize_past_move::RULE,
    drop_relu_before_quantize::RULE,
    hoist_quantize_past_move::RULE,
];
