//! Sizes of a chain for one binding of symbols.

use alula_kernel::Access;
use alula_program::DeviceError;
use alula_tensor::{Dim, Symbol};

use super::{BoundChain, BoundPart, Chain, PartWork, Source};
use crate::chain::{BLOCK_SYMBOLS, ChainArg};
use crate::contract::BlockSide;
use crate::device::program::{CpuProgram, Kernel, Work, bind};

impl CpuProgram {
    /// Sizes a chain; `params` are the bounds that its arguments were checked against.
    pub(in crate::device) fn bind_chain(
        &self,
        kernel: &Kernel,
        chain: &Chain,
        values: &[i64],
        params: &[(u64, bool)],
    ) -> Result<BoundChain, DeviceError> {
        let bind = |symbol: &Symbol| bind(&kernel.symbols, values, symbol);
        let fail = |reason: String| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason,
        };
        let size = |dim: &Dim| {
            let value = dim.eval(&bind).map_err(|error| fail(error.to_string()))?;
            usize::try_from(value).map_err(|_| fail(format!("{dim} is {value}")))
        };
        let (entries, rows) = (size(&chain.entries)?, size(&chain.rows)?);
        let row_bytes = chain.between.iter().map(size);
        let row_bytes = row_bytes.collect::<Result<Vec<usize>, _>>()?;
        let all = row_bytes.iter().copied().fold(0, usize::saturating_add);
        let block = BoundChain::block(entries, rows, all);
        let between = row_bytes.iter().map(|bytes| bytes.checked_mul(block));
        let between = between.collect::<Option<Vec<usize>>>();
        let between = between.ok_or(DeviceError::OutOfMemory(u64::MAX))?;
        let mut parts = Vec::with_capacity(chain.parts.len());
        for part in &chain.parts {
            parts.push(match &part.work {
                PartWork::Loops(index) => {
                    self.bind_loops(kernel, *index, (&bind, block), &part.args, &between, params)?
                }
                PartWork::Contract(contract) => {
                    let Work::Contract { contract: plan, .. } = &contract.work else {
                        return Err(fail("a part is no contraction".to_owned()));
                    };
                    let side = match part.args.last() {
                        Some(ChainArg::Between(_)) => BlockSide::Result,
                        _ => BlockSide::Left,
                    };
                    let bound = plan.bind_blocks(&bind, side, block);
                    let bound = bound.map_err(|error| fail(error.to_string()))?;
                    let tile = self.tile_plan(contract, &bind)?;
                    BoundPart::Contract(Box::new(bound), tile)
                }
            });
        }
        Ok(BoundChain {
            entries,
            rows,
            block,
            between,
            parts,
        })
    }

    /// Loops of a chain, checked: they reach no further than what they are given.
    fn bind_loops(
        &self,
        kernel: &Kernel,
        index: usize,
        (bind, block): (&dyn Fn(&Symbol) -> Option<i64>, usize),
        args: &[ChainArg],
        between: &[usize],
        params: &[(u64, bool)],
    ) -> Result<BoundPart, DeviceError> {
        let wrong = || {
            let reason = format!("{}: a part disagrees with its code", kernel.name);
            DeviceError::BadCode(reason)
        };
        let (Some(loops), Some(entry)) =
            (self.module.kernels().get(index), self.module.entry(index))
        else {
            return Err(wrong());
        };
        let of_block = |symbol: &Symbol| {
            let known = BLOCK_SYMBOLS.iter().position(|name| *name == symbol.name());
            match known {
                Some(1) => Some(block as i64),
                Some(_) => Some(0),
                None => bind(symbol),
            }
        };
        if loops.params.len() != args.len() {
            return Err(wrong());
        }
        for (param, arg) in loops.params.iter().zip(args) {
            let elements = param.elements.eval(&of_block).map_err(|_| wrong())?;
            let bytes = u64::try_from(elements.max(0)).map_err(|_| wrong())?;
            let bytes = bytes.checked_mul(param.dtype.size_bytes() as u64);
            let (there, is_writable) = match *arg {
                ChainArg::Outer(position) => *params.get(position as usize).ok_or_else(wrong)?,
                ChainArg::Between(position) => {
                    let bytes = between.get(position as usize).ok_or_else(wrong)?;
                    (*bytes as u64, true)
                }
            };
            let is_read = param.access == Access::Read;
            if bytes.is_none_or(|bytes| bytes > there) || !(is_read || is_writable) {
                return Err(wrong());
            }
        }
        let symbols = loops.symbols.iter().map(|symbol| {
            let known = BLOCK_SYMBOLS.iter().position(|name| *name == symbol.name());
            Some(match known {
                Some(position) => Source::Block(position),
                None => Source::Fixed(bind(symbol)?),
            })
        });
        Ok(BoundPart::Loops {
            entry,
            symbols: symbols.collect::<Option<_>>().ok_or_else(wrong)?,
        })
    }
}
