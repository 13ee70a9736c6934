//! Running contractions of bytes of a program: zero points, packing, epilogues.

use std::sync::PoisonError;

use alula_microkernel::{Isa, stoppable};
use alula_program::DeviceError;
use alula_tensor::{DType, Storage};
use smallvec::SmallVec;

use super::memory::Memory;
use super::program::{CpuProgram, Kernel, Right, Work, failed, out_of_memory};
use super::tile::TileResult;
use super::watch::Stop;
use super::{TileKernel, TilePlan};
use crate::contract::ZeroPoints;
use crate::{BoundInteger, ContractError, CpuContract, Epilogue, IntegerOperands};

/// A right side, and the family that it is packed for if it is packed.
type Source<'m> = (&'m Memory, Option<Isa>);

/// Signed or unsigned bytes as numbers.
fn zeros(bytes: &[u8], dtype: DType) -> ZeroPoints {
    let value = |&byte: &u8| match dtype {
        DType::I8 => i32::from(byte as i8),
        _ => i32::from(byte),
    };
    bytes.iter().map(value).collect()
}

impl CpuProgram {
    /// Runs a contraction of bytes: packs the right side if need be, then multiplies.
    pub(super) fn run_integer(
        &self,
        kernel: &Kernel,
        (bound, tile): (&BoundInteger, Option<&TilePlan>),
        memories: &[Memory],
        stop: Option<&Stop>,
    ) -> Result<(), DeviceError> {
        let Work::Contract {
            contract,
            right: form,
            ..
        } = &kernel.work
        else {
            return Ok(());
        };
        let fail = |reason: String| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason,
        };
        let memory = |position: u32| -> Result<&Memory, DeviceError> {
            let memory = memories.get(position as usize);
            memory.ok_or_else(|| fail(format!("no operand {position}")))
        };
        let (Some(tile), Epilogue::Tile { operands: given }) = (tile, &contract.epilogue) else {
            return Err(fail("sums of integers are not stored".to_owned()));
        };
        let given = given.iter().map(|&position| Ok(memory(position)?.buffer()));
        let given = given.collect::<Result<SmallVec<[_; 16]>, DeviceError>>()?;
        let finish = TileKernel::new(tile, &given);
        let mut finish = finish.map_err(|error| failed(kernel, &error))?;
        let hook = finish.store_hook(self.result(kernel, contract, bound, memories)?);

        let a_zero = match contract.a_zero {
            Some(position) => zeros(memory(position)?.bytes(), contract.a_dtype),
            None => ZeroPoints::from_elem(0, 1),
        };
        let a_zero = a_zero.first().copied();
        let a_zero = a_zero.ok_or_else(|| fail("no zero point of the left side".to_owned()))?;
        let b_zero = match contract.b_zero {
            Some(position) => zeros(memory(position)?.bytes(), contract.b_dtype),
            None => ZeroPoints::new(),
        };
        let right = memory(contract.b)?;
        let wrong = |error: ContractError| fail(error.to_string());
        let mut own = Vec::new();
        let packed_for = match form {
            Right::Plain | Right::Packed => None,
            Right::PackedFor(other) => Some(other.isa),
        };
        let b = match (form, right.constant) {
            (Right::Packed, _) => (right.bytes().as_ptr(), right.len),
            (_, Some(position)) => {
                self.packed_bytes(kernel, bound, position, (right, packed_for))?
            }
            (_, None) => {
                let len = bound.packed_len().map_err(wrong)?;
                own = self.take_bytes(len)?;
                self.pack_bytes(bound, (right, packed_for), &mut own[..len])
                    .map_err(wrong)?;
                (own.as_ptr(), len)
            }
        };
        let left = memory(contract.a)?.bytes();
        let run = IntegerOperands {
            a: (left.as_ptr(), left.len()),
            b,
            a_zero,
            b_zero: &b_zero,
            hook,
        };
        let mut scratch = self.take_bytes(bound.scratch_bytes(self.pool.threads()))?;
        // SAFETY: as in `run_loops`; the packed right side is ours, and tiles are stored within the
        // result, as was checked.
        let run = || unsafe { bound.run(&self.pool, &run, &mut scratch) };
        let done = stoppable(stop, run);
        self.give_scratch(scratch);
        self.give_scratch(own);
        done.map_err(wrong)?;
        finish.check().map_err(|error| failed(kernel, &error))
    }

    /// Where tiles are stored, after a check that it is within the result.
    fn result(
        &self,
        kernel: &Kernel,
        contract: &CpuContract,
        bound: &BoundInteger,
        memories: &[Memory],
    ) -> Result<TileResult, DeviceError> {
        let fail = |reason: &str| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason: reason.to_owned(),
        };
        let result = memories.last().ok_or_else(|| fail("no result"))?;
        let dtype = contract
            .result
            .ok_or_else(|| fail("no dtype of the result"))?;
        let place = bound.place();
        let size = dtype.size_bytes();
        let first = usize::try_from(place.first).map_err(|_| fail("the result begins early"))?;
        let end = first.checked_add(place.len);
        let bytes = end.and_then(|end| end.checked_mul(size));
        if bytes.is_none_or(|bytes| bytes > result.len) {
            return Err(fail("the result is too short"));
        }
        Ok(TileResult {
            pointer: result.pointer.wrapping_add(first * size),
            size,
            place,
        })
    }

    /// The packed form of a constant, made at its first use.
    fn packed_bytes(
        &self,
        kernel: &Kernel,
        bound: &BoundInteger,
        position: usize,
        source: Source<'_>,
    ) -> Result<(*const u8, usize), DeviceError> {
        let fail = |error: ContractError| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason: error.to_string(),
        };
        let wanted = bound.packed_len().map_err(fail)?;
        let lock = || kernel.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&position).cloned();
        let storage = match known {
            Some(storage) => storage,
            None => {
                let mut storage = Storage::try_zeroed(wanted).map_err(out_of_memory)?;
                self.pack_bytes(bound, source, storage.to_mut())
                    .map_err(fail)?;
                // Two first launches at once make the same bytes; the first to arrive stay.
                lock().entry(position).or_insert(storage).clone()
            }
        };
        // The kernel keeps the bytes alive: entries are never replaced.
        let bytes = storage.bytes();
        Ok((bytes.as_ptr(), bytes.len()))
    }

    fn pack_bytes(
        &self,
        bound: &BoundInteger,
        (source, packed_for): Source<'_>,
        out: &mut [u8],
    ) -> Result<(), ContractError> {
        match packed_for {
            None => bound.pack(Some(&self.pool), source.bytes(), out),
            Some(isa) => bound.packing().repack_bytes(isa, source.bytes(), out),
        }
    }
}
