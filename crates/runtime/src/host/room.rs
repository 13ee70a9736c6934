//! Memory of one host step: what it takes is within the run's limit, and is there.

use std::cell::Cell;

use alula_tensor::{DType, OutOfMemory, Tensor};

use crate::StepError;
use crate::bind::limit;

/// What a host step may take. All that it makes counts, what it drops before its end, too.
pub(crate) struct Room {
    used: Cell<u64>,
    bytes_max: u64,
}

impl Room {
    /// `used` bytes of `bytes_max` are taken already.
    pub(crate) fn new(used: u64, bytes_max: u64) -> Room {
        Room {
            used: Cell::new(used),
            bytes_max,
        }
    }

    /// Bytes that are taken, those of before the step included.
    pub(crate) fn used(&self) -> u64 {
        self.used.get()
    }

    /// Bytes that may still be taken.
    pub(super) fn left(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used.get())
    }

    /// Counts bytes that are about to be taken.
    pub(super) fn take(&self, bytes: usize) -> Result<(), StepError> {
        let used = self.used.get().saturating_add(bytes as u64);
        limit(used, self.bytes_max)?;
        self.used.set(used);
        Ok(())
    }

    /// An empty vector with room for `len` elements.
    pub(super) fn vec<T>(&self, len: usize) -> Result<Vec<T>, StepError> {
        let bytes = len.saturating_mul(size_of::<T>());
        self.take(bytes)?;
        let mut vec = Vec::new();
        let reserved = vec.try_reserve_exact(len);
        reserved.map_err(|_| OutOfMemory { bytes })?;
        Ok(vec)
    }

    /// `len` times the same.
    pub(super) fn filled<T: Clone>(&self, len: usize, value: T) -> Result<Vec<T>, StepError> {
        let mut vec = self.vec(len)?;
        vec.resize(len, value);
        Ok(vec)
    }

    /// The elements of an iterator that tells how many they are.
    pub(super) fn collect<T>(
        &self,
        from: impl ExactSizeIterator<Item = T>,
    ) -> Result<Vec<T>, StepError> {
        let mut vec = self.vec(from.len())?;
        vec.extend(from);
        Ok(vec)
    }

    /// A tensor of zeros.
    pub(super) fn zeros(&self, dtype: DType, shape: &[usize]) -> Result<Tensor, StepError> {
        let size = dtype.size_bytes().max(1);
        let bytes = shape
            .iter()
            .fold(size, |n, &extent| n.saturating_mul(extent));
        self.take(bytes)?;
        Ok(Tensor::zeros(dtype, shape)?)
    }

    /// An `i64` tensor that `fill` writes.
    pub(super) fn ints(
        &self,
        shape: &[usize],
        fill: impl FnOnce(&mut [i64]),
    ) -> Result<Tensor, StepError> {
        let mut tensor = self.zeros(DType::I64, shape)?;
        fill(tensor.as_mut_slice().expect("its elements are i64"));
        Ok(tensor)
    }
}
