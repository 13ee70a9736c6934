//! What runs kernels: the interpreter, machine code, WGSL on an adapter, PTX in its interpreter.
//!
//! A [`Backend`] puts a kernel in its words and prints it; [`Devices`] runs what was printed. Tests
//! that are about kernels go over all of [`Backend::ALL`] and name none.

mod interpreter;
mod ptxas;

use std::sync::Arc;

use alula_cpu::{CpuDevice, CpuTarget, Dump, Unit};
use alula_cuda::{CudaDevice, InterpreterDriver};
use alula_kernel::{Kernel, verify};
use alula_lower::legalize::{Caps, legalize};
use alula_program::{Device, DeviceError, KernelEntry, Module, Program};
use alula_tensor::Storage;
use alula_wgpu::WgpuDevice;

pub(crate) use interpreter::{Interpreter, entry};
pub use ptxas::{assemble, find_ptxas};

/// Something that runs kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The interpreter of kernels, which knows all words.
    Interpreter,
    /// Machine code on one thread.
    Cpu,
    /// WGSL on an adapter.
    Wgpu,
    /// PTX in its interpreter.
    Cuda,
}

/// Why a kernel does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRun {
    /// The target says that it lacks something, and what.
    Refused(String),
    /// This machine has no such device.
    Absent(String),
    /// A defect.
    Failed(String),
}

/// Printed kernels, as a program holds them.
pub struct Code {
    /// What a launch needs to know.
    pub kernels: Vec<KernelEntry>,
    /// The code.
    pub code: Vec<u8>,
    /// What it needs of a device.
    pub features: Vec<String>,
}

fn refused(error: impl std::fmt::Display) -> NoRun {
    NoRun::Refused(error.to_string())
}

fn failed(error: impl std::fmt::Display) -> NoRun {
    NoRun::Failed(error.to_string())
}

impl Backend {
    /// All of them.
    pub const ALL: [Backend; 4] = [
        Backend::Interpreter,
        Backend::Cpu,
        Backend::Wgpu,
        Backend::Cuda,
    ];

    /// The name of the target.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Interpreter => interpreter::TARGET,
            Backend::Cpu => alula_cpu::TARGET,
            Backend::Wgpu => "wgpu",
            Backend::Cuda => "cuda",
        }
    }

    /// What it prints itself; `None` if everything.
    pub fn caps(self) -> Option<Caps> {
        match self {
            Backend::Interpreter => None,
            Backend::Cpu => Some(Caps {
                op: alula_cpu::is_native,
                cast: alula_cpu::is_native_cast,
                storage: alula_cpu::is_native_storage,
                lanes: true,
                unrolled: true,
            }),
            Backend::Wgpu => Some(Caps {
                op: alula_wgpu::is_native,
                cast: alula_wgpu::is_native_cast,
                storage: alula_wgpu::is_stored,
                lanes: false,
                unrolled: false,
            }),
            Backend::Cuda => Some(Caps {
                op: alula_cuda::is_native,
                cast: alula_cuda::is_native_cast,
                storage: alula_cuda::is_stored,
                lanes: false,
                unrolled: false,
            }),
        }
    }

    /// A kernel in its words, verified.
    ///
    /// # Errors
    /// [`NoRun::Refused`] for what has no expansion, [`NoRun::Failed`] if it is not well formed.
    pub fn legal(self, kernel: &Kernel) -> Result<Kernel, NoRun> {
        let mut kernel = kernel.clone();
        if let Some(caps) = self.caps() {
            legalize(&mut kernel, &caps).map_err(refused)?;
        }
        verify(&kernel).map_err(|errors| failed(format!("{errors:?}")))?;
        Ok(kernel)
    }

    /// A kernel in its words, printed.
    ///
    /// # Errors
    /// As [`Backend::legal`], and what the printer says.
    pub fn print(self, kernel: &Kernel) -> Result<Code, NoRun> {
        let kernel = self.legal(kernel)?;
        match self {
            Backend::Interpreter => Ok(Code {
                kernels: vec![entry(&kernel)],
                code: Vec::new(),
                features: Vec::new(),
            }),
            Backend::Cpu => {
                let target = CpuTarget::host().map_err(failed)?;
                let emitted = alula_cpu::emit_kernel(&kernel, &target, Dump::default());
                let emitted = emitted.map_err(|error| match error {
                    alula_cpu::EmitError::Unsupported { .. } => refused(error),
                    other => failed(other),
                })?;
                let unit = Unit::Loops(Box::new(emitted));
                let assembled = alula_cpu::assemble(&target, [unit]).map_err(failed)?;
                Ok(Code {
                    kernels: assembled.kernels,
                    code: assembled.code,
                    features: assembled.features,
                })
            }
            Backend::Wgpu => {
                let emitted = alula_wgpu::emit_kernel(&kernel).map_err(|error| match error {
                    alula_wgpu::EmitError::Invalid { .. } => failed(error),
                    other => refused(other),
                })?;
                let linked = alula_wgpu::link([emitted]);
                Ok(Code {
                    kernels: linked.kernels,
                    code: linked.code,
                    features: linked.features,
                })
            }
            Backend::Cuda => {
                let linked = alula_cuda::link([alula_cuda::emit_kernel(&kernel).map_err(refused)?]);
                Ok(Code {
                    kernels: linked.kernels,
                    code: linked.code,
                    features: linked.features,
                })
            }
        }
    }
}

