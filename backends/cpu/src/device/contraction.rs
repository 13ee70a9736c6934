//! Running contractions of a program: packing of right sides, scratch, epilogues.

use std::sync::PoisonError;

use alula_microkernel::stoppable;
use alula_program::DeviceError;
use alula_tensor::{DType, Storage};
use smallvec::SmallVec;

use super::memory::Memory;
use super::program::{CpuProgram, Kernel, Right, Work, failed, out_of_memory};
use super::watch::Stop;
use super::{TileKernel, TilePlan};
use crate::{BoundContract, ContractError, ContractOperands, Epilogue, PackedFor, Packing};

/// A right side, and what it is packed for if it is packed.
type Source = ((*const f32, usize), Option<PackedFor>);

/// What a contraction takes besides its left side and its result, for one launch.
pub(super) struct Others<'m> {
    /// The packed right side: a constant's, or in `own`.
    pub(super) b: (*const f32, usize),
    pub(super) bias: Option<(*const f32, usize)>,
    pub(super) residual: Option<(*const u8, usize)>,
    /// What finishes tiles.
    pub(super) finish: Option<TileKernel<'m>>,
    /// Scratch that holds the right side, to be given back.
    pub(super) own: Vec<u8>,
}

/// An operand as floats.
pub(super) fn floats(
    kernel: &Kernel,
    memories: &[Memory],
    position: u32,
) -> Result<(*const f32, usize), DeviceError> {
    let (pointer, len) = elements(kernel, memories, position, DType::F32)?;
    Ok((pointer.cast(), len))
}

/// An operand as elements of a dtype.
pub(super) fn elements(
    kernel: &Kernel,
    memories: &[Memory],
    position: u32,
    dtype: DType,
) -> Result<(*const u8, usize), DeviceError> {
    let fail = |reason: String| DeviceError::Launch {
        kernel: kernel.name.clone(),
        reason,
    };
    let memory = memories.get(position as usize);
    let memory = memory.ok_or_else(|| fail(format!("no operand {position}")))?;
    memory
        .elements(dtype.size_bytes())
        .ok_or_else(|| fail(format!("operand {position} is not aligned")))
}

