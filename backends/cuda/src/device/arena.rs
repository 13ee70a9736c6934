//! Memory of a GPU.

use std::ops::Range;
use std::sync::Arc;

use alula_program::{Arena, DeviceError};

use super::{Driver, DriverError};

/// An allocation, freed when dropped.
#[derive(Debug)]
pub(super) struct Memory {
    driver: Arc<dyn Driver>,
    pub(super) address: u64,
    pub(super) len: usize,
}

impl Memory {
    pub(super) fn new(driver: &Arc<dyn Driver>, len: usize) -> Result<Memory, DeviceError> {
        let address = driver
            .alloc(len)
            .map_err(|_| DeviceError::OutOfMemory(len as u64))?;
        Ok(Memory {
            driver: Arc::clone(driver),
            address,
            len,
        })
    }

    /// Memory that holds these bytes.
    pub(super) fn holding(driver: &Arc<dyn Driver>, bytes: &[u8]) -> Result<Memory, DeviceError> {
        let memory = Memory::new(driver, bytes.len())?;
        if !bytes.is_empty() {
            driver.upload(memory.address, bytes).map_err(copying)?;
        }
        Ok(memory)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.driver.free(self.address);
    }
}

/// One allocation for a run.
#[derive(Debug)]
pub struct CudaArena {
    pub(super) memory: Memory,
}

impl CudaArena {
    fn check(&self, range: &Range<usize>, bytes: usize) -> Result<(), DeviceError> {
        if range.start <= range.end && range.end <= self.memory.len && range.len() == bytes {
            return Ok(());
        }
        let len = self.memory.len;
        Err(copying(DriverError::Failed(format!(
            "bytes {range:?} of {len} for {bytes}"
        ))))
    }
}

impl Arena for CudaArena {
    fn len(&self) -> usize {
        self.memory.len
    }

    fn read(&mut self, range: Range<usize>, into: &mut [u8]) -> Result<(), DeviceError> {
        self.check(&range, into.len())?;
        if into.is_empty() {
            return Ok(());
        }
        let address = self.memory.address + range.start as u64;
        self.memory.driver.download(address, into).map_err(copying)
    }

    fn write(&mut self, offset: usize, from: &[u8]) -> Result<(), DeviceError> {
        self.check(&(offset..offset.saturating_add(from.len())), from.len())?;
        if from.is_empty() {
            return Ok(());
        }
        self.memory
            .driver
            .upload(self.memory.address + offset as u64, from)
            .map_err(copying)
    }

    fn host(&mut self) -> Option<&mut [u8]> {
        None
    }

    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

pub(super) fn copying(error: DriverError) -> DeviceError {
    DeviceError::Launch {
        kernel: "copy".to_owned(),
        reason: error.to_string(),
    }
}
