//! What a back end's device offers the runtime.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::Program;

/// Why a device cannot do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The device is not there, or lacks something that the program needs.
    #[error("{device}: {reason}")]
    Unavailable {
        /// The device's name.
        device: String,
        /// What is missing.
        reason: String,
    },
    /// The program is not one that this device's back end wrote.
    #[error("the program's code is damaged: {0}")]
    BadCode(String),
    /// Memory could not be had.
    #[error("{0} bytes of memory could not be allocated on the device")]
    OutOfMemory(u64),
    /// A parameter of a launch is too short, or memory that is written overlaps other memory.
    #[error("kernel {kernel}, parameter {param}: {reason}")]
    BadArg {
        /// The kernel's name.
        kernel: String,
        /// The parameter's position.
        param: usize,
        /// What is wrong.
        reason: String,
    },
    /// The run's time was over before the launch was done.
    #[error("kernel {kernel}: the deadline has passed")]
    Deadline {
        /// The kernel's name.
        kernel: String,
    },
    /// A launch failed.
    #[error("kernel {kernel}: {reason}")]
    Launch {
        /// The kernel's name.
        kernel: String,
        /// What the device said.
        reason: String,
    },
}

/// A place where programs run.
pub trait Device: Send + Sync {
    /// The target whose programs it runs.
    fn target(&self) -> &str;

    /// How this device calls kernels and in what form it takes packed constants, in words with
    /// version numbers. It runs only programs that say the same.
    fn abi(&self) -> String;

    /// Whether its arenas are host memory, so that kernels may as well be given other host memory
    /// to write to.
    fn has_host_memory(&self) -> bool {
        false
    }

    /// A line for the user: processor or adapter, with what matters of its features.
    fn describe(&self) -> String;

    /// Loads a program's kernels and constants.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] or [`DeviceError::BadCode`], before anything is run.
    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Module>, DeviceError>;
}

/// Memory of a device for one run at a time.
pub trait Arena: Send {
    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes to the host.
    ///
    /// # Errors
    /// [`DeviceError`] when the range is outside or the device fails.
    fn read(&mut self, range: Range<usize>, into: &mut [u8]) -> Result<(), DeviceError>;

    /// Copies bytes from the host.
    ///
    /// # Errors
    /// [`DeviceError`] when the range is outside or the device fails.
    fn write(&mut self, offset: usize, from: &[u8]) -> Result<(), DeviceError>;

    /// The bytes, if they are host memory.
    fn host(&mut self) -> Option<&mut [u8]>;

    /// For the device that made it.
    fn as_any(&mut self) -> &mut dyn std::any::Any;
}

/// What a launch is given for a parameter.
#[derive(Debug)]
pub enum Arg<'a> {
    /// A range of the arena.
    Arena(Range<usize>),
    /// A constant of the program, by position.
    Constant(usize),
    /// Host memory that is read.
    Host(&'a [u8]),
    /// Host memory that is written.
    HostMut(&'a mut [u8]),
    /// The host memory that the parameter at this position writes, which the kernel reads too.
    Again(usize),
}

/// A launch of a kernel.
#[derive(Debug)]
pub struct Launch<'a, 'b> {
    /// Position in the program's kernels.
    pub kernel: usize,
    /// Parameters in order.
    pub args: &'a mut [Arg<'b>],
    /// Values of the kernel's symbols, in order.
    pub symbols: &'a [i64],
    /// Scalar evaluations, about.
    pub work: u64,
    /// When the run's time is over. A device that can ends a long launch soon after.
    pub deadline: Option<Instant>,
}

/// A loaded program.
pub trait Module: Send + Sync {
    /// Allocates memory for a run, zeroed.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`].
    fn arena(&self, bytes: usize) -> Result<Box<dyn Arena>, DeviceError>;

    /// Runs a kernel; results can be read when it returns. Parameters are checked against the
    /// kernel's bounds first.
    ///
    /// # Errors
    /// [`DeviceError::BadArg`] before anything is run, [`DeviceError::Launch`] and
    /// [`DeviceError::Deadline`] after.
    fn launch(&self, arena: &mut dyn Arena, launch: Launch<'_, '_>) -> Result<(), DeviceError>;

    /// Bytes that a launch of a kernel takes beside its arguments, for values of its symbols.
    ///
    /// # Errors
    /// [`DeviceError`] where the kernel cannot be launched with such sizes.
    fn scratch_bytes(&self, _kernel: usize, _symbols: &[i64]) -> Result<u64, DeviceError> {
        Ok(0)
    }

    /// How many threads or lanes work at once, for reports.
    fn parallelism(&self) -> usize;
}