impl CpuProgram {
    /// Runs a contraction: packs the right side if need be, then multiplies.
    pub(super) fn run_contract(
        &self,
        kernel: &Kernel,
        (bound, tile): (&BoundContract, Option<&TilePlan>),
        memories: &[Memory],
        stop: Option<&Stop>,
    ) -> Result<(), DeviceError> {
        let Work::Contract { contract, .. } = &kernel.work else {
            return Ok(());
        };
        let fail = |reason: String| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason,
        };
        let dtype = contract.result.unwrap_or(DType::F32);
        let result = elements(kernel, memories, contract.params.len() as u32 - 1, dtype)?;
        let sums = memories.last().map(|memory| memory.pointer);
        for (position, memory) in memories[..memories.len() - 1].iter().enumerate() {
            if Some(memory.pointer) == sums && contract.shared_operand() != Some(position as u32) {
                return Err(fail(format!("operand {position} is overwritten too early")));
            }
        }
        let others = self.others(kernel, (bound.packing(), tile), memories)?;
        let run = ContractOperands {
            a: elements(kernel, memories, contract.a, contract.a_dtype)?,
            b: others.b,
            c: (result.0.cast_mut(), result.1),
            bias: others.bias,
            residual: others.residual,
            hook: others.finish.as_ref().map(TileKernel::hook),
        };
        let mut scratch = self.take_bytes(bound.scratch_bytes(self.pool.threads()))?;
        // SAFETY: as in `run_loops`; the packed right side is ours or the program's.
        let run = || unsafe { bound.run(&self.pool, &run, &mut scratch) };
        let done = stoppable(stop, run);
        self.give_scratch(scratch);
        self.give_scratch(others.own);
        done.map_err(|error| fail(error.to_string()))?;
        others
            .finish
            .map_or(Ok(()), |tile| tile.check())
            .map_err(|error| failed(kernel, &error))
    }

    /// Packs the right side of a contraction if need be, and finds what its epilogue takes.
    pub(super) fn others<'m>(
        &self,
        kernel: &Kernel,
        (packing, tile): (&Packing, Option<&'m TilePlan>),
        memories: &[Memory],
    ) -> Result<Others<'m>, DeviceError> {
        let fail = |reason: String| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason,
        };
        let Work::Contract {
            contract,
            right: form,
            ..
        } = &kernel.work
        else {
            return Err(fail("no contraction".to_owned()));
        };
        let slice = |position: u32| floats(kernel, memories, position);
        let (mut bias, mut residual, mut operands) = (None, None, SmallVec::<[_; 16]>::new());
        match &contract.epilogue {
            Epilogue::Fused {
                bias: b,
                residual: r,
                ..
            } => {
                bias = b
                    .as_ref()
                    .map(|(position, ..)| slice(*position))
                    .transpose()?;
                let residual_of = |(position, dtype)| elements(kernel, memories, position, dtype);
                residual = r.map(residual_of).transpose()?;
            }
            Epilogue::Tile {
                operands: positions,
            } => {
                for &position in positions {
                    slice(position)?;
                    operands.push(memories[position as usize].buffer());
                }
            }
        }
        let finish = tile.map(|plan| TileKernel::new(plan, &operands));
        let finish = finish.transpose().map_err(|error| failed(kernel, &error))?;
        let right = slice(contract.b)?;
        let mut own = Vec::new();
        let packed_for = match form {
            Right::Plain | Right::Packed => None,
            Right::PackedFor(other) => Some(*other),
        };
        let b = match (form, memories[contract.b as usize].constant) {
            (Right::Packed, _) => right,
            (_, Some(position)) => {
                self.packed_constant(kernel, packing, position, (right, packed_for))?
            }
            (_, None) => {
                let wrong = |error: ContractError| fail(error.to_string());
                let bytes = packing.elements().map_err(wrong)?.checked_mul(4);
                let bytes = bytes.and_then(|bytes| bytes.checked_add(64));
                own = self.take_bytes(bytes.ok_or(DeviceError::OutOfMemory(u64::MAX))?)?;
                self.pack(packing, (right, packed_for), &mut own)
                    .map_err(wrong)?
            }
        };
        Ok(Others {
            b,
            bias,
            residual,
            finish,
            own,
        })
    }

    /// The packed form of a constant, made at its first use.
    fn packed_constant(
        &self,
        kernel: &Kernel,
        packing: &Packing,
        position: usize,
        source: Source,
    ) -> Result<(*const f32, usize), DeviceError> {
        let fail = |reason: String| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason,
        };
        let wanted = packing
            .elements()
            .map_err(|error| fail(error.to_string()))?;
        let lock = || kernel.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&position).cloned();
        let storage = match known {
            Some(storage) => storage,
            None => {
                let storage = Storage::try_zeroed(wanted.saturating_mul(4));
                let mut storage = storage.map_err(out_of_memory)?;
                let out = storage.to_mut().as_mut_ptr().cast();
                self.pack_into(packing, source, out, wanted)
                    .map_err(|error| fail(error.to_string()))?;
                // Two first launches at once make the same bytes; the first to arrive stay.
                lock().entry(position).or_insert(storage).clone()
            }
        };
        if storage.bytes().len() != wanted * 4 {
            return Err(fail("the size of a constant right side changed".to_owned()));
        }
        // The kernel keeps the bytes alive: entries are never replaced.
        Ok((storage.bytes().as_ptr().cast(), wanted))
    }

    fn pack(
        &self,
        packing: &Packing,
        source: Source,
        own: &mut [u8],
    ) -> Result<(*const f32, usize), ContractError> {
        let wanted = packing.elements()?;
        let shift = own.as_ptr().align_offset(64);
        let out: *mut f32 = own[shift..][..wanted * 4].as_mut_ptr().cast();
        self.pack_into(packing, source, out, wanted)?;
        Ok((out.cast_const(), wanted))
    }

    fn pack_into(
        &self,
        packing: &Packing,
        (source, packed_for): Source,
        out: *mut f32,
        wanted: usize,
    ) -> Result<(), ContractError> {
        // SAFETY: the source is an argument of this launch, aligned as `Memory::floats` checks; the
        // target is ours, aligned to 64 and of `wanted` floats, any bytes of which are floats.
        let (source, out) = unsafe {
            let source = std::slice::from_raw_parts(source.0, source.1);
            (source, std::slice::from_raw_parts_mut(out, wanted))
        };
        match packed_for {
            None => packing.pack_on(Some(&self.pool), source, out),
            Some(other) => packing.repack(other, source, out),
        }
    }

    /// Scratch of at least this many bytes, which hold anything.
    pub(super) fn take_bytes(&self, bytes: usize) -> Result<Vec<u8>, DeviceError> {
        let mut free = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, else the largest to grow.
        let fits = (0..free.len())
            .filter(|&i| free[i].len() >= bytes)
            .min_by_key(|&i| free[i].len());
        let found = fits.or_else(|| (0..free.len()).max_by_key(|&i| free[i].len()));
        let mut scratch = found.map(|i| free.swap_remove(i)).unwrap_or_default();
        drop(free);
        if scratch.len() < bytes {
            let more = bytes - scratch.len();
            let grown = scratch.try_reserve_exact(more);
            grown.map_err(|_| DeviceError::OutOfMemory(bytes as u64))?;
            scratch.resize(bytes, 0);
        }
        Ok(scratch)
    }

    pub(super) fn give_scratch(&self, scratch: Vec<u8>) {
        if !scratch.is_empty() {
            self.scratch
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(scratch);
        }
    }
}
