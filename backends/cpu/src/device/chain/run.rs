//! Runs of chains.

use std::sync::OnceLock;

use alula_microkernel::stoppable;
use alula_program::DeviceError;
use alula_tensor::{DType, Symbol};
use smallvec::SmallVec;

use super::{ALIGN, BoundChain, BoundPart, Part, PartWork, Source};
use crate::contract::BlockContract;
use crate::device::LaunchError;
use crate::device::contraction::{Others, elements};
use crate::device::memory::{Memories, Memory};
use crate::device::module::Entry;
use crate::device::program::{CpuProgram, Kernel, Work, bind, failed};
use crate::device::tile::OfBlock;
use crate::device::watch::{Stop, flag};
use crate::{ChainArg, ContractError, ContractOperands, CpuKernel};

/// A part with its operands for one launch.
enum Ready<'r> {
    Loops {
        entry: Entry,
        kernel: &'r CpuKernel,
        symbols: &'r [Source],
        buffers: Vec<Place>,
    },
    Contract {
        bound: &'r BlockContract,
        others: Box<Others<'r>>,
        left: Place,
        result: Place,
        /// Bytes of an element of these two.
        bytes: [usize; 2],
    },
}

/// Where an operand is.
#[derive(Clone, Copy)]
enum Place {
    Memory(Memory),
    /// A value in between, by position.
    Between(usize),
}

/// The rows of a block: `rows` rows from `first` on of an entry.
#[derive(Clone, Copy)]
struct Rows {
    entry: usize,
    first: usize,
    rows: usize,
}

/// Parts with operands and the scratch of all workers.
struct Running<'r> {
    bound: &'r BoundChain,
    parts: Vec<Ready<'r>>,
    flag: *mut u8,
    scratch: *mut u8,
    /// Bytes of each worker's scratch.
    each: usize,
}

// SAFETY: pointers are handed on to parts, which write disjoint rows; each worker has scratch of
// its own.
unsafe impl Sync for Running<'_> {}

/// Why a part failed.
enum PartError {
    Contract(ContractError),
    Loops(LaunchError),
}

impl CpuProgram {
    /// Runs a chain.
    pub(in crate::device) fn run_chain(
        &self,
        kernel: &Kernel,
        bound: &BoundChain,
        memories: &[Memory],
        stop: Option<&Stop>,
    ) -> Result<(), DeviceError> {
        let Work::Chain(chain) = &kernel.work else {
            return Ok(());
        };
        let fail = |reason: String| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason,
        };
        let parts = chain.parts.iter().zip(&bound.parts);
        let parts = parts.map(|(part, bound)| self.ready(part, bound, memories));
        let parts = parts.collect::<Result<Vec<_>, DeviceError>>()?;
        let each = bound.scratch_bytes();
        let mut scratch = self.take_bytes(each.saturating_mul(self.pool.threads()))?;
        let running = Running {
            bound,
            parts,
            flag: flag(stop),
            scratch: scratch.as_mut_ptr(),
            each,
        };
        let wrong = OnceLock::new();
        let done = stoppable(stop, || {
            self.pool.run(bound.tasks(), |task, worker| {
                // SAFETY: the arguments are borrowed for this call and long enough, and tasks
                // write disjoint rows of the result; each worker has its own scratch.
                if let Err(error) = unsafe { running.run(bound.rows_of(task), worker) } {
                    wrong.get_or_init(|| error);
                }
            })
        });
        let mut tiles = Ok(());
        for part in running.parts {
            if let Ready::Contract { others, .. } = part {
                let checked = others.finish.map_or(Ok(()), |tile| tile.check());
                tiles = tiles.and(checked.map_err(|error| failed(kernel, &error)));
                self.give_scratch(others.own);
            }
        }
        self.give_scratch(scratch);
        done.map_err(|error| fail(error.to_string()))?;
        match wrong.into_inner() {
            Some(PartError::Contract(error)) => Err(fail(error.to_string())),
            Some(PartError::Loops(error)) => Err(failed(kernel, &error)),
            None => tiles,
        }
    }

    /// Finds the operands of a part.
    fn ready<'r>(
        &'r self,
        part: &'r Part,
        bound: &'r BoundPart,
        memories: &[Memory],
    ) -> Result<Ready<'r>, DeviceError> {
        let defect = |reason: &str| DeviceError::BadCode(reason.to_owned());
        let place = |arg: &ChainArg| match *arg {
            ChainArg::Outer(position) => {
                let memory = memories.get(position as usize).copied();
                let memory = memory.ok_or_else(|| defect("a part has no such operand"))?;
                Ok(Place::Memory(memory))
            }
            ChainArg::Between(position) => Ok(Place::Between(position as usize)),
        };
        let places = part.args.iter().map(place);
        let places = places.collect::<Result<Vec<Place>, DeviceError>>()?;
        match (&part.work, bound) {
            (PartWork::Loops(index), BoundPart::Loops { entry, symbols }) => Ok(Ready::Loops {
                entry: *entry,
                kernel: &self.module.kernels()[*index],
                symbols,
                buffers: places,
            }),
            (PartWork::Contract(kernel), BoundPart::Contract(bound, tile)) => {
                let Work::Contract { contract, .. } = &kernel.work else {
                    return Err(defect("a part is no contraction"));
                };
                let own: Memories = places.iter().map(|place| place.memory()).collect();
                // What lies in between is none of these.
                let tile = tile.as_ref();
                let others = self.others(kernel, (bound.packing(), tile), &own)?;
                let dtypes = [contract.a_dtype, contract.result.unwrap_or(DType::F32)];
                let last = own.len() as u32 - 1;
                for (position, dtype) in [contract.a, last].into_iter().zip(dtypes) {
                    elements(kernel, &own, position, dtype)?;
                }
                Ok(Ready::Contract {
                    bound,
                    others: Box::new(others),
                    left: places[contract.a as usize],
                    result: places[places.len() - 1],
                    bytes: dtypes.map(DType::size_bytes),
                })
            }
            _ => Err(defect("a part is bound as another kind")),
        }
    }
}

