//! Chains on this device: blocks of rows are tasks; each runs all parts one after another.

mod bind;
mod run;

use alula_tensor::Dim;

use super::module::Entry;
use super::program::{Kernel, Right, Work};
use super::tile::TilePlan;
use crate::ChainArg;
use crate::contract::BlockContract;

/// Bytes of what lies between the parts for one block, about: with the parts of both right sides
/// it stays in the second-level cache.
const BETWEEN_BYTES: usize = 384 << 10;
/// Blocks that there are at least, for as many threads, if rows are enough.
const BLOCKS_MIN: usize = 32;
/// What the rows of a block are a multiple of: those of a register tile.
const ROWS_STEP: usize = 16;
const ALIGN: usize = 64;

/// A chain of a program.
pub(super) struct Chain {
    pub(super) entries: Dim,
    pub(super) rows: Dim,
    /// Bytes of a row of each value in between.
    pub(super) between: Vec<Dim>,
    pub(super) parts: Vec<Part>,
}

/// A part of a chain.
pub(super) struct Part {
    pub(super) work: PartWork,
    pub(super) args: Vec<ChainArg>,
}

pub(super) enum PartWork {
    /// Loops of the module.
    Loops(usize),
    /// A contraction.
    Contract(Kernel),
}

/// A chain for one binding of symbols.
pub(super) struct BoundChain {
    entries: usize,
    rows: usize,
    /// Rows of a block; the last one of an entry may have fewer.
    block: usize,
    /// Bytes of each value in between, for a block.
    between: Vec<usize>,
    parts: Vec<BoundPart>,
}

enum BoundPart {
    /// A function with its grid and what its symbols are.
    Loops { entry: Entry, symbols: Vec<Source> },
    /// A contraction, and what finishes its tiles.
    Contract(Box<BlockContract>, Option<TilePlan>),
}

/// Where the value of a symbol of loops comes from.
#[derive(Clone, Copy)]
enum Source {
    Fixed(i64),
    /// A position in [`BLOCK_SYMBOLS`].
    Block(usize),
}

impl BoundChain {
    /// Rows of a block: as many as lie near, and so few that there is work for all threads. The
    /// same whatever the number of threads.
    fn block(entries: usize, rows: usize, row_bytes: usize) -> usize {
        let near = (BETWEEN_BYTES / row_bytes.max(1)).max(ROWS_STEP);
        let blocks = rows.div_ceil(near).max(BLOCKS_MIN.div_ceil(entries.max(1)));
        let block = rows.div_ceil(blocks).max(1);
        block.next_multiple_of(ROWS_STEP)
    }

    fn blocks(&self) -> usize {
        self.rows.div_ceil(self.block)
    }

    /// Bytes of scratch of one worker.
    fn scratch_bytes(&self) -> usize {
        let contracts = self.parts.iter().map(|part| match part {
            BoundPart::Loops { .. } => 0,
            BoundPart::Contract(contract, _) => contract.scratch_bytes(),
        });
        let between: usize = self.between.iter().map(|b| b.next_multiple_of(ALIGN)).sum();
        ALIGN + between + contracts.max().unwrap_or(0).next_multiple_of(ALIGN)
    }

    /// Bytes of a launch beside its arguments, right sides that it packs included.
    pub(super) fn launch_bytes(&self, chain: &Chain, threads: usize) -> usize {
        let parts = chain.parts.iter().zip(&self.parts);
        let packed = parts.map(|(part, bound)| match (&part.work, bound) {
            (PartWork::Contract(kernel), BoundPart::Contract(bound, _)) if !is_packed(kernel) => {
                let elements = bound.packing().elements();
                elements.map_or(0, |elements| elements.saturating_mul(4))
            }
            _ => 0,
        });
        let packed = packed.fold(0_usize, usize::saturating_add);
        self.scratch_bytes()
            .saturating_mul(threads)
            .saturating_add(packed)
    }
}

/// Whether the right side of a contraction comes packed.
fn is_packed(kernel: &Kernel) -> bool {
    matches!(
        kernel.work,
        Work::Contract {
            right: Right::Packed,
            ..
        }
    )
}
