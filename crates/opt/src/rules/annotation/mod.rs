//! Quantization as annotations on types, after everything else: what is left of quantizations and
//! dequantizations with constant parameters is said by the types of the values around them.
//!
//! ```text
//! conv -> quantize -> dequantize -> relu      conv : quant<..> -> relu
//! constant integers -> dequantize -> conv     dequantize : quant<..> -> conv
//! ```

mod annotate_dequantized;
mod annotate_quantized;
mod drop_annotated_steps;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    annotate_quantized::RULE,
    drop_annotated_steps::RULE,
    annotate_dequantized::RULE,
];
