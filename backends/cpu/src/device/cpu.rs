//! The CPU as a device of the runtime.

use std::sync::Arc;

use alula_microkernel::{Isa, Pool};
use alula_program::{Device, DeviceError, Module, Program};

use super::program::CpuProgram;
use crate::CpuFeatures;

/// The name of the target.
pub const TARGET: &str = "cpu";

/// This machine's processor with a pool of threads. Programs that it loads share the pool.
pub struct CpuDevice {
    pool: Arc<Pool>,
    isa: Isa,
}

impl CpuDevice {
    /// A device that uses this many threads, the caller's included.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if threads cannot be started, or a family of micro-kernels is
    /// asked for by environment variable that this CPU lacks.
    pub fn new(threads: usize) -> Result<CpuDevice, DeviceError> {
        let fail = |reason: String| DeviceError::Unavailable {
            device: TARGET.to_owned(),
            reason,
        };
        let isa = Isa::current().map_err(|error| fail(error.to_string()))?;
        let pool = Pool::new(threads).map_err(|error| fail(error.to_string()))?;
        Ok(CpuDevice {
            pool: Arc::new(pool),
            isa,
        })
    }
}

impl Device for CpuDevice {
    fn target(&self) -> &str {
        TARGET
    }

    fn describe(&self) -> String {
        let features = CpuFeatures::host();
        let threads = self.pool.threads();
        format!(
            "{}, {} micro-kernels, {threads} threads",
            features.arch,
            self.isa.name()
        )
    }

    /// Programs are as trusted as executables: what the code does is not checked, where it lies
    /// and what it needs is.
    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Module>, DeviceError> {
        Ok(Box::new(CpuProgram::load(program, Arc::clone(&self.pool))?))
    }
}
