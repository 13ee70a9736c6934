//! Kernels for this machine's processors: loops laid out, legalized and printed side by side;
//! contractions planned for the micro-kernels.

use std::collections::BTreeMap;

use alula_cpu::{
    CpuContract, CpuTarget, Dump, Isa, Layout, Unit, assemble, emit_kernel, is_native,
    is_native_cast, is_native_storage, plan_contract,
};
use alula_kernel::{Compute, Contract, Kernel};
use alula_lower::build::{self, ParamSpec, Policy, build};
use alula_lower::legalize::{Caps, legalize};
use alula_lower::plan::{KernelWork, Launch, Lowered};
use alula_program::{Constant, Program, Step};
use alula_tensor::Storage;
use rayon::prelude::*;

use super::{CompileError, CompileOptions, pack};

/// Lanes of a vector loop: 128 bits of `f32`.
const LANES: u32 = 4;

/// What the code generator prints itself.
const CAPS: Caps = Caps {
    op: is_native,
    cast: is_native_cast,
    storage: is_native_storage,
};

/// A launch's kernel before code generation.
#[derive(serde::Serialize)]
enum Planned {
    Loops(Kernel),
    /// With its tile kernel, and the elements of its right side if that is packed.
    Contract(Box<CpuContract>, Option<Kernel>, Option<u64>),
}

/// Compiles every launch and puts the program together.
pub(super) fn program(
    mut lowered: Lowered,
    options: &CompileOptions,
) -> Result<Program, CompileError> {
    let fail = |error: &dyn std::fmt::Display| CompileError::Target(error.to_string());
    let target = CpuTarget::host().map_err(|error| fail(&error))?;
    let isa = Isa::current().map_err(|error| fail(&error))?;
    let mut planned: Vec<Planned> = lowered
        .launches
        .par_iter()
        .map(|launch| plan_launch(launch, isa, options))
        .collect::<Result<_, _>>()?;
    pack(&mut lowered, &mut planned)?;
    let names: Vec<&str> = lowered.launches.iter().map(|l| l.name.as_str()).collect();
    let (unique, position_of) = merge(&planned);
    let units: Vec<Unit> = unique
        .par_iter()
        .map(|&position| unit(names[position], &planned[position], &target))
        .collect::<Result<_, _>>()?;
    let assembled = assemble(&target, units).map_err(|error| fail(&error))?;
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
        let storage = match (tensor.storage(), tensor.strings()) {
            (Some(storage), _) => storage.clone(),
            (None, strings) => {
                let strings = strings.unwrap_or_default();
                Storage::copy_from(&alula_runtime::artifact::encode_strings(strings))
            }
        };
        constants.push(Constant {
            dtype,
            shape,
            bytes: storage.bytes().len() as u64,
            name,
        });
        data.push(storage);
    }
    Ok(Program {
        target: alula_cpu::TARGET.to_owned(),
        features: assembled.features,
        plans,
        kernels: assembled.kernels,
        code: assembled.code,
        constants,
        data,
    })
}

/// Packs constant right sides, and notes it in the contractions that read them.
fn pack(lowered: &mut Lowered, planned: &mut [Planned]) -> Result<(), CompileError> {
    let contracts: Vec<Option<&CpuContract>> = planned
        .iter()
        .map(|planned| match planned {
            Planned::Loops(_) => None,
            Planned::Contract(contract, ..) => Some(contract.as_ref()),
        })
        .collect();
    let lengths = pack::pack(lowered, &contracts)?;
    for (planned, length) in planned.iter_mut().zip(lengths) {
        if let Planned::Contract(.., packed) = planned {
            *packed = length;
        }
    }
    Ok(())
}

fn fail(kernel: &str, error: impl std::fmt::Display) -> CompileError {
    CompileError::Emit {
        kernel: kernel.to_owned(),
        reason: error.to_string(),
    }
}

fn plan_launch(
    launch: &Launch,
    isa: Isa,
    options: &CompileOptions,
) -> Result<Planned, CompileError> {
    let name = &launch.name;
    match &launch.work {
        KernelWork::Compute(compute) => Ok(Planned::Loops(loops(name, compute, options)?)),
        KernelWork::Kernel(kernel) => Ok(Planned::Loops(finish(
            name,
            kernel.as_ref().clone(),
            options,
        )?)),
        KernelWork::Contract(contract) => plan_product(name, contract, isa, options),
    }
}

