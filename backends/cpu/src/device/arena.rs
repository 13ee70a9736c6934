//! Host memory for one run at a time.

use std::any::Any;
use std::ops::Range;

use alula_program::{Arena, DeviceError};
use alula_tensor::Storage;

/// Bytes aligned to a cache line.
pub(super) struct CpuArena(pub(super) Storage);

/// A range outside of the arena is a defect of the caller, reported all the same.
fn outside(range: &Range<usize>, len: usize) -> DeviceError {
    DeviceError::Launch {
        kernel: "copy".to_owned(),
        reason: format!("bytes {range:?} of an arena of {len}"),
    }
}

impl Arena for CpuArena {
    fn len(&self) -> usize {
        self.0.bytes().len()
    }

    fn read(&mut self, range: Range<usize>, into: &mut [u8]) -> Result<(), DeviceError> {
        let from = self
            .0
            .bytes()
            .get(range.clone())
            .filter(|from| from.len() == into.len());
        let from = from.ok_or_else(|| outside(&range, self.len()))?;
        into.copy_from_slice(from);
        Ok(())
    }

    fn write(&mut self, offset: usize, from: &[u8]) -> Result<(), DeviceError> {
        let (range, len) = (offset..offset.saturating_add(from.len()), self.len());
        let into = self
            .0
            .to_mut()
            .get_mut(range.clone())
            .ok_or_else(|| outside(&range, len))?;
        into.copy_from_slice(from);
        Ok(())
    }

    fn host(&mut self) -> Option<&mut [u8]> {
        Some(self.0.to_mut())
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
