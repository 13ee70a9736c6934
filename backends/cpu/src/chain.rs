//! Chains: launches that run block by block of rows, with what lies between them in scratch.

use alula_tensor::Dim;
use serde::{Deserialize, Serialize};

use crate::entry::CpuEntry;

/// The symbols that the loops of a chain are given beside those of the model: the first row of the
/// block, counted through all entries, and its number of rows.
pub const BLOCK_SYMBOLS: [&str; 2] = ["block_first", "block_rows"];

/// A contraction, loops, and a contraction: attention. Each part computes rows of one value from
/// the same rows of the value before, so that all of it runs for some rows at a time; what lies
/// between is as large as these rows and stays in a near cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CpuChain {
    /// Independent entries (heads), and the rows of each.
    pub(crate) entries: Dim,
    pub(crate) rows: Dim,
    /// Bytes of a row of each value in between.
    pub(crate) between: Vec<Dim>,
    /// In order.
    pub(crate) parts: Vec<ChainPart>,
}

/// A part of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChainPart {
    /// Loops over a block of rows, or a contraction of which blocks of rows are run.
    pub(crate) work: CpuEntry,
    /// What its parameters are.
    pub(crate) args: Vec<ChainArg>,
}

/// A parameter of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChainArg {
    /// A parameter of the chain, by position.
    Outer(u32),
    /// A value in between, by position.
    Between(u32),
}
