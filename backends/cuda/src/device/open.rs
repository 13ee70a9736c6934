//! The device: a driver with its GPU.

use std::sync::Arc;

use alula_program::{Device, DeviceError, Module, Program};

use super::{CudaDriver, CudaModule, Driver};

/// A GPU that runs PTX.
#[derive(Clone, Debug)]
pub struct CudaDevice {
    driver: Arc<dyn Driver>,
}

impl CudaDevice {
    /// Opens a GPU by number.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if there is no CUDA library or no such GPU.
    pub fn open(ordinal: u32) -> Result<CudaDevice, DeviceError> {
        Ok(CudaDevice::with_driver(Arc::new(CudaDriver::open(
            ordinal,
        )?)))
    }

    /// A device of any driver.
    pub fn with_driver(driver: Arc<dyn Driver>) -> CudaDevice {
        CudaDevice { driver }
    }
}

impl Device for CudaDevice {
    fn target(&self) -> &str {
        "cuda"
    }

    fn abi(&self) -> String {
        crate::abi()
    }

    fn describe(&self) -> String {
        let (major, minor) = self.driver.capability();
        format!("{} (sm_{major}{minor})", self.driver.name())
    }

    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Module>, DeviceError> {
        let (major, minor) = self.driver.capability();
        for feature in &program.features {
            let needed = feature
                .strip_prefix("sm_")
                .and_then(|number| number.parse::<u32>().ok());
            if needed.is_none_or(|needed| needed > 10 * major + minor) {
                let reason = format!("the program needs {feature}, it is sm_{major}{minor}");
                return Err(DeviceError::Unavailable {
                    device: self.driver.name(),
                    reason,
                });
            }
        }
        Ok(Box::new(CudaModule::load(
            Arc::clone(&self.driver),
            program,
        )?))
    }
}
