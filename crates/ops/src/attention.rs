//! Parts of transformers that models spell out, as operators of their own: rules see them whole,
//! and each is made of others again when it is lowered.

mod dot_product;
mod rotary;

use alula_ir::OpDef;

pub use dot_product::ATTENTION;
pub use rotary::ROTARY;

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&ATTENTION, &ROTARY];
