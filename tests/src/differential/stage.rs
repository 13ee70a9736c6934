//! The stages: which graph, under which fusion, as what, run by what.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use alula::Native;
use alula::compile::{CompileError, CompileOptions, compile};
use alula_ir::{Graph, HostValue};
use alula_kernel::{Compute, Kernel, verify};
use alula_lower::build::Policy;
use alula_lower::cluster::Strategy;
use alula_lower::layout::Layouts;
use alula_lower::plan::{KernelWork, Launch, Lowered, lower_with};
use alula_lower::schedule::schedule;
use alula_opt::{Options, optimize};
use alula_program::{Constant, Device, Program};
use alula_runtime::Session;

use crate::backends::{Backend, Devices, Interpreter, NoRun, entry};

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
    /// The interpreter, on kernels in the words of the CPU's code generator, with buffers laid out
    /// so.
    Legal(Layouts),
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
    /// `refused` where the target says that it has not what the graph needs, `absent` where this
    /// machine has no such device.
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
        let session = |program: Arc<Program>, device: &dyn Device| {
            Session::new(program, device, Default::default())
                .map(Prepared::Session)
                .map_err(|error| Failed::new("load", error))
        };
        let compiled = |graph: Graph, target: alula::Target| {
            let options = CompileOptions {
                strategy: stage.strategy,
                verify: true,
                // By definition is what the reference does.
                native: Native::All,
                ..CompileOptions::default()
            };
            let compiled = compile(graph, target, &options);
            compiled.map(|c| c.program).map_err(|error| match error {
                CompileError::Refused { .. } => Failed::new("refused", error),
                other => Failed::new("compile", other),
            })
        };
        let interpreted = |graph: Graph, policy: Policy, layouts: Layouts, words: Backend| {
            let lowered = lower_with(graph, stage.strategy, layouts);
            let lowered = lowered.map_err(|error| Failed::new("lower", error))?;
            let kernels = kernels(&lowered, policy, words)?;
            let program = program(lowered, &kernels);
            session(Arc::new(program), &Interpreter(Arc::new(kernels)))
        };
        match stage.target {
            Target::Reference => Ok(Prepared::Reference(graph)),
            Target::Cpu(threads) => {
                session(compiled(graph, alula::Target::Cpu)?, devices.cpu(threads))
            }
            Target::Wgpu => {
                let program = compiled(graph, alula::Target::Wgpu)?;
                let device = devices.wgpu();
                session(
                    program,
                    device.map_err(|why| Failed::new("absent", format!("{why:?}")))?,
                )
            }
            Target::Ptx => session(compiled(graph, alula::Target::Cuda)?, &devices.cuda()),
            Target::Built(policy) => {
                let layouts = Layouts::RowMajor;
                interpreted(graph, policy, layouts, Backend::Interpreter)
            }
            Target::Legal(layouts) => {
                interpreted(graph, Policy::Cpu { lanes: 4 }, layouts, Backend::Cpu)
            }
        }
    })
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

/// The kernel of every launch, verified, in the back end's words.
fn kernels(lowered: &Lowered, policy: Policy, words: Backend) -> Result<Vec<Kernel>, Failed> {
    let make = |launch: &Launch| {
        let lay_out =
            |compute: &Compute| schedule(&launch.name, compute, &launch.params(compute), policy);
        let kernel = match &launch.work {
            KernelWork::Compute(compute) => lay_out(compute),
            KernelWork::Contract(contract) => {
                lay_out(&contract.to_compute().expect("a plain form"))
            }
            KernelWork::Kernel(kernel) => kernel.as_ref().clone(),
        };
        verify(&kernel).map_err(|errors| Failed::new("verify", format!("{errors:?}")))?;
        words.legal(&kernel).map_err(|error| match error {
            NoRun::Refused(why) => Failed::new("refused", why),
            NoRun::Absent(why) | NoRun::Failed(why) => Failed::new("verify", why),
        })
    };
    lowered.launches.iter().map(make).collect()
}

fn program(lowered: Lowered, kernels: &[Kernel]) -> Program {
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
        target: Backend::Interpreter.name().to_owned(),
        precision: "highest".to_owned(),
        abi: Backend::Interpreter.name().to_owned(),
        features: Vec::new(),
        tuned: None,
        plans: lowered.plans,
        kernels: kernels.iter().map(entry).collect(),
        code: Vec::new(),
        constants,
        data,
    }
}
