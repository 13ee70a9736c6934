//! Kernels for this machine's processors: loops laid out, legalized, printed side by side.

use std::collections::BTreeMap;

use alula_cpu::{CpuEntry, CpuTarget, Dump, Emitted, emit_kernel, link};
use alula_kernel::{Access, Kernel};
use alula_lower::build::{ParamSpec, Policy, build};
use alula_lower::legalize::{Caps, legalize};
use alula_lower::plan::{KernelWork, Launch, Lowered};
use alula_program::{Constant, KernelEntry, KernelParam, ParamAccess, Program, Step};
use alula_tensor::{DType, Dim, Storage};
use rayon::prelude::*;

use super::{CompileError, CompileOptions};

/// Lanes of a vector loop: 128 bits of `f32`.
const LANES: u32 = 4;

/// What the code generator prints itself.
const CAPS: Caps = Caps {
    op: alula_cpu::is_native,
    cast: alula_cpu::is_native_cast,
    storage: is_stored,
};

/// Every format lives in registers and memory; conversions that are missing are expanded.
fn is_stored(dtype: DType) -> bool {
    dtype != DType::String
}

/// Compiles every launch and puts the program together.
pub(super) fn assemble(
    lowered: Lowered,
    options: &CompileOptions,
) -> Result<Program, CompileError> {
    let target = CpuTarget::host().map_err(|error| CompileError::Target(error.to_string()))?;
    let kernels: Vec<Kernel> = lowered
        .launches
        .par_iter()
        .map(|launch| loops(launch, options))
        .collect::<Result<_, _>>()?;
    let (unique, position_of) = merge(kernels);
    let emitted: Vec<Emitted> = unique
        .par_iter()
        .map(|kernel| {
            emit_kernel(kernel, &target, Dump::default()).map_err(|error| fail(&kernel.name, error))
        })
        .collect::<Result<_, _>>()?;
    let code = link(&target, emitted);
    let entries = unique
        .iter()
        .enumerate()
        .map(|(k, kernel)| entry(kernel, k))
        .collect();
    let mut plans = lowered.plans;
    for step in plans.iter_mut().flat_map(|plan| &mut plan.steps) {
        if let Step::Launch { kernel, .. } = step {
            *kernel = position_of[*kernel];
        }
    }
    let mut constants = Vec::with_capacity(lowered.constants.len());
    let mut data = Vec::with_capacity(lowered.constants.len());
    for (name, tensor) in lowered.constants {
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        let storage = tensor
            .storage()
            .cloned()
            .unwrap_or_else(|| Storage::zeroed(0));
        constants.push(Constant {
            dtype,
            shape,
            bytes: storage.bytes().len() as u64,
            name,
        });
        data.push(storage);
    }
    Ok(Program {
        target: "cpu".to_owned(),
        features: Vec::new(),
        plans,
        kernels: entries,
        code: postcard::to_stdvec(&code).map_err(|error| fail("code", error))?,
        constants,
        data,
    })
}

fn fail(kernel: &str, error: impl std::fmt::Display) -> CompileError {
    CompileError::Emit {
        kernel: kernel.to_owned(),
        reason: error.to_string(),
    }
}

/// The loops of a launch, in the target's words.
fn loops(launch: &Launch, options: &CompileOptions) -> Result<Kernel, CompileError> {
    let lay_out = |compute: &alula_kernel::Compute| {
        let params: Vec<ParamSpec> = (0..=compute.operands.len())
            .map(|k| ParamSpec::row_major(format!("p{k}")))
            .collect();
        build(&launch.name, compute, &params, Policy::Cpu { lanes: LANES })
    };
    let mut kernel = match &launch.work {
        KernelWork::Compute(compute) => lay_out(compute),
        KernelWork::Contract(contract) => {
            let naive = contract.to_compute();
            lay_out(&naive.ok_or_else(|| fail(&launch.name, "the contraction has no plain form"))?)
        }
        KernelWork::Kernel(kernel) => kernel.as_ref().clone(),
    };
    legalize(&mut kernel, &CAPS).map_err(|error| fail(&launch.name, error))?;
    if (options.verify || cfg!(debug_assertions))
        && let Err(errors) = alula_kernel::verify(&kernel)
    {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(fail(&launch.name, lines.join("; ")));
    }
    Ok(kernel)
}

/// Equal kernels once; and for each launch the position of its kernel.
fn merge(kernels: Vec<Kernel>) -> (Vec<Kernel>, Vec<usize>) {
    let mut unique: Vec<Kernel> = Vec::new();
    let mut known: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut position_of = Vec::with_capacity(kernels.len());
    for kernel in kernels {
        let nameless = Kernel {
            name: String::new(),
            ..kernel.clone()
        };
        let bytes = postcard::to_stdvec(&nameless).expect("a kernel is plain data");
        let key = *blake3::hash(&bytes).as_bytes();
        position_of.push(*known.entry(key).or_insert_with(|| {
            unique.push(kernel);
            unique.len() - 1
        }));
    }
    (unique, position_of)
}

fn entry(kernel: &Kernel, position: usize) -> KernelEntry {
    let params = kernel
        .params
        .iter()
        .map(|param| KernelParam {
            access: match param.access {
                Access::Read => ParamAccess::Read,
                Access::Write | Access::ReadWrite => ParamAccess::Write,
            },
            bytes: param.elements.clone() * Dim::from(param.dtype.size_bytes()),
        })
        .collect();
    let code = CpuEntry::Loops(u32::try_from(position).expect("fewer than 2^32 kernels"));
    KernelEntry {
        name: kernel.name.clone(),
        params,
        symbols: kernel.symbols.clone(),
        scratch: Dim::new(0),
        code: postcard::to_stdvec(&code).expect("an entry is plain data"),
    }
}
