//! Loaded code: checked against this machine, in executable memory.

use super::LoadError;
use super::pages::Pages;
use crate::{CpuCode, CpuFeatures, CpuKernel};

/// The function of a kernel: buffers and behind them the flag that ends its loops, symbols, first
/// and last (exclusive) grid point.
pub(super) type Entry = unsafe extern "C" fn(*const *mut u8, *const i64, i64, i64);

/// Kernels that can run.
#[derive(Debug)]
pub struct CpuModule {
    pages: Pages,
    kernels: Vec<CpuKernel>,
}

impl CpuModule {
    /// Loads code.
    ///
    /// # Errors
    /// [`LoadError`] if this machine lacks what the code relies on, or
    /// [`ISA_VARIABLE`](crate::ISA_VARIABLE) leaves it out, a kernel lies outside of it, or there
    /// is no memory. Nothing has been executed then.
    ///
    /// # Safety
    /// The code was made by this crate's `emit` and is unchanged since: it is as trusted as an
    /// executable. (Features and bounds are checked; instructions are not.)
    pub unsafe fn load(code: &CpuCode) -> Result<CpuModule, LoadError> {
        if let Some(missing) = code.features.missing_on(&CpuFeatures::host()) {
            return Err(LoadError::Features { missing });
        }
        if let Some(missing) = code.features.missing_on(&CpuFeatures::usable()?) {
            return Err(LoadError::LeftOut { missing });
        }
        for kernel in &code.kernels {
            let end = kernel.offset.checked_add(kernel.len);
            if kernel.len == 0 || end.is_none_or(|end| end > code.bytes.len() as u64) {
                return Err(LoadError::Bounds {
                    kernel: kernel.name.clone(),
                });
            }
        }
        let pages = Pages::new(&code.bytes).map_err(|source| LoadError::Memory {
            bytes: code.bytes.len(),
            source,
        })?;
        Ok(CpuModule {
            pages,
            kernels: code.kernels.clone(),
        })
    }

    /// The kernels, in the order of emission.
    pub fn kernels(&self) -> &[CpuKernel] {
        &self.kernels
    }

    /// The function of a kernel.
    pub(super) fn entry(&self, index: usize) -> Option<Entry> {
        let kernel = self.kernels.get(index)?;
        // SAFETY: the offset lies within the pages, and by the contract of `load` a function of
        // this type begins there.
        unsafe {
            let start = self.pages.start().add(kernel.offset as usize);
            Some(std::mem::transmute::<*const u8, Entry>(start))
        }
    }
}
