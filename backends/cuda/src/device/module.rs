//! A loaded program: functions and constants.

use std::sync::Arc;

use alula_program::{Arena, DeviceError, Launch, Module, Program};

use super::arena::Memory;
use super::{CudaArena, Driver, FunctionId};
use crate::CudaKernel;

/// A loaded program.
#[derive(Debug)]
pub struct CudaModule {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) program: Arc<Program>,
    pub(super) kernels: Vec<(CudaKernel, FunctionId)>,
    pub(super) constants: Vec<Memory>,
    /// What a parameter without elements is bound to: loads from it give 0.
    pub(super) nothing: Memory,
}

/// Bytes of the largest element.
pub(super) const ELEMENT_BYTES_MAX: usize = 8;

impl CudaModule {
    pub(super) fn load(
        driver: Arc<dyn Driver>,
        program: Arc<Program>,
    ) -> Result<CudaModule, DeviceError> {
        let bad = |what: String| DeviceError::BadCode(what);
        let text = std::str::from_utf8(&program.code)
            .map_err(|_| bad("the code is no text".to_owned()))?;
        let mut kernels = Vec::with_capacity(program.kernels.len());
        if !program.kernels.is_empty() {
            let module = driver.load(text).map_err(|error| bad(error.to_string()))?;
            for entry in &program.kernels {
                let kernel: CudaKernel = postcard::from_bytes(&entry.code)
                    .map_err(|error| bad(format!("kernel {}: {error}", entry.name)))?;
                if kernel.threads == 0 || kernel.points_per_block == 0 {
                    return Err(bad(format!("kernel {}: it has no threads", entry.name)));
                }
                let function = driver
                    .function(module, &kernel.entry)
                    .map_err(|error| bad(format!("kernel {}: {error}", entry.name)))?;
                kernels.push((kernel, function));
            }
        }
        let constants = program
            .data
            .iter()
            .map(|data| Memory::holding(&driver, data.bytes()))
            .collect::<Result<_, DeviceError>>()?;
        let nothing = Memory::new(&driver, ELEMENT_BYTES_MAX)?;
        Ok(CudaModule {
            driver,
            program,
            kernels,
            constants,
            nothing,
        })
    }
}

impl Module for CudaModule {
    fn arena(&self, bytes: usize) -> Result<Box<dyn Arena>, DeviceError> {
        Ok(Box::new(CudaArena {
            memory: Memory::new(&self.driver, bytes)?,
        }))
    }

    fn launch(&self, arena: &mut dyn Arena, launch: Launch<'_, '_>) -> Result<(), DeviceError> {
        super::launch::launch(self, arena, launch)
    }

    fn parallelism(&self) -> usize {
        self.driver.parallelism()
    }
}
