//! PTX to results: a driver, its memory, and launches.

mod arena;
mod cuda_driver;
mod driver;
#[cfg(feature = "interpreter")]
mod interpreter;
mod launch;
mod module;
mod open;

pub use arena::CudaArena;
pub use cuda_driver::CudaDriver;
pub use driver::{Driver, DriverError, FunctionId, ModuleId};
#[cfg(feature = "interpreter")]
pub use interpreter::InterpreterDriver;
pub use module::CudaModule;
pub use open::CudaDevice;
