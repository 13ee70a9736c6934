//! What the device needs of whatever runs PTX.

use std::fmt::Debug;

/// A loaded module, by its number in its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleId(pub usize);

/// A function of a loaded module, by its number in its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionId(pub usize);

/// What a driver has against a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// There is no memory for this many bytes.
    #[error("no memory for {0} bytes")]
    OutOfMemory(usize),
    /// Anything else, in the driver's words.
    #[error("{0}")]
    Failed(String),
}

/// Something that holds device memory and runs PTX. Addresses are the device's own.
pub trait Driver: Debug + Send + Sync {
    /// The device's name, for the user.
    fn name(&self) -> String;

    /// Its compute capability, e.g. `(8, 6)`.
    fn capability(&self) -> (u32, u32);

    /// How many threads run at once, about.
    fn parallelism(&self) -> usize;

    /// Allocates memory, aligned to 256 bytes, zeroed.
    ///
    /// # Errors
    /// [`DriverError::OutOfMemory`].
    fn alloc(&self, bytes: usize) -> Result<u64, DriverError>;

    /// Frees memory that `alloc` gave. A failure cannot be handled and is not told.
    fn free(&self, address: u64);

    /// Copies bytes to the device.
    ///
    /// # Errors
    /// [`DriverError::Failed`].
    fn upload(&self, address: u64, from: &[u8]) -> Result<(), DriverError>;

    /// Copies bytes from the device.
    ///
    /// # Errors
    /// [`DriverError::Failed`].
    fn download(&self, address: u64, into: &mut [u8]) -> Result<(), DriverError>;

    /// Compiles and loads a PTX module.
    ///
    /// # Errors
    /// [`DriverError::Failed`] with the compiler's log.
    fn load(&self, ptx: &str) -> Result<ModuleId, DriverError>;

    /// Finds an entry.
    ///
    /// # Errors
    /// [`DriverError::Failed`] if the module has none of that name.
    fn function(&self, module: ModuleId, name: &str) -> Result<FunctionId, DriverError>;

    /// Runs `blocks` blocks of `threads` threads and waits for them. Every parameter has 8 bytes.
    ///
    /// # Errors
    /// [`DriverError::Failed`] if the launch is refused or faults.
    fn launch(
        &self,
        function: FunctionId,
        blocks: u32,
        threads: u32,
        params: &[u64],
    ) -> Result<(), DriverError>;
}