impl Place {
    /// The memory; none for a value in between, which each worker has its own of.
    fn memory(self) -> Memory {
        match self {
            Place::Memory(memory) => memory,
            Place::Between(_) => Memory::EMPTY,
        }
    }
}

impl Running<'_> {
    /// Runs all parts for some rows.
    ///
    /// # Safety
    /// The arguments are valid, nobody else touches these rows of the result, and no other thread
    /// is this worker.
    unsafe fn run(&self, rows: Rows, worker: usize) -> Result<(), PartError> {
        let start = self.scratch.wrapping_add(worker * self.each);
        let end = start.wrapping_add(self.each);
        let mut at = start.wrapping_add(start.align_offset(ALIGN));
        let mut between: SmallVec<[(*mut u8, usize); 4]> = SmallVec::new();
        for &bytes in &self.bound.between {
            between.push((at, bytes));
            at = at.wrapping_add(bytes.next_multiple_of(ALIGN));
        }
        let find = |place: Place| match place {
            Place::Memory(memory) => (memory.pointer, memory.len),
            Place::Between(position) => between[position],
        };
        for part in &self.parts {
            match part {
                Ready::Loops {
                    entry,
                    kernel,
                    symbols,
                    buffers,
                } => {
                    let buffers = buffers.iter().map(|&place| find(place).0);
                    let buffers: SmallVec<[*mut u8; 16]> = buffers.chain([self.flag]).collect();
                    let values = self.values(symbols, rows);
                    let bind = |symbol: &Symbol| bind(&kernel.symbols, &values, symbol);
                    let points = kernel.num_points().eval(&bind);
                    let points = points.map_err(|error| {
                        PartError::Loops(LaunchError::dim(&kernel.name, &error))
                    })?;
                    // SAFETY: the caller's; buffers were checked to be long enough.
                    unsafe { entry(buffers.as_ptr(), values.as_ptr(), 0, points) };
                }
                Ready::Contract {
                    bound,
                    others,
                    left,
                    result,
                    bytes,
                } => {
                    let tile = others.finish.as_ref().map(|kernel| OfBlock {
                        kernel,
                        row: rows.first,
                        entry: rows.entry,
                    });
                    let (left, result) = (find(*left), find(*result));
                    let operands = ContractOperands {
                        a: (left.0.cast_const(), left.1 / bytes[0]),
                        b: others.b,
                        c: (result.0, result.1 / bytes[1]),
                        bias: others.bias,
                        residual: others.residual,
                        hook: tile.as_ref().map(OfBlock::hook),
                    };
                    let rows = [rows.entry, rows.first, rows.rows];
                    // SAFETY: `at` and `end` lie within this worker's scratch; the rest is the
                    // caller's.
                    let done = unsafe {
                        let left = end as usize - at as usize;
                        let scratch = std::slice::from_raw_parts_mut(at, left);
                        bound.run(rows, &operands, scratch)
                    };
                    done.map_err(PartError::Contract)?;
                }
            }
        }
        Ok(())
    }

    /// Values of the symbols of loops.
    fn values(&self, symbols: &[Source], rows: Rows) -> SmallVec<[i64; 16]> {
        let first = rows.entry * self.bound.rows + rows.first;
        let block = [first as i64, rows.rows as i64];
        let values = symbols.iter().map(|source| match *source {
            Source::Fixed(value) => value,
            Source::Block(position) => block[position],
        });
        values.collect()
    }
}

impl BoundChain {
    /// Tasks: the blocks of all entries.
    fn tasks(&self) -> usize {
        self.entries.saturating_mul(self.blocks())
    }

    fn rows_of(&self, task: usize) -> Rows {
        let blocks = self.blocks();
        let first = task % blocks * self.block;
        Rows {
            entry: task / blocks,
            first,
            rows: self.block.min(self.rows - first),
        }
    }
}
