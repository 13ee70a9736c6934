//! A driver whose GPU is the PTX interpreter, and the vendor's assembler.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use alula_cuda::{Driver, DriverError, FunctionId, ModuleId};
use alula_ptx_interpreter::{Device, LaunchOptions, Module, ParamValue};

/// The interpreter as a driver. Memory is poisoned by the interpreter and cleared here, as the
/// trait asks.
#[derive(Debug, Default)]
pub(crate) struct InterpreterDriver {
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
        let mut state = self.state.lock().expect("no test panics with the lock");
        Ok(state.device.alloc_with(&vec![0; bytes]))
    }

    fn free(&self, address: u64) {
        let mut state = self.state.lock().expect("no test panics with the lock");
        state
            .device
            .free(address)
            .expect("the device gave the address");
    }

    fn upload(&self, address: u64, from: &[u8]) -> Result<(), DriverError> {
        let mut state = self.state.lock().expect("no test panics with the lock");
        state.device.write(address, from).map_err(failed)
    }

    fn download(&self, address: u64, into: &mut [u8]) -> Result<(), DriverError> {
        let state = self.state.lock().expect("no test panics with the lock");
        state.device.read(address, into).map_err(failed)
    }

    fn load(&self, ptx: &str) -> Result<ModuleId, DriverError> {
        let module = Module::parse(ptx).map_err(failed)?;
        let mut state = self.state.lock().expect("no test panics with the lock");
        state.modules.push(module);
        Ok(ModuleId(state.modules.len() - 1))
    }

    fn function(&self, module: ModuleId, name: &str) -> Result<FunctionId, DriverError> {
        let mut state = self.state.lock().expect("no test panics with the lock");
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
        let mut state = self.state.lock().expect("no test panics with the lock");
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

/// The assembler: `$PTXAS`, on the path, or where `tools/models/setup.py ptxas` puts it.
pub(crate) fn find_ptxas() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("PTXAS") {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cache = std::env::var_os("ALULA_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(Path::new(&home).join(".cache/alula"))
        });
    std::env::split_paths(&path)
        .map(|folder| folder.join("ptxas"))
        .chain(cache.map(|cache| cache.join("ptxas/nvidia/cu13/bin/ptxas")))
        .find(|file| file.is_file())
}

/// Assembles a module for a target; the error is what the assembler says.
pub(crate) fn assemble(ptxas: &Path, target: &str, text: &str) -> Result<(), String> {
    let mut child = Command::new(ptxas)
        .args([
            "--opt-level",
            "0",
            "--gpu-name",
            target,
            "--output-file",
            "/dev/null",
            "-",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut input = child.stdin.take().expect("the pipe was asked for");
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    writer
        .join()
        .expect("writing does not panic")
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let words = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&words).chars().take(3000).collect())
}
