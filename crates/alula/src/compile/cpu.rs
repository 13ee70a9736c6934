//! Kernels for this machine's processors: loops laid out, legalized and printed side by side;
//! contractions planned for the micro-kernels.

use alula_cpu::{
    CpuContract, CpuTarget, Dump, EmitError, Emitted, Isa, Layout, Products, Unit, Wanted,
    assemble, emit_kernel, is_native, is_native_cast, is_native_storage, plan_contract,
};
use alula_kernel::{Access, Contract, Kernel, Param, may_share, without_copy};
use alula_lower::build::{self, ParamSpec, Policy, build_serial};
use alula_lower::in_place::{self, Shared};
use alula_lower::legalize::Caps;
use alula_lower::plan::{KernelWork, Launch, Lowered};
use alula_program::Program;
use alula_tensor::{DType, Dim};
use rayon::prelude::*;

use super::chain::{PlannedChain, chain};
use super::launches::{
    Code, NoCode, Words, each, merge, nameless, nodes, program as put_together, works,
};
use super::narrow::narrow;
use super::rows::Rows;
use super::{CompileError, CompileOptions, Site, choices, pack, scalars};
use crate::{Precision, Target};

/// Lanes of a vector loop: 128 bits of `f32`.
const LANES: u32 = 4;

/// Bytes of weights that a step of a recurrence reads from which on steps are products of packed
/// weights. A step of a loop takes some microseconds beside its product. Measured, f32 breaks even
/// here, bf16 at half of it; larger batches gain more, since the scan reads the weights again for
/// each sequence.
pub(super) const LOOP_BYTES_MIN: usize = 1 << 20;

/// What the code generator prints itself.
const CAPS: Caps = Caps {
    op: is_native,
    cast: is_native_cast,
    storage: is_native_storage,
    lanes: true,
    unrolled: true,
};

/// A launch's kernel before code generation.
#[derive(serde::Serialize)]
pub(super) enum Planned {
    Loops(Kernel),
    /// With its tile kernel, and the elements of its right side if that is packed.
    Contract(Box<CpuContract>, Option<Kernel>, Option<u64>),
    /// Several that run block by block of rows.
    Chain(Box<PlannedChain>),
}

pub(super) fn words(options: &CompileOptions) -> Words {
    Words::new(Policy::Cpu { lanes: LANES }, CAPS, options)
}

/// Compiles every launch and puts the program together. `sites` is set to what choices could
/// decide.
pub(super) fn program(
    mut lowered: Lowered,
    options: &CompileOptions,
    sites: &mut Vec<Site>,
) -> Result<Program, CompileError> {
    let (target, isa) = host()?;
    let (planned, works) = planned(&mut lowered, isa, options, sites)?;
    let precision = planned.iter().map(precision).max().unwrap_or_default();
    let (unique, position_of) = merge(planned.iter().map(without_names));
    for site in sites {
        site.kernel = position_of[site.kernel];
    }
    let names = nodes(&lowered);
    let span = tracing::info_span!("emit", of = unique.len());
    let guard = span.enter();
    let units: Vec<Unit> = unique
        .par_iter()
        .map(|&position| {
            let (name, nodes) = (lowered.launches[position].name.as_str(), names[position]);
            let _span = tracing::debug_span!(parent: &span, "kernel", name, nodes).entered();
            unit(name, &planned[position], &target).map_err(|error| CompileError::Emit {
                kernel: name.to_owned(),
                nodes: nodes.to_owned(),
                reason: error.to_string(),
            })
        })
        .collect::<Result<_, _>>()?;
    drop(guard);
    let assembled =
        assemble(&target, units).map_err(|error| CompileError::Target(error.to_string()))?;
    let code = Code {
        kernels: assembled.kernels,
        code: assembled.code,
        features: assembled.features,
        works,
        abi: alula_cpu::abi(),
        precision,
    };
    Ok(put_together(Target::Cpu, lowered, &position_of, code))
}