/// A contraction through the micro-kernels if they take it, else as plain loops.
fn plan_product(
    name: &str,
    contract: &Contract,
    isa: Isa,
    options: &CompileOptions,
) -> Result<Planned, CompileError> {
    let layouts: Vec<Layout> = contract
        .epilogue
        .operands
        .iter()
        .map(|o| Layout::row_major(&o.shape))
        .collect();
    let result = Layout::row_major(&contract.epilogue.shape());
    match plan_contract(contract, &layouts, &result, isa) {
        Ok((planned, tile)) => {
            let tile = tile.map(|tile| {
                let layout = |l: &Layout| build::Layout {
                    strides: l.strides.clone(),
                    elements: l.elements.clone(),
                };
                let params: Vec<ParamSpec> = tile
                    .params
                    .iter()
                    .map(|p| ParamSpec {
                        name: p.name.clone(),
                        layout: Some(layout(&p.layout)),
                    })
                    .collect();
                let policy = Policy::Cpu { lanes: LANES };
                finish(name, build(name, &tile.compute, &params, policy), options)
            });
            let tile = tile.transpose()?;
            Ok(Planned::Contract(Box::new(planned), tile, None))
        }
        Err(reason) => {
            tracing::debug!(name, %reason, "plain loops");
            let plain = contract.to_compute();
            let plain = plain.ok_or_else(|| fail(name, "the contraction has no plain form"))?;
            Ok(Planned::Loops(loops(name, &plain, options)?))
        }
    }
}

fn loops(name: &str, compute: &Compute, options: &CompileOptions) -> Result<Kernel, CompileError> {
    let params: Vec<ParamSpec> = (0..=compute.operands.len())
        .map(|k| ParamSpec::row_major(format!("p{k}")))
        .collect();
    finish(
        name,
        build(name, compute, &params, Policy::Cpu { lanes: LANES }),
        options,
    )
}

/// The kernel in the target's words.
fn finish(
    name: &str,
    mut kernel: Kernel,
    options: &CompileOptions,
) -> Result<Kernel, CompileError> {
    legalize(&mut kernel, &CAPS).map_err(|error| fail(name, error))?;
    if options.verify
        && let Err(errors) = alula_kernel::verify(&kernel)
    {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(fail(name, lines.join("; ")));
    }
    Ok(kernel)
}

/// Positions of kernels that differ in more than their names; and for each launch the position of
/// its kernel among these.
fn merge(planned: &[Planned]) -> (Vec<usize>, Vec<usize>) {
    let mut unique = Vec::new();
    let mut known: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let nameless = |kernel: &Kernel| Kernel {
        name: String::new(),
        ..kernel.clone()
    };
    let position_of = planned
        .iter()
        .enumerate()
        .map(|(position, kernel)| {
            let plain = match kernel {
                Planned::Loops(kernel) => Planned::Loops(nameless(kernel)),
                Planned::Contract(contract, tile, packed) => {
                    Planned::Contract(contract.clone(), tile.as_ref().map(nameless), *packed)
                }
            };
            let bytes = postcard::to_stdvec(&plain).expect("a kernel is plain data");
            *known
                .entry(*blake3::hash(&bytes).as_bytes())
                .or_insert_with(|| {
                    unique.push(position);
                    unique.len() - 1
                })
        })
        .collect();
    (unique, position_of)
}

fn unit(name: &str, planned: &Planned, target: &CpuTarget) -> Result<Unit, CompileError> {
    let emit = |kernel: &Kernel| {
        let emitted = emit_kernel(kernel, target, Dump::default());
        emitted.map(Box::new).map_err(|error| fail(name, error))
    };
    Ok(match planned {
        Planned::Loops(kernel) => Unit::Loops(emit(kernel)?),
        Planned::Contract(contract, tile, packed) => Unit::Contract {
            name: name.to_owned(),
            contract: contract.clone(),
            tile: tile.as_ref().map(emit).transpose()?,
            packed_len: *packed,
        },
    })
}
