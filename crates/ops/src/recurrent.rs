//! Recurrences over time: `lstm_scan`, `gru_scan`, `rnn_scan`.
//!
//! The products of the inputs with their weights do not depend on earlier steps, so they are one
//! `matmul` over all steps, outside. A scan takes its result (biases added) as `gates`,
//! `[T, B, D, G*H]`: steps, batch, directions, gates of the hidden size. It returns every hidden
//! state, `[T, D, B, H]`, and the last one, `[D, B, H]`.
//!
//! With two directions the second runs backwards; with one, `reverse` says so. `lengths` (`[B]`)
//! gives each sequence's number of steps: states after it are 0, and backward runs start at it.
//!
//! A scan is one kernel; most can be written as a `loop`, too, if a target asks ([`as_loop`]), or
//! with weights that lie column by column ([`by_column`]).

mod activation;
mod columns;
mod gru;
mod looped;
mod lstm;
mod place;
mod quantized;
mod rnn;
mod scan;
mod sums;

use alula_ir::OpDef;

pub use columns::{by_column, is_by_row};
pub use gru::GRU_SCAN;
pub use looped::{as_loop, loop_bytes};
pub use lstm::LSTM_SCAN;
pub use rnn::RNN_SCAN;

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&LSTM_SCAN, &GRU_SCAN, &RNN_SCAN];