/// Under no names, to be compared.
fn without_names(planned: &Planned) -> Planned {
    match planned {
        Planned::Loops(kernel) => Planned::Loops(nameless(kernel)),
        Planned::Contract(contract, tile, packed) => {
            Planned::Contract(contract.clone(), tile.as_ref().map(nameless), *packed)
        }
        Planned::Chain(chain) => Planned::Chain(Box::new(PlannedChain {
            entries: chain.entries.clone(),
            rows: chain.rows.clone(),
            between: chain.between.clone(),
            parts: chain
                .parts
                .iter()
                .map(|(part, args)| (without_names(part), args.clone()))
                .collect(),
        })),
    }
}

/// Plans every launch, packs constants, puts chains together, and lets results take the memory of
/// operands where kernels allow it. With the scalar evaluations of each launch.
pub(super) fn planned(
    lowered: &mut Lowered,
    isa: Isa,
    options: &CompileOptions,
    sites: &mut Vec<Site>,
) -> Result<(Vec<Planned>, Vec<Dim>), CompileError> {
    let (words, kernels) = (words(options), Kernels::new(lowered, isa, options));
    let mut planned = each(lowered, Target::Cpu, |position, launch| {
        let launch = scalars::inlined(launch, &lowered.constants);
        plan(&launch, position, &kernels, &words)
    })?;
    *sites = choices::apply(lowered, &mut planned, &kernels, options)?;
    let mut works = works(lowered);
    pack(lowered, &mut planned)?;
    let place_of = chain(lowered, &mut planned, &mut works, &words)?;
    // A part of a chain has no kernel of its own to be measured.
    sites.retain_mut(|site| match place_of[site.kernel] {
        Some(place) => {
            site.kernel = place;
            true
        }
        None => false,
    });
    narrow(lowered, &mut planned, &words)?;
    share(lowered, &mut planned);
    Ok((planned, works))
}

/// Lets results take the memory of operands that die, where the kernels allow it.
fn share(lowered: &mut Lowered, planned: &mut [Planned]) {
    for plan in &mut lowered.plans {
        let may_share = &mut |kernel: usize, written: usize, read: usize| match &planned[kernel] {
            Planned::Loops(loops) => {
                // Loops that an operator wrote may store an element more than once.
                let is_built = !matches!(lowered.launches[kernel].work, KernelWork::Kernel(_));
                let is_updated = loops.params[written].access == Access::ReadWrite;
                (is_built || is_updated) && may_share(loops, written, read)
            }
            Planned::Contract(contract, ..) => contract.shared_operand() == Some(read as u32),
            Planned::Chain(_) => false,
        };
        for Shared {
            kernel,
            written,
            read,
        } in in_place::share(plan, may_share)
        {
            if let Planned::Loops(loops) = &mut planned[kernel] {
                *loops = without_copy(loops, written, read);
            }
        }
    }
}

/// How exact the least exact contraction is.
fn precision(planned: &Planned) -> Precision {
    match planned {
        Planned::Loops(_) => Precision::Highest,
        Planned::Contract(contract, ..) => match contract.products {
            Products::Whole | Products::Six => Precision::Highest,
            Products::Three => Precision::High,
            Products::One => Precision::Medium,
        },
        Planned::Chain(chain) => {
            let parts = chain.parts.iter().map(|(part, _)| precision(part));
            parts.max().unwrap_or_default()
        }
    }
}

/// The products that a precision permits.
pub(super) fn products(precision: Precision) -> Products {
    match precision {
        Precision::Highest => Products::Six,
        Precision::High => Products::Three,
        Precision::Medium => Products::One,
    }
}

