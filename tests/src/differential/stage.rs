//! The stages: which graph, under which fusion, as what, run by what.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use alula::compile::{CompileOptions, compile};
use alula_cpu::CpuDevice;
use alula_cuda::CudaDevice;
use alula_ir::{Graph, HostValue};
use alula_kernel::{Compute, Kernel, verify};
use alula_lower::build::{ParamSpec, Policy, build};
use alula_lower::cluster::Strategy;
use alula_lower::legalize::{Caps, legalize};
use alula_lower::plan::{KernelWork, Launch, Lowered, lower};
use alula_opt::{Options, optimize};
use alula_program::{Constant, Device, KernelEntry, Program};
use alula_runtime::Session;
use alula_wgpu::WgpuDevice;

use super::interpreter::{self, Interpreter};

#[allow(dead_code, reason = "the back end's own tests use more of it")]
#[path = "../../../backends/cuda/tests/support/mod.rs"]
mod support;

/// Threads of a workgroup.
const LANES: u32 = 64;

/// Which graph a stage gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// As it came.
    Plain,
    /// After all rules.
    Optimized,
}

/// What runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The reference evaluation.
    Reference,
    /// The interpreter, on kernels as they are built for the policy.
    Built(Policy),
    /// The interpreter, on kernels in the words of the CPU's code generator.
    Legal,
    /// Machine code, on so many threads.
    Cpu(usize),
    /// WGSL on an adapter.
    Wgpu,
    /// PTX in its interpreter.
    Ptx,
}

/// A way through the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The graph.
    pub source: Source,
    /// What fuses.
    pub strategy: Strategy,
    /// What runs it.
    pub target: Target,
}

/// A stage that came to nothing.
#[derive(Clone, Debug)]
pub struct Failed {
    /// `lacking` where the target says that it has not what the graph needs.
    pub kind: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Failed {
    fn new(kind: &'static str, error: impl std::fmt::Display) -> Failed {
        Failed {
            kind,
            message: error.to_string(),
        }
    }
}

/// Devices that stages share.
pub struct Devices {
    cpu: Vec<CpuDevice>,
    wgpu: Result<WgpuDevice, String>,
}

impl Devices {
    /// Opens what there is; the adapter only if asked for.
    pub fn open(with_wgpu: bool) -> Devices {
        let open = |threads| CpuDevice::new(threads).expect("this machine has a processor");
        let none = Err("not asked for".to_owned());
        Devices {
            cpu: vec![open(1), open(2)],
            wgpu: match with_wgpu {
                true => WgpuDevice::open(None).map_err(|error| error.to_string()),
                false => none,
            },
        }
    }

    /// Why there is no adapter, if there is none.
    pub fn lacks_wgpu(&self) -> Option<&str> {
        self.wgpu.as_ref().err().map(String::as_str)
    }
}

/// A graph ready to run.
pub(super) enum Prepared {
    Reference(Graph),
    Session(Session),
}

/// What `body` gives; a panic is a failure of its own.
fn guarded<T>(body: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(Failed::new("panic", text.unwrap_or_default()))
        }
    }
}

/// Takes a graph up to where inputs are needed.
pub(super) fn prepare(graph: &Graph, stage: Stage, devices: &Devices) -> Result<Prepared, Failed> {
    guarded(|| {
        let mut graph = graph.clone();
        if stage.source == Source::Optimized {
            let options = Options {
                verify: true,
                ..Options::default()
            };
            optimize(&mut graph, &options).map_err(|error| Failed::new("optimize", error))?;
        }
        let session = |program: Program, device: &dyn Device| {
            Session::new(Arc::new(program), device, Default::default())
                .map(Prepared::Session)
                .map_err(|error| Failed::new("load", error))
        };
        let lowered = |graph: Graph| {
            lower(graph, stage.strategy).map_err(|error| Failed::new("lower", error))
        };
        match stage.target {
            Target::Reference => Ok(Prepared::Reference(graph)),
            Target::Cpu(threads) => {
                let options = CompileOptions {
                    strategy: stage.strategy,
                    verify: true,
                    ..CompileOptions::default()
                };
                let compiled = compile(graph, alula::Target::Cpu, &options);
                let compiled = compiled.map_err(|error| Failed::new("compile", error))?;
                let device = &devices.cpu[threads - 1];
                Session::new(compiled.program, device, Default::default())
                    .map(Prepared::Session)
                    .map_err(|error| Failed::new("load", error))
            }
            Target::Built(policy) => {
                let lowered = lowered(graph)?;
                let kernels = kernels(&lowered, policy, None)?;
                let (program, device) = interpreted(lowered, kernels);
                session(program, &device)
            }
            Target::Legal => {
                let lowered = lowered(graph)?;
                let kernels = kernels(&lowered, Policy::Cpu { lanes: 4 }, Some(&CPU))?;
                let (program, device) = interpreted(lowered, kernels);
                session(program, &device)
            }
            Target::Wgpu => {
                let Ok(device) = &devices.wgpu else {
                    return Err(Failed::new("lacking", "no adapter"));
                };
                let lowered = lowered(graph)?;
                let kernels = kernels(&lowered, Policy::Gpu { lanes: LANES }, Some(&WGSL))?;
                let emitted = kernels.iter().map(alula_wgpu::emit_kernel);
                let emitted = emitted.collect::<Result<Vec<_>, _>>();
                let code = alula_wgpu::link(emitted.map_err(|error| lacking(&error))?);
                let program = program("wgpu", lowered, code.kernels, code.features, code.code);
                session(program, device)
            }
            Target::Ptx => {
                let lowered = lowered(graph)?;
                let kernels = kernels(&lowered, Policy::Gpu { lanes: LANES }, Some(&PTX))?;
                let emitted = kernels.iter().map(alula_cuda::emit_kernel);
                let emitted = emitted.collect::<Result<Vec<_>, _>>();
                let code = alula_cuda::link(emitted.map_err(|error| Failed::new("emit", error))?);
                let program = program("cuda", lowered, code.kernels, code.features, code.code);
                let driver = Arc::new(support::InterpreterDriver::default());
                session(program, &CudaDevice::with_driver(driver))
            }
        }
    })
}

