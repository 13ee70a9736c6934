//! A driver whose GPU is the PTX interpreter.

use std::sync::Mutex;

use alula_ptx_interpreter::{Device, LaunchOptions, Module, ParamValue};

use super::{Driver, DriverError, FunctionId, ModuleId};

/// The interpreter as a driver. Memory is poisoned by the interpreter and cleared here, as the
/// trait asks.
#[derive(Debug, Default)]
pub struct InterpreterDriver {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    device: Device,
    modules: Vec<Module>,
    functions: Vec<(usize, String)>,
    launches: u64,
}

fn failed(error: impl std::fmt::Display) -> DriverError {
    DriverError::Failed(error.to_string())
}

impl Driver for InterpreterDriver {
    fn name(&self) -> String {
        "ptx interpreter".to_owned()
    }

    fn capability(&self) -> (u32, u32) {
        (7, 5)
    }

    fn parallelism(&self) -> usize {
        1
    }

    fn alloc(&self, bytes: usize) -> Result<u64, DriverError> {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        Ok(state.device.alloc_with(&vec![0; bytes]))
    }

    fn free(&self, address: u64) {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        state
            .device
            .free(address)
            .expect("the device gave the address");
    }

    fn upload(&self, address: u64, from: &[u8]) -> Result<(), DriverError> {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        state.device.write(address, from).map_err(failed)
    }

    fn download(&self, address: u64, into: &mut [u8]) -> Result<(), DriverError> {
        let state = self.state.lock().expect("no holder of the lock panics");
        state.device.read(address, into).map_err(failed)
    }

    fn load(&self, ptx: &str) -> Result<ModuleId, DriverError> {
        let module = Module::parse(ptx).map_err(failed)?;
        let mut state = self.state.lock().expect("no holder of the lock panics");
        state.modules.push(module);
        Ok(ModuleId(state.modules.len() - 1))
    }

    fn function(&self, module: ModuleId, name: &str) -> Result<FunctionId, DriverError> {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        let found = state
            .modules
            .get(module.0)
            .and_then(|module| module.kernel(name));
        found.ok_or_else(|| failed(format!("no entry {name}")))?;
        state.functions.push((module.0, name.to_owned()));
        Ok(FunctionId(state.functions.len() - 1))
    }

    fn launch(
        &self,
        function: FunctionId,
        blocks: u32,
        threads: u32,
        params: &[u64],
    ) -> Result<(), DriverError> {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        state.launches += 1;
        let State {
            device,
            modules,
            functions,
            launches,
        } = &mut *state;
        let (module, name) = &functions[function.0];
        let params: Vec<ParamValue> = params.iter().map(|&value| ParamValue::U64(value)).collect();
        let options = LaunchOptions {
            seed: *launches,
            ..LaunchOptions::default()
        };
        let (grid, block) = ([blocks, 1, 1], [threads, 1, 1]);
        device
            .launch(&modules[*module], name, grid, block, 0, &params, &options)
            .map(|_| ())
            .map_err(failed)
    }
}