/// Packs constant right sides, and notes it in the contractions that read them.
fn pack(lowered: &mut Lowered, planned: &mut [Planned]) -> Result<(), CompileError> {
    let contracts: Vec<Option<&CpuContract>> = planned
        .iter()
        .map(|planned| match planned {
            Planned::Loops(_) | Planned::Chain(_) => None,
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

/// The code generator and the micro-kernels for this machine.
pub(super) fn host() -> Result<(CpuTarget, Isa), CompileError> {
    let fail = |error: &dyn std::fmt::Display| CompileError::Target(error.to_string());
    let target = CpuTarget::host().map_err(|error| fail(&error))?;
    let isa = Isa::current().map_err(|error| fail(&error))?;
    Ok((target, isa))
}

/// What decides how contractions of a graph run.
pub(super) struct Kernels {
    pub(super) isa: Isa,
    pub(super) precision: Precision,
    /// What numbers of rows that only a run knows are taken to be.
    pub(super) rows: Rows,
    /// Bounds of the constants of each launch.
    pub(super) bounds: Vec<Vec<Option<f32>>>,
}

impl Kernels {
    pub(super) fn new(lowered: &Lowered, isa: Isa, options: &CompileOptions) -> Kernels {
        Kernels {
            isa,
            precision: options.precision,
            rows: Rows::new(lowered),
            bounds: scalars::bounds(lowered),
        }
    }
}

/// A contraction through the micro-kernels if they take it; anything else as loops. The launch is
/// the one at `position`.
pub(super) fn plan(
    launch: &Launch,
    position: usize,
    kernels: &Kernels,
    words: &Words,
) -> Result<Planned, NoCode> {
    let bounds = &kernels.bounds[position];
    let loops = || {
        let mut kernel = words.kernel(launch)?;
        for (param, &bound) in kernel.params.iter_mut().zip(bounds) {
            bind(param, bound);
        }
        Ok(Planned::Loops(kernel))
    };
    let KernelWork::Contract(contract) = &launch.work else {
        return loops();
    };
    words.check(launch)?;
    let wanted = choices::wanted(launch, contract, kernels, position);
    match plan_product(launch, contract, (wanted, bounds), words)? {
        Ok(planned) => {
            tracing::debug!("by micro-kernels");
            Ok(planned)
        }
        Err(reason) => {
            tracing::debug!(reason, "by plain loops");
            loops()
        }
    }
}

/// Sets what is known of a parameter that is a constant.
fn bind(param: &mut Param, bound: Option<f32>) {
    if param.dtype == DType::F32 && param.access == Access::Read {
        param.bound = bound;
    }
}

/// The contraction through the micro-kernels, or why they do not take it.
fn plan_product(
    launch: &Launch,
    contract: &Contract,
    (wanted, bounds): (Wanted, &[Option<f32>]),
    words: &Words,
) -> Result<Result<Planned, String>, NoCode> {
    let shapes = contract.epilogue.operands.iter().map(|o| o.shape.clone());
    let shapes = shapes.chain([contract.epilogue.shape()]);
    let mut layouts: Vec<Layout> = shapes
        .enumerate()
        .map(|(param, shape)| match launch.layout(param) {
            Some(layout) => Layout {
                strides: layout.strides.clone(),
                elements: layout.elements.clone(),
            },
            None => Layout::row_major(&shape),
        })
        .collect();
    let result = layouts.pop().expect("a launch has a result");
    let (planned, tile) = match plan_contract(contract, &layouts, &result, wanted) {
        Ok(planned) => planned,
        Err(reason) => return Ok(Err(reason.to_string())),
    };
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
        // The micro-kernels share out tiles: one is for one thread.
        let built = build_serial(&launch.name, &tile.compute, &params, words.policy);
        let mut kernel = words.finish(built)?;
        for (param, &operand) in kernel.params.iter_mut().zip(&tile.operands) {
            bind(param, bounds.get(operand as usize).copied().flatten());
        }
        Ok(kernel)
    });
    let tile = tile.transpose()?;
    Ok(Ok(Planned::Contract(Box::new(planned), tile, None)))
}

fn unit(name: &str, planned: &Planned, target: &CpuTarget) -> Result<Unit, EmitError> {
    let emit = |kernel: &Kernel| -> Result<Box<Emitted>, EmitError> {
        emit_kernel(kernel, target, Dump::default()).map(Box::new)
    };
    Ok(match planned {
        Planned::Loops(kernel) => Unit::Loops(emit(kernel)?),
        Planned::Contract(contract, tile, packed) => Unit::Contract {
            name: name.to_owned(),
            contract: contract.clone(),
            tile: tile.as_ref().map(emit).transpose()?,
            packed_len: *packed,
        },
        Planned::Chain(chain) => Unit::Chain {
            name: name.to_owned(),
            size: [chain.entries.clone(), chain.rows.clone()],
            between: chain.between.clone(),
            parts: chain
                .parts
                .iter()
                .map(|(part, args)| Ok((unit(name, part, target)?, args.clone())))
                .collect::<Result<_, EmitError>>()?,
        },
    })
}
