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
    /// What contractions run on, whatever they were compiled for.
    forced: Option<Isa>,
}

impl CpuDevice {
    /// A device that uses this many threads, the caller's included. Contractions run on the family
    /// of micro-kernels that they were compiled for, unless an environment variable names one.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if threads cannot be started, or a family of micro-kernels is
    /// asked for by environment variable that this CPU lacks.
    pub fn new(threads: usize) -> Result<CpuDevice, DeviceError> {
        let forced = Isa::forced().map_err(|error| unavailable(error.to_string()))?;
        CpuDevice::with(threads, forced)
    }

    /// As [`CpuDevice::new`], for one family of micro-kernels. Weights that were packed for another
    /// are repacked at their first use.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if threads cannot be started or this CPU lacks the family.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<CpuDevice, DeviceError> {
        let isa = isa
            .require()
            .map_err(|error| unavailable(error.to_string()))?;
        CpuDevice::with(threads, Some(isa))
    }

    fn with(threads: usize, forced: Option<Isa>) -> Result<CpuDevice, DeviceError> {
        let pool = Pool::new(threads).map_err(|error| unavailable(error.to_string()))?;
        Ok(CpuDevice {
            pool: Arc::new(pool),
            forced,
        })
    }
}

fn unavailable(reason: String) -> DeviceError {
    DeviceError::Unavailable {
        device: TARGET.to_owned(),
        reason,
    }
}

impl Device for CpuDevice {
    fn target(&self) -> &str {
        TARGET
    }

    fn abi(&self) -> String {
        crate::abi()
    }

    fn has_host_memory(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let features = CpuFeatures::host();
        let threads = self.pool.threads();
        format!(
            "{}, {} micro-kernels, {threads} threads",
            features.arch,
            self.forced.unwrap_or_else(Isa::best).name()
        )
    }

    /// Programs are as trusted as executables: what the code does is not checked, where it lies
    /// and what it needs is.
    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Module>, DeviceError> {
        let pool = Arc::clone(&self.pool);
        Ok(Box::new(CpuProgram::load(program, pool, self.forced)?))
    }
}