/// What shaders lack is known: 64-bit floats, and more than eight buffers.
fn lacking(error: &impl std::fmt::Display) -> Failed {
    let message = error.to_string();
    let is_known = message.contains("f64") || message.contains("a shader binds 8");
    Failed::new(if is_known { "lacking" } else { "emit" }, message)
}

/// Runs it on inputs.
pub(super) fn run(
    prepared: &Prepared,
    graph: &Graph,
    feed: &[HostValue],
) -> Result<Vec<HostValue>, Failed> {
    guarded(|| match prepared {
        Prepared::Reference(graph) => {
            let outputs = alula_ops::evaluate(graph, feed.to_vec());
            outputs.map_err(|error| Failed::new("run", error))
        }
        Prepared::Session(session) => {
            let name = |id| graph.value(id).name.as_deref().unwrap_or_default();
            let names = graph.inputs().iter().map(|id| name(*id));
            let inputs: Vec<(&str, HostValue)> = names.zip(feed.iter().cloned()).collect();
            let outputs = session.run(&inputs);
            let outputs = outputs.map_err(|error| Failed::new("run", error))?;
            Ok(outputs.into_iter().map(|(_, value)| value).collect())
        }
    })
}

const CPU: Caps = Caps {
    op: alula_cpu::is_native,
    cast: alula_cpu::is_native_cast,
    storage: alula_cpu::is_native_storage,
};

const WGSL: Caps = Caps {
    op: alula_wgpu::is_native,
    cast: alula_wgpu::is_native_cast,
    storage: alula_wgpu::is_stored,
};

const PTX: Caps = Caps {
    op: alula_cuda::is_native,
    cast: alula_cuda::is_native_cast,
    storage: alula_cuda::is_stored,
};

/// The kernel of every launch, verified, in the target's words if it has some.
fn kernels(lowered: &Lowered, policy: Policy, caps: Option<&Caps>) -> Result<Vec<Kernel>, Failed> {
    let make = |launch: &Launch| {
        let lay_out = |compute: &Compute| {
            let params: Vec<ParamSpec> = (0..=compute.operands.len())
                .map(|k| ParamSpec::row_major(format!("p{k}")))
                .collect();
            build(&launch.name, compute, &params, policy)
        };
        let mut kernel = match &launch.work {
            KernelWork::Compute(compute) => lay_out(compute),
            KernelWork::Contract(contract) => {
                lay_out(&contract.to_compute().expect("a plain form"))
            }
            KernelWork::Kernel(kernel) => kernel.as_ref().clone(),
        };
        let check = |kernel: &Kernel| {
            verify(kernel).map_err(|errors| Failed::new("verify", format!("{errors:?}")))
        };
        check(&kernel)?;
        if let Some(caps) = caps {
            legalize(&mut kernel, caps).map_err(|error| lacking(&error))?;
            check(&kernel)?;
        }
        Ok(kernel)
    };
    lowered.launches.iter().map(make).collect()
}

fn interpreted(lowered: Lowered, kernels: Vec<Kernel>) -> (Program, Interpreter) {
    let entries = kernels.iter().map(interpreter::entry).collect();
    let program = program(
        interpreter::TARGET,
        lowered,
        entries,
        Vec::new(),
        Vec::new(),
    );
    (program, Interpreter(Arc::new(kernels)))
}

fn program(
    target: &str,
    lowered: Lowered,
    kernels: Vec<KernelEntry>,
    features: Vec<String>,
    code: Vec<u8>,
) -> Program {
    let (mut constants, mut data) = (Vec::new(), Vec::new());
    for (name, tensor) in lowered.constants {
        let storage = tensor.storage().expect("constants are numbers").clone();
        constants.push(Constant {
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            bytes: storage.bytes().len() as u64,
            name,
        });
        data.push(storage);
    }
    Program {
        target: target.to_owned(),
        precision: "highest".to_owned(),
        features,
        plans: lowered.plans,
        kernels,
        code,
        constants,
        data,
    }
}
