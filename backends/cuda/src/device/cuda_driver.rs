//! The CUDA driver, loaded when first asked for.

use std::ffi::{CString, c_int, c_void};
use std::sync::Mutex;

use alula_program::DeviceError;
use cudarc::driver::{result, sys};

use super::{Driver, DriverError, FunctionId, ModuleId};

/// A GPU by way of the CUDA driver.
#[derive(Debug)]
pub struct CudaDriver {
    context: Handle<sys::CUcontext>,
    name: String,
    capability: (u32, u32),
    parallelism: usize,
    modules: Mutex<Vec<Handle<sys::CUmodule>>>,
    functions: Mutex<Vec<Handle<sys::CUfunction>>>,
}

/// A handle of the driver: an address that only the driver looks behind.
#[derive(Clone, Copy, Debug)]
struct Handle<T>(T);

// SAFETY: the driver's handles may be used from any thread that has made their context current,
// which every call below does first.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above; the driver does its own locking.
unsafe impl<T> Sync for Handle<T> {}

/// Room for the compiler's words.
const LOG_BYTES: usize = 16 * 1024;

impl CudaDriver {
    /// Opens a GPU by number.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if there is no CUDA library or no such GPU.
    pub fn open(ordinal: u32) -> Result<CudaDriver, DeviceError> {
        let unavailable = |reason: String| DeviceError::Unavailable {
            device: "cuda".to_owned(),
            reason,
        };
        // SAFETY: looks for the library by its known names; loading it runs its initialisers.
        if !unsafe { sys::is_culib_present() } {
            return Err(unavailable("there is no cuda driver library".to_owned()));
        }
        let failed = |error: result::DriverError| unavailable(format!("{error:?}"));
        result::init().map_err(failed)?;
        let count = result::device::get_count().map_err(failed)?;
        let number = c_int::try_from(ordinal).unwrap_or(c_int::MAX);
        if number >= count {
            return Err(unavailable(format!(
                "there is no gpu {ordinal}, there are {count}"
            )));
        }
        let device = result::device::get(number).map_err(failed)?;
        use sys::CUdevice_attribute as Attribute;
        let attribute = |attribute: Attribute| {
            // SAFETY: the device was returned by the driver just now.
            let value = unsafe { result::device::get_attribute(device, attribute) };
            value
                .map(|value| u32::try_from(value).unwrap_or(0))
                .map_err(failed)
        };
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let parallelism = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?
            * attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR)?;
        let name = result::device::get_name(device).map_err(failed)?;
        // SAFETY: as above. The context is kept for as long as the process lives, as its memory
        // may be.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(failed)?;
        Ok(CudaDriver {
            context: Handle(context),
            name,
            capability,
            parallelism: parallelism as usize,
            modules: Mutex::default(),
            functions: Mutex::default(),
        })
    }

    /// Makes the context this thread's.
    fn enter(&self) -> Result<(), DriverError> {
        // SAFETY: the context was retained by `open` and is never released.
        unsafe { result::ctx::set_current(self.context.0) }.map_err(failed)
    }
}

fn failed(error: result::DriverError) -> DriverError {
    DriverError::Failed(format!("{error:?}"))
}

fn missing(what: &str) -> DriverError {
    DriverError::Failed(format!("the {what} does not exist"))
}

impl Driver for CudaDriver {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn capability(&self) -> (u32, u32) {
        self.capability
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }

    fn alloc(&self, bytes: usize) -> Result<u64, DriverError> {
        self.enter()?;
        let bytes = bytes.max(1);
        // SAFETY: a context is current; the memory is cleared within its length.
        unsafe {
            let address =
                result::malloc_sync(bytes).map_err(|_| DriverError::OutOfMemory(bytes))?;
            result::memset_d8_sync(address, 0, bytes).map_err(failed)?;
            Ok(address)
        }
    }

    fn free(&self, address: u64) {
        if self.enter().is_ok() {
            // SAFETY: the caller's: `alloc` gave the address, and nothing uses it any more. A
            // failure leaks the memory.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    fn upload(&self, address: u64, from: &[u8]) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: a context is current; the driver checks device addresses.
        unsafe { result::memcpy_htod_sync(address, from) }.map_err(failed)
    }

    fn download(&self, address: u64, into: &mut [u8]) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: a context is current; the driver checks device addresses.
        unsafe { result::memcpy_dtoh_sync(into, address) }.map_err(failed)
    }

    fn load(&self, ptx: &str) -> Result<ModuleId, DriverError> {
        self.enter()?;
        let text = CString::new(ptx)
            .map_err(|_| DriverError::Failed("the text has a zero byte".to_owned()))?;
        let mut log = vec![0_u8; LOG_BYTES];
        let mut options = [
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        // The second option's value is a number in a pointer's place.
        let mut values = [log.as_mut_ptr().cast::<c_void>(), LOG_BYTES as *mut c_void];
        let mut module = std::ptr::null_mut();
        // SAFETY: a context is current; text, options and the log outlive the call, and the log
        // has the length that is told.
        let status = unsafe {
            sys::cuModuleLoadDataEx(
                &raw mut module,
                text.as_ptr().cast::<c_void>(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        if let Err(error) = status.result() {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
            let words = String::from_utf8_lossy(&log[..end]).into_owned();
            return Err(DriverError::Failed(format!("{error:?}: {words}")));
        }
        let mut modules = self.modules.lock().expect("no thread panics with the lock");
        modules.push(Handle(module));
        Ok(ModuleId(modules.len() - 1))
    }

    fn function(&self, module: ModuleId, name: &str) -> Result<FunctionId, DriverError> {
        self.enter()?;
        let modules = self.modules.lock().expect("no thread panics with the lock");
        let module = modules.get(module.0).ok_or_else(|| missing("module"))?;
        let name = CString::new(name).map_err(|_| missing("function"))?;
        // SAFETY: modules are never unloaded.
        let function = unsafe { result::module::get_function(module.0, name) }.map_err(failed)?;
        let mut functions = self
            .functions
            .lock()
            .expect("no thread panics with the lock");
        functions.push(Handle(function));
        Ok(FunctionId(functions.len() - 1))
    }

    fn launch(
        &self,
        function: FunctionId,
        blocks: u32,
        threads: u32,
        params: &[u64],
    ) -> Result<(), DriverError> {
        self.enter()?;
        let functions = self
            .functions
            .lock()
            .expect("no thread panics with the lock");
        let function = *functions
            .get(function.0)
            .ok_or_else(|| missing("function"))?;
        drop(functions);
        let mut values = params.to_vec();
        let mut pointers: Vec<*mut c_void> = values
            .iter_mut()
            .map(|value| std::ptr::from_mut(value).cast())
            .collect();
        // SAFETY: the parameters are 8 bytes each, as all entries of this back end take them, and
        // live until the launch has read them; the default stream is the current context's.
        unsafe {
            result::launch_kernel(
                function.0,
                (blocks, 1, 1),
                (threads, 1, 1),
                0,
                std::ptr::null_mut(),
                &mut pointers,
            )
        }
        .map_err(failed)?;
        result::ctx::synchronize().map_err(failed)
    }
}
