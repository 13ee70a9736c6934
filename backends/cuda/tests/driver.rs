//! Opening a GPU.

use alula_cuda::{CudaDriver, Driver};
use alula_program::DeviceError;

#[test]
fn a_machine_without_the_driver_is_told_so() {
    match CudaDriver::open(0) {
        Ok(driver) => assert!(!driver.name().is_empty()),
        Err(error) => assert!(matches!(error, DeviceError::Unavailable { .. }), "{error}"),
    }
}
