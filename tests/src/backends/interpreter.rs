//! The kernel interpreter as a device of the runtime: plans run as on any target, and each launch
//! interprets the kernel.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use alula_kernel::interpret::{self, Bytes, Options};
use alula_kernel::{Access, Kernel};
use alula_program::{
    Arena, Arg, Device, DeviceError, KernelEntry, KernelParam, Launch, Module, ParamAccess, Program,
};
use alula_tensor::{Dim, Symbol};

/// Interprets these kernels, which programs name by position.
pub(crate) struct Interpreter(pub(crate) Arc<Vec<Kernel>>);

/// The name of the target.
pub(crate) const TARGET: &str = "interpreter";

/// What a program says of a kernel.
pub(crate) fn entry(kernel: &Kernel) -> KernelEntry {
    let param = |param: &alula_kernel::Param| KernelParam {
        access: match param.access {
            Access::Read => ParamAccess::Read,
            _ => ParamAccess::Write,
        },
        bytes: param.elements.clone() * Dim::from(param.dtype.size_bytes()),
    };
    KernelEntry {
        name: kernel.name.clone(),
        params: kernel.params.iter().map(param).collect(),
        symbols: kernel.symbols.clone(),
        scratch: Dim::new(0),
        work: kernel.work(),
        code: Vec::new(),
    }
}

impl Device for Interpreter {
    fn target(&self) -> &str {
        TARGET
    }

    fn abi(&self) -> String {
        TARGET.to_owned()
    }

    fn has_host_memory(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        "kernel interpreter".to_owned()
    }

    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Module>, DeviceError> {
        let kernels = Arc::clone(&self.0);
        Ok(Box::new(Loaded { kernels, program }))
    }
}

struct Loaded {
    kernels: Arc<Vec<Kernel>>,
    program: Arc<Program>,
}

struct Memory(Vec<u8>);

impl Arena for Memory {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&mut self, range: Range<usize>, into: &mut [u8]) -> Result<(), DeviceError> {
        into.copy_from_slice(&self.0[range]);
        Ok(())
    }

    fn write(&mut self, offset: usize, from: &[u8]) -> Result<(), DeviceError> {
        self.0[offset..offset + from.len()].copy_from_slice(from);
        Ok(())
    }

    fn host(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.0)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Module for Loaded {
    fn arena(&self, bytes: usize) -> Result<Box<dyn Arena>, DeviceError> {
        // Garbage, so that what is read before it is written shows.
        Ok(Box::new(Memory(vec![0xA5; bytes])))
    }

    fn launch(&self, arena: &mut dyn Arena, launch: Launch<'_, '_>) -> Result<(), DeviceError> {
        let kernel = &self.kernels[launch.kernel];
        let symbols: Vec<(&Symbol, i64)> = kernel
            .symbols
            .iter()
            .zip(launch.symbols.iter().copied())
            .collect();
        let known = |symbol: &Symbol| symbols.iter().find(|(s, _)| *s == symbol).map(|(_, v)| *v);
        let memory = arena.host().expect("the arena is host memory");
        let mut copies: Vec<Vec<u8>> = launch
            .args
            .iter()
            .map(|arg| match arg {
                Arg::Arena(range) => memory[range.clone()].to_vec(),
                Arg::Constant(position) => self.program.data[*position].bytes().to_vec(),
                Arg::Host(bytes) => bytes.to_vec(),
                Arg::HostMut(bytes) => bytes.to_vec(),
                Arg::Again(position) => match &launch.args[*position] {
                    Arg::HostMut(bytes) => bytes.to_vec(),
                    other => panic!("{other:?} is not written"),
                },
            })
            .collect();
        let mut buffers: Vec<Bytes<'_>> = copies.iter_mut().map(|b| Bytes::Write(b)).collect();
        interpret::run(kernel, &mut buffers, &known, Options::default()).map_err(|error| {
            DeviceError::Launch {
                kernel: kernel.name.clone(),
                reason: error.to_string(),
            }
        })?;
        for ((arg, copy), param) in launch.args.iter_mut().zip(copies).zip(&kernel.params) {
            match arg {
                _ if param.access == Access::Read => {}
                Arg::Arena(range) => memory[range.clone()].copy_from_slice(&copy),
                Arg::HostMut(bytes) => bytes.copy_from_slice(&copy),
                Arg::Constant(_) | Arg::Host(_) | Arg::Again(_) => {
                    panic!("what is only read is written")
                }
            }
        }
        Ok(())
    }

    fn parallelism(&self) -> usize {
        1
    }
}