/// A program of printed kernels, with constants but without plans.
pub fn program(backend: Backend, code: Code, data: Vec<Storage>) -> Program {
    Program {
        target: backend.name().to_owned(),
        precision: "highest".to_owned(),
        abi: match backend {
            Backend::Interpreter => Backend::Interpreter.name().to_owned(),
            Backend::Cpu => alula_cpu::abi(),
            Backend::Wgpu => alula_wgpu::abi(),
            Backend::Cuda => alula_cuda::abi(),
        },
        features: code.features,
        tuned: None,
        plans: Vec::new(),
        kernels: code.kernels,
        code: code.code,
        constants: Vec::new(),
        data,
    }
}

/// Devices that tests share.
pub struct Devices {
    cpu: [CpuDevice; 2],
    wgpu: Result<WgpuDevice, String>,
}

impl Devices {
    /// Opens what there is.
    ///
    /// # Panics
    /// When threads cannot be started.
    pub fn open() -> Devices {
        let open = |threads| CpuDevice::new(threads).expect("this machine has a processor");
        Devices {
            cpu: [open(1), open(2)],
            wgpu: WgpuDevice::open(None).map_err(|error| error.to_string()),
        }
    }

    /// Why there is no adapter, if there is none.
    pub fn lacks_wgpu(&self) -> Option<&str> {
        self.wgpu.as_ref().err().map(String::as_str)
    }

    /// The processor, with one thread or two.
    pub fn cpu(&self, threads: usize) -> &CpuDevice {
        &self.cpu[threads - 1]
    }

    /// The adapter.
    ///
    /// # Errors
    /// [`NoRun::Absent`].
    pub fn wgpu(&self) -> Result<&WgpuDevice, NoRun> {
        self.wgpu.as_ref().map_err(|why| NoRun::Absent(why.clone()))
    }

    /// A GPU that is the PTX interpreter.
    pub fn cuda(&self) -> CudaDevice {
        CudaDevice::with_driver(Arc::new(InterpreterDriver::default()))
    }

    /// Prints and loads one kernel, with constants.
    ///
    /// # Errors
    /// [`NoRun`].
    pub fn load(
        &self,
        backend: Backend,
        kernel: &Kernel,
        data: Vec<Storage>,
    ) -> Result<Box<dyn Module>, NoRun> {
        let program = Arc::new(program(backend, backend.print(kernel)?, data));
        let module = match backend {
            Backend::Interpreter => Interpreter(Arc::new(vec![kernel.clone()])).load(program),
            Backend::Cpu => self.cpu(1).load(program),
            Backend::Wgpu => self.wgpu()?.load(program),
            Backend::Cuda => self.cuda().load(program),
        };
        module.map_err(|error| match error {
            DeviceError::Unavailable { .. } => refused(error),
            other => failed(other),
        })
    }
}
